"""The benchmark: its tasks from both sources, its conversation, its score."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.contract.conversation import Reply, Transcript, Turn
from services.contract.outcomes import Failure, Outcome
from services.contract.results import Section
from services.green_agent.benchmarks.base import DatasetError, ScoringTools, Setting, digest
from services.green_agent.benchmarks.registry import benchmark_class
from services.green_agent.benchmarks.synthetic import Synthetic, SyntheticConfig, SyntheticTask
from services.green_agent.benchmarks.synthetic.templates import TEMPLATES
from services.green_agent.data.store import Store
from tests.green_agent.benchmarks.synthetic.scripted import played, synthetic
from tests.support.peer_files import MIRROR, needs_peer_files
from tests.support.scripted_judge import ScriptedJudge

TASKS = synthetic().tasks()


def config(**keys: object) -> SyntheticConfig:
    return SyntheticConfig.model_validate({"type": "synthetic", **keys})


def made(**keys: object) -> list[SyntheticTask]:
    return list(Synthetic(config(**keys), Setting(seed=42)).tasks())


def right_answer(task: SyntheticTask) -> str:
    return f"FINAL ANSWER: {json.dumps(dict(task.keys))}"


def difficulty(task: SyntheticTask) -> str:
    return task.id.split("-")[-2]


def by_name(name: str) -> SyntheticTask:
    return next(task for task in TASKS if task.id.startswith(f"syn-g1-{name}-"))


def item(**changes: object) -> dict[str, object]:
    """A sound item of a question file."""
    return {
        "question_id": "SYN_QUAN_0001",
        "category": "Quantitative Retrieval",
        "difficulty": "easy",
        "question": "A firm sells 400 units at 12.50 USD. What are its sales in USD?",
        "ground_truth_value": 5000.0,
        "ground_truth_formatted": "$5,000.00",
        "ticker": "NONE",
        "fiscal_year": 2024,
        "calculation_steps": ["400 * 12.5 = 5,000"],
        "rubric": {
            "components": [
                {"name": "value", "description": "States the sales", "expected_value": "$5,000.00", "weight": 1.0}
            ],
            "max_score": 100,
        },
        "requires_code_execution": False,
        "metadata": {},
        **changes,
    }


PROSE = item(
    question_id="SYN_QUAL_0002",
    category="Qualitative Retrieval",
    question="Describe what the firm does.",
    ground_truth_value="It grinds lenses for telescopes and sells them to observatories.",
    ground_truth_formatted="Grinds lenses for telescopes; customers are observatories.",
    calculation_steps=["read the report of the secret step"],
    rubric={
        "components": [
            {"name": "product", "description": "Names the product", "expected_value": "lenses", "weight": 0.6},
            {"name": "customers", "description": "Names the customers", "expected_value": None, "weight": 0.2},
        ],
        "max_score": 100,
    },
)


def from_file(folder: Path, items: list[dict[str, object]], *, has_judge: bool = False, **keys: object) -> Synthetic:
    (folder / "questions.json").write_text(json.dumps({"count": len(items), "questions": items}))
    setting = Setting(seed=42, has_judge=has_judge, store=Store(folders=(folder,)))
    return Synthetic(config(path="questions.json", **keys), setting)


def test_the_registry_knows_the_benchmark() -> None:
    assert benchmark_class("synthetic") is Synthetic
    assert Synthetic.section is Section.ANALYTICAL_REASONING
    assert Synthetic.endless


def test_ninety_questions_are_five_of_each_template_in_the_shares_of_difficulty() -> None:
    assert len(TASKS) == 90
    assert Counter(task.stratum for task in TASKS) == dict.fromkeys(TEMPLATES, 5)
    assert Counter(map(difficulty, TASKS)) == {"easy": 28, "medium": 35, "hard": 27}


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_follows_the_shares_on_its_own(template: str) -> None:
    asked = made(generator={"templates": [template], "count": 50})

    shares = {level: share / 50 for level, share in Counter(map(difficulty, asked)).items()}
    assert shares == pytest.approx({"easy": 0.3, "medium": 0.4, "hard": 0.3}, abs=0.021)


def test_ids_name_template_difficulty_and_a_number_and_are_unique() -> None:
    assert len({task.id for task in TASKS}) == len({task.digest for task in TASKS}) == 90
    assert len({task.prompt for task in TASKS}) == 90
    for task in TASKS:
        version, template, level, number = task.id.removeprefix("syn-").split("-")
        assert (version, template) == ("g1", task.template)
        assert level in {"easy", "medium", "hard"}
        assert number.isdigit()


def test_a_longer_set_begins_like_a_shorter_one() -> None:
    assert list(synthetic(count=130).tasks())[:90] == list(TASKS)


def test_no_two_questions_share_parameters() -> None:
    tasks = synthetic(count=1800, seed=3).tasks()

    assert len({(task.template, *task.keys.values()) for task in tasks}) == 1800


def test_the_questions_of_a_version_of_the_generator_never_change() -> None:
    """A failure means: raise GENERATOR_VERSION, stored results of the old questions are no longer comparable."""
    code = (
        "from services.green_agent.benchmarks.synthetic import Synthetic, SyntheticConfig, GeneratorConfig\n"
        "from services.green_agent.benchmarks.base import Setting, digest\n"
        "made = GeneratorConfig(count=360)\n"
        "tasks = Synthetic(SyntheticConfig(type='synthetic', generator=made), Setting(seed=42)).tasks()\n"
        "print(digest([task.digest for task in tasks]))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert elsewhere == digest([task.digest for task in synthetic(count=360).tasks()])
    assert elsewhere == "sha256:18b08c9072da0410aa99f16000388c01f218abdd744389adcb7113d10cb5455c"


def test_the_seed_of_the_generator_beats_the_seed_of_the_run() -> None:
    pinned = config(generator={"seed": 7, "count": 9})

    assert Synthetic(pinned, Setting(seed=1)).tasks() == Synthetic(pinned, Setting(seed=2)).tasks()
    assert (
        Synthetic(config(generator={"count": 9}), Setting(seed=7)).tasks() == Synthetic(pinned, Setting(seed=1)).tasks()
    )
    assert Synthetic(pinned, Setting(seed=1)).tasks()[0].digest != TASKS[0].digest


def test_templates_and_difficulties_may_be_chosen() -> None:
    chosen = made(generator={"count": 4, "templates": ["eva_spread", "dupont"], "difficulty": {"hard": 1}})

    assert [task.id for task in chosen] == [
        "syn-g1-eva_spread-hard-0",
        "syn-g1-dupont-hard-0",
        "syn-g1-eva_spread-hard-1",
        "syn-g1-dupont-hard-1",
    ]


def test_the_order_in_which_shares_are_written_does_not_matter() -> None:
    written = [{"easy": 1, "medium": 1, "hard": 1}, {"hard": 1, "medium": 1, "easy": 1}]

    first, second = (made(generator={"count": 36, "difficulty": shares}) for shares in written)
    assert first == second


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"generator": {"templates": ["dupond"]}}, "unknown template 'dupond'; did you mean 'dupont'"),
        ({"generator": {"templates": []}}, "at least 1 item"),
        ({"generator": {"count": 0}}, "greater than or equal to 1"),
        ({"generator": {"sead": 1}}, "Extra inputs are not permitted"),
        ({"generator": {"difficulty": {"easy": 0}}}, "must sum to more than 0"),
        ({"generator": {"difficulty": {"extreme": 1}}}, "easy"),
        ({"generator": {"difficulty": {"easy": -1, "hard": 2}}}, "greater than or equal to 0"),
        ({"audit": "strict"}, "quarantine"),
        ({"fill": "yes"}, "generate"),
    ],
)
def test_a_wrong_configuration_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**keys)


@pytest.mark.parametrize(
    ("keys", "number"),
    [
        ({}, 90),
        ({"limit": 12}, 90),
        ({"limit": 100}, 100),
        ({"limit": 100, "generator": {"count": 30}}, 30),
        ({"limit": 100, "fill": "generate", "generator": {"count": 30}}, 100),
        ({"limit": 12, "fill": "generate", "generator": {"count": 30}}, 30),
    ],
)
def test_as_many_questions_are_made_as_the_entry_could_need(keys: dict[str, object], number: int) -> None:
    assert len(made(**keys)) == number


def test_a_hidden_seed_is_looked_up_by_name_and_never_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "seeds.yaml"
    file.write_text("autumn: 918273645\n")
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(file))
    hidden = Synthetic(config(generator={"seed": "autumn", "count": 18}), Setting(seed=1))

    tasks = hidden.tasks()

    assert list(tasks) == made(generator={"seed": 918273645, "count": 18})
    assert hidden.notes() == {"generated": {"version": "g1", "count": 18, "seed": "hidden autumn"}}
    assert "918273645" not in repr(hidden.config) + repr(vars(hidden)) + repr(tasks)


def test_an_unknown_hidden_seed_is_a_dataset_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "seeds.yaml"
    file.write_text("autumn: 918273645\n")
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(file))

    with pytest.raises(DatasetError, match="no hidden seed is called 'autum'; did you mean 'autumn'"):
        made(generator={"seed": "autum"})


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
async def test_the_right_answer_scores_one(task: SyntheticTask) -> None:
    score, session = await played(synthetic(), task, [right_answer(task)])

    assert (score.score, score.passed, score.scored_by) == (1.0, True, "rule:final_answer")
    assert score.metrics == {
        "quantities_right": len(task.quantities),
        "quantities_required": len(task.quantities),
        "unit_slips": 0,
        "reminders": 0,
    }
    assert score.details == {"source": "generated", "template": task.template, "audit_flags": []}
    assert len(session.turns) == 1


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
async def test_the_right_answer_rounded_as_asked_scores_one(task: SyntheticTask) -> None:
    rounded = {
        quantity.key: round(value, quantity.decimals) if isinstance(value := task.keys[quantity.key], float) else value
        for quantity in task.quantities
    }
    score, _ = await played(synthetic(), task, [f"FINAL ANSWER: {json.dumps(rounded)}"])

    assert score.score == 1.0


async def test_one_wrong_quantity_is_no_pass_and_a_wrong_unit_is_counted() -> None:
    task = by_name("dupont-hard")
    answer = dict(task.keys)
    answer["roe_pct"] = float(answer["roe_pct"]) / 100

    score, _ = await played(synthetic(), task, [f"FINAL ANSWER: {json.dumps(answer)}"])

    assert score.score == pytest.approx(5 / 6)
    assert score.passed is False
    assert (score.metrics["quantities_right"], score.metrics["unit_slips"]) == (5, 1)
    assert "roe_pct: expected" in score.explanation
    assert "wrong unit" in score.explanation


async def test_one_number_alone_answers_a_question_for_one_quantity() -> None:
    task = by_name("npv_tax_shield-easy")

    score, _ = await played(synthetic(), task, [f"The net present value is {task.keys['npv_usd']:.0f} USD."])

    assert (score.score, score.scored_by) == (1.0, "rule:number")


async def test_a_reply_without_any_required_key_is_reminded_of_the_form_once() -> None:
    task = by_name("dupont-hard")

    score, session = await played(synthetic(), task, ["High leverage.", right_answer(task)])

    assert len(session.turns) == 2
    assert session.turns[1].question.startswith("No answer could be read from your reply.")
    assert session.notes == {"reminders": 1}
    assert (score.score, score.metrics["reminders"]) == (1.0, 1)


async def test_after_one_reminder_nothing_more_is_asked() -> None:
    task = by_name("dupont-hard")

    score, session = await played(synthetic(), task, ["no idea", "still no idea", right_answer(task)])

    assert len(session.turns) == 2
    assert (score.score, score.passed, score.scored_by) == (0.0, False, "rule:none")
    assert score.explanation.count("missing") == 6


async def test_a_stored_transcript_scores_the_same_without_the_agent() -> None:
    task = by_name("dupont-hard")
    first, session = await played(synthetic(), task, ["hm", right_answer(task)])
    stored = Transcript.model_validate_json(session.transcript.model_dump_json())

    assert await synthetic().score(task, 0, stored, ScoringTools()) == first


async def test_a_reply_of_megabytes_is_read_to_its_end() -> None:
    task = by_name("dupont-hard")

    score, _ = await played(synthetic(), task, ["padding { " * 200_000 + "\n" + right_answer(task)])

    assert score.score == 1.0


@settings(max_examples=60, deadline=None)
@given(task=st.sampled_from(TASKS), data=st.data())
async def test_correcting_a_quantity_never_lowers_the_score(task: SyntheticTask, data: st.DataObject) -> None:
    known = data.draw(st.lists(st.sampled_from(sorted(task.keys)), unique=True, min_size=1))
    answer: dict[str, object] = {key: task.keys[key] for key in known[1:]}
    fewer = await score_of(task, answer)
    more = await score_of(task, {**answer, known[0]: task.keys[known[0]]})

    assert fewer == pytest.approx(len(answer) / len(task.keys))
    assert more == pytest.approx((len(answer) + 1) / len(task.keys))


async def score_of(task: SyntheticTask, answer: Mapping[str, object]) -> float:
    turn = Turn(question=task.prompt, reply=Reply(text=f"FINAL ANSWER: {json.dumps(answer)}"))
    return (await synthetic().score(task, 0, Transcript(turns=(turn,)), ScoringTools())).score


def test_the_key_in_words_is_in_the_row_and_not_in_the_question() -> None:
    task = by_name("eva_spread")

    assert task.expected.startswith(("eva_musd = ", "roic_pct = ", "capital_charge_musd = "))
    assert not any(f"{value:.4f}" in task.prompt for value in task.keys.values() if isinstance(value, float))


async def test_an_item_of_a_file_is_scored_by_the_same_rules(tmp_path: Path) -> None:
    benchmark = from_file(tmp_path, [item()])
    (task,) = benchmark.tasks()

    score, _ = await played(benchmark, task, ['FINAL ANSWER: {"answer": 5010}'])

    assert (task.id, task.stratum, task.source) == ("SYN_QUAN_0001", "Quantitative Retrieval", "file")
    assert (score.score, score.passed) == (1.0, True)
    assert score.details == {"source": "file", "template": "Quantitative Retrieval", "audit_flags": []}
    assert benchmark.judge_need() == "never"


async def test_a_flag_of_the_audit_is_in_the_result(tmp_path: Path) -> None:
    doubtful = item(calculation_steps=["400 * 12.5 = 5,000", "Hmm, wait: 5,000"])
    benchmark = from_file(tmp_path, [doubtful], audit="report")
    (task,) = benchmark.tasks()

    score, _ = await played(benchmark, task, ['FINAL ANSWER: {"answer": 5000}'])

    assert score.details["audit_flags"] == ["A1"]


def test_the_record_says_what_was_found_in_the_file(tmp_path: Path) -> None:
    doubtful = item(question_id="SYN_LOGIC_0009", calculation_steps=["But wait, 400 * 12.5 = 5,000"])
    benchmark = from_file(tmp_path, [item(), doubtful, PROSE])

    tasks = benchmark.tasks()

    found = benchmark.notes()["file"]
    assert isinstance(found, dict)
    assert [task.id for task in tasks] == ["SYN_QUAN_0001"]
    assert (found["found"], found["usable"], found["origin"]) == (3, 2, "path questions.json")
    assert benchmark.notes()["left_out"] == {
        "reason": "the key is prose and there is no judge",
        "items": ["SYN_QUAL_0002"],
    }


def test_too_few_items_are_topped_up_to_the_limit_when_asked_for(tmp_path: Path) -> None:
    filled = from_file(tmp_path, [item(), PROSE], limit=20, fill="generate")

    tasks = filled.tasks()

    assert [task.source for task in tasks] == ["file"] + ["generated"] * 19
    assert list(tasks[1:]) == list(TASKS[:19])
    assert filled.notes()["generated"] == {"version": "g1", "count": 19, "seed": "run"}
    assert len(from_file(tmp_path, [item()], limit=20).tasks()) == 1
    assert len(from_file(tmp_path, [item()], fill="generate").tasks()) == 1


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    benchmark = Synthetic(config(path="data/none.json"), Setting(seed=1, store=Store(folders=(tmp_path,), mirror=None)))

    with pytest.raises(DatasetError, match=r"data/none\.json"):
        benchmark.tasks()


def test_a_file_of_prose_alone_without_a_judge_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="asks for prose and there is no judge"):
        from_file(tmp_path, [PROSE]).tasks()


@pytest.mark.parametrize(("items", "need"), [([item(), PROSE], "some"), ([PROSE], "all"), ([item()], "never")])
def test_prose_needs_the_judge(tmp_path: Path, items: list[dict[str, object]], need: str) -> None:
    benchmark = from_file(tmp_path, items, has_judge=True)

    assert len(benchmark.tasks()) == len(items)
    assert benchmark.judge_need() == need


async def test_prose_earns_the_weight_of_the_criteria_that_are_met(tmp_path: Path) -> None:
    benchmark = from_file(tmp_path, [PROSE], has_judge=True)
    (task,) = benchmark.tasks()
    judge = ScriptedJudge(meets=lambda criterion: "product" in criterion)

    score, session = await played(benchmark, task, ["It makes lenses."], judge=judge)

    assert [turn.question for turn in session.turns] == ["Describe what the firm does."]
    assert score.score == pytest.approx(0.75)
    assert (score.passed, score.scored_by, score.answer) == (False, "scripted-judge", "It makes lenses.")
    assert "Names the product (expected: lenses): met: reason 0" in score.explanation
    (case,) = judge.cases
    assert {material.role: material.text for material in case.materials} == {
        "question": "Describe what the firm does.",
        "reference": "It grinds lenses for telescopes and sells them to observatories.\n"
        "Grinds lenses for telescopes; customers are observatories.",
        "answer": "It makes lenses.",
    }
    assert "secret step" not in repr(case) + repr(judge.criteria_asked)


async def test_prose_that_meets_every_criterion_passes(tmp_path: Path) -> None:
    benchmark = from_file(tmp_path, [PROSE], has_judge=True)
    (task,) = benchmark.tasks()

    score, _ = await played(benchmark, task, ["Lenses for observatories."], judge=ScriptedJudge(meets=lambda _: True))

    assert score.score == pytest.approx(1.0)
    assert score.passed


async def test_prose_without_a_verdict_is_unscored(tmp_path: Path) -> None:
    benchmark = from_file(tmp_path, [PROSE], has_judge=True)
    (task,) = benchmark.tasks()
    broken = Failure(Outcome.JUDGE_ERROR, "invalid_verdict", "no valid verdict")

    for judge in (None, ScriptedJudge(failure=broken, fallback="rule")):
        with pytest.raises(Failure) as caught:
            await played(benchmark, task, ["Lenses."], judge=judge)
        assert caught.value.outcome is Outcome.JUDGE_ERROR


@needs_peer_files
@pytest.mark.parametrize(("has_judge", "number", "need"), [(True, 15, "some"), (False, 14, "never")])
def test_the_distributed_file_gives_fifteen_items_one_of_them_for_the_judge(
    has_judge: bool,  # noqa: FBT001
    number: int,
    need: str,
) -> None:
    setting = Setting(seed=42, has_judge=has_judge, store=Store(folders=(), mirror=MIRROR))
    benchmark = Synthetic(config(path="data/synthetic_questions/questions.json"), setting)

    assert len(benchmark.tasks()) == number
    assert benchmark.judge_need() == need
