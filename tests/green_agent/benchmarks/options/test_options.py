"""The benchmark: its tasks, its conversation, its score."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.contract.conversation import Reply, Transcript, Turn
from services.contract.results import Section, SubScore
from services.green_agent.benchmarks.base import DatasetError, ScoringTools, Setting, digest
from services.green_agent.benchmarks.options import Options, OptionsConfig, OptionsTask
from services.green_agent.benchmarks.options.template import Category
from services.green_agent.benchmarks.registry import benchmark_class
from tests.green_agent.benchmarks.options.scripted import options, played

TASKS = options().tasks()


def by_template(name: str) -> OptionsTask:
    return next(task for task in TASKS if task.template == name)


def right_answer(task: OptionsTask) -> str:
    return f"FINAL ANSWER: {json.dumps(dict(task.keys))}"


def config(**keys: object) -> OptionsConfig:
    return OptionsConfig.model_validate({"type": "options", **keys})


def test_the_registry_knows_the_benchmark() -> None:
    assert benchmark_class("options") is Options
    assert Options.section is Section.OPTIONS_TRADING
    assert Options.sub_score_names == ("pnl_accuracy", "greeks_accuracy", "strategy_quality", "risk_management")


def test_ninety_questions_are_ten_of_each_category() -> None:
    assert len(TASKS) == 90
    assert set(Counter(task.stratum for task in TASKS).values()) == {10}
    assert TASKS[0].id == "opt-g2-options-pricing-0"
    assert {task.id.rsplit("-", 1)[0] for task in TASKS} == {f"opt-g2-{category.value}" for category in Category}


def test_ids_digests_and_prompts_are_unique() -> None:
    for values in ([task.id for task in TASKS], [task.digest for task in TASKS], [task.prompt for task in TASKS]):
        assert len(set(values)) == 90


def test_every_template_appears() -> None:
    assert len({task.template for task in TASKS}) == 30


def test_a_longer_set_begins_like_a_shorter_one() -> None:
    assert list(options(count=120).tasks())[:90] == list(TASKS)


def test_another_process_makes_the_same_questions() -> None:
    code = (
        "from services.green_agent.benchmarks.options import Options, OptionsConfig\n"
        "from services.green_agent.benchmarks.base import Setting, digest\n"
        "tasks = Options(OptionsConfig(type='options'), Setting(seed=42)).tasks()\n"
        "print(digest([task.digest for task in tasks]))"
    )
    elsewhere = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]

    assert elsewhere[0] == elsewhere[1]
    assert elsewhere[0].startswith("sha256:")


@pytest.mark.parametrize(
    ("seed", "expected"),
    [
        (42, "sha256:400d455226b3aa08d0617638f17a5ec223e2cb06fbf4e30da2ca28bf2701c0bd"),
        (7, "sha256:e7d40e183c55375323b822a8ba8744a396a7ed54e3665ad7f172f4d049510f10"),
    ],
)
def test_the_questions_of_a_version_of_the_generator_never_change(seed: int, expected: str) -> None:
    """A failure means: raise GENERATOR_VERSION, stored results of the old questions are no longer comparable."""
    assert digest([task.digest for task in options(count=180, seed=seed).tasks()]) == expected


def test_the_seed_of_the_generator_beats_the_seed_of_the_run() -> None:
    pinned = config(generator={"seed": 7, "count": 9})

    assert Options(pinned, Setting(seed=1)).tasks() == Options(pinned, Setting(seed=2)).tasks()
    assert Options(config(generator={"count": 9}), Setting(seed=7)).tasks() == Options(pinned, Setting(seed=1)).tasks()
    assert Options(pinned, Setting(seed=1)).tasks()[0].digest != options(count=9).tasks()[0].digest


def test_categories_may_be_chosen_by_slug_or_title_and_keep_their_questions() -> None:
    chosen = Options(
        config(generator={"count": 4, "categories": ["P&L Attribution", "race-to-10m"]}), Setting(seed=42)
    ).tasks()

    assert [task.id for task in chosen] == [
        "opt-g2-pnl-attribution-0",
        "opt-g2-race-to-10m-0",
        "opt-g2-pnl-attribution-1",
        "opt-g2-race-to-10m-1",
    ]
    assert all(task in TASKS for task in chosen)


def test_a_hidden_seed_is_named_and_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "seeds.yaml").write_text("spring: 918273645\n")
    monkeypatch.setenv("ASSAY_HIDDEN_SEEDS", str(tmp_path / "seeds.yaml"))
    hidden = Options(config(generator={"seed": "spring", "count": 9}), Setting(seed=1))

    assert hidden.tasks() == Options(config(generator={"seed": 918273645, "count": 9}), Setting(seed=2)).tasks()
    assert hidden.notes()["generator"] == {"version": "g2", "seed": "spring"}
    with pytest.raises(DatasetError, match="no hidden seed is called 'autumn'"):
        Options(config(generator={"seed": "autumn"}), Setting(seed=1)).tasks()


def test_the_filter_keeps_only_its_categories() -> None:
    kept = Options(config(categories=["Greeks Analysis"]), Setting(seed=42)).tasks()

    assert kept == [task for task in TASKS if task.stratum == "greeks-analysis"]


def test_a_filter_that_leaves_nothing_is_an_error() -> None:
    benchmark = Options(
        config(categories=["risk-management"], generator={"categories": ["copy-trading"]}), Setting(seed=1)
    )

    with pytest.raises(DatasetError, match="no question is left"):
        benchmark.tasks()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"categories": ["Greek Analysis"]}, "did you mean 'greeks-analysis'"),
        ({"generator": {"count": 0}}, "greater than or equal to 1"),
        ({"generator": {"sead": 1}}, "Extra inputs are not permitted"),
        ({"categories": []}, "at least 1 item"),
    ],
)
def test_a_wrong_configuration_is_refused(keys: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config(**keys)


def test_by_default_all_categories_are_asked_and_a_higher_limit_makes_more_questions() -> None:
    assert config().generator.model_dump() == {"seed": None, "count": None, "categories": None}
    assert list(Options(config(), Setting(seed=42)).tasks()) == list(TASKS)
    assert len(Options(config(limit=12), Setting(seed=42)).tasks()) == 90
    assert len(Options(config(limit=100), Setting(seed=42)).tasks()) == 100


@pytest.mark.parametrize("task", TASKS[:60], ids=lambda task: task.id)
async def test_the_right_answer_scores_one(task: OptionsTask) -> None:
    score, session = await played(options(), task, [right_answer(task)])

    assert (score.score, score.passed, score.scored_by) == (1.0, True, "rule:final_answer")
    assert score.metrics == {
        "quantities_right": len(task.asked),
        "quantities_required": len(task.asked),
        "unit_slips": 0,
        "reminders": 0,
    }
    assert len(session.turns) == 1


@pytest.mark.parametrize("task", TASKS[:60], ids=lambda task: task.id)
async def test_the_right_answer_rounded_as_asked_scores_one(task: OptionsTask) -> None:
    rounded = {
        quantity.key: round(value, quantity.decimals) if isinstance(value := task.keys[quantity.key], float) else value
        for quantity in task.quantities
    }
    score, _ = await played(options(), task, [f"FINAL ANSWER: {json.dumps(rounded)}"])

    assert score.score == 1.0


async def test_the_score_is_the_share_of_right_quantities_and_dimensions_are_counted_apart() -> None:
    task = by_template("copied_spread")
    answer = dict(task.keys)
    del answer["breakeven_usd"]
    answer["breakeven_hit_rate_pct"] = float(answer["breakeven_hit_rate_pct"]) / 100

    score, _ = await played(options(), task, [f"FINAL ANSWER: {json.dumps(answer)}"])

    assert score.score == pytest.approx(3 / 5)
    assert score.passed is False
    assert score.metrics["quantities_right"] == 3
    assert score.metrics["unit_slips"] == 1
    assert score.sub_scores == {
        "pnl_accuracy": SubScore(earned=2, possible=3),
        "risk_management": SubScore(earned=1, possible=2),
    }
    assert "breakeven_usd: expected" in score.explanation
    assert "got nothing: missing" in score.explanation
    assert "wrong unit" in score.explanation
    assert score.answer.count("=") == 4


@pytest.mark.parametrize(("right", "required", "passed"), [(4, 6, False), (5, 6, True)])
async def test_seven_tenths_pass(right: int, required: int, passed: bool) -> None:  # noqa: FBT001
    task = by_template("greeks_given")
    keys = dict(task.keys)
    assert len(keys) == required
    answer = {key: keys[key] for key in list(keys)[:right]}

    score, _ = await played(options(), task, [f"FINAL ANSWER: {json.dumps(answer)}"])

    assert score.passed is passed


async def test_a_reply_without_any_required_key_is_reminded_of_the_form_once() -> None:
    task = by_template("five_greeks")

    score, session = await played(options(), task, ["The delta is about a half.", right_answer(task)])

    assert len(session.turns) == 2
    assert session.turns[1].question.startswith("No answer could be read from your reply.")
    assert '"delta": <number>' in session.turns[1].question
    assert session.notes == {"reminders": 1}
    assert (score.score, score.metrics["reminders"]) == (1.0, 1)


async def test_after_one_reminder_nothing_more_is_asked() -> None:
    task = by_template("five_greeks")

    score, session = await played(options(), task, ["no idea", "still no idea", right_answer(task)])

    assert len(session.turns) == 2
    assert (score.score, score.passed, score.scored_by) == (0.0, False, "rule:none")
    assert score.explanation.count("missing") == 5


async def test_a_partly_readable_reply_is_not_reminded() -> None:
    task = by_template("five_greeks")

    score, session = await played(options(), task, ['FINAL ANSWER: {"delta": 99}'])

    assert len(session.turns) == 1
    assert score.score == 0.0


async def test_a_stored_transcript_scores_the_same_without_the_agent() -> None:
    task = by_template("vertical")
    first, session = await played(options(), task, ["hm", right_answer(task)])
    stored = Transcript.model_validate_json(session.transcript.model_dump_json())

    again = await options().score(task, 0, stored, ScoringTools())

    assert again == first


async def test_an_empty_transcript_scores_nothing() -> None:
    score = await options().score(TASKS[0], 0, Transcript(), ScoringTools())

    assert score.score == 0.0


async def test_the_same_reply_twice_in_one_text_scores_the_same() -> None:
    task = by_template("stress")
    once = right_answer(task)

    single, _ = await played(options(), task, [once])
    double, _ = await played(options(), task, [f"{once}\n{once}"])

    assert double == single


@settings(max_examples=60, deadline=None)
@given(task=st.sampled_from(TASKS), data=st.data())
async def test_correcting_a_quantity_never_lowers_the_score(task: OptionsTask, data: st.DataObject) -> None:
    known = data.draw(st.lists(st.sampled_from(sorted(task.keys)), unique=True, min_size=1))
    answer: dict[str, object] = {key: task.keys[key] for key in known[1:]}
    fewer = await score_of(task, answer)
    more = await score_of(task, {**answer, known[0]: task.keys[known[0]]})

    assert fewer == pytest.approx(len(answer) / len(task.keys))
    assert more == pytest.approx((len(answer) + 1) / len(task.keys))


async def score_of(task: OptionsTask, answer: dict[str, object]) -> float:
    turn = Turn(question=task.prompt, reply=Reply(text=f"FINAL ANSWER: {json.dumps(answer)}"))
    return (await options().score(task, 0, Transcript(turns=(turn,)), ScoringTools())).score
