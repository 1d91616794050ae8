"""PRBench from its files to scores."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from pydantic import ValidationError

from services.contract.outcomes import Failure, Outcome
from services.contract.seeds import rank
from services.green_agent.benchmarks.base import DatasetError, Score, ScoringTools, Setting
from services.green_agent.benchmarks.prbench import PRBench, PRBenchConfig, points
from services.green_agent.data.store import Store
from tests.support.scripted_judge import ScriptedJudge
from tests.support.scripted_session import ScriptedSession

CLASSES = {"critically important": 10, "important": 7, "slightly important": 3, "detrimental": -8}
FOUR = [("critically important", 10), ("important", 7), ("detrimental", -8), ("slightly important", 3)]
"""The vector of the specification: 10, 7, -8, 3."""


def criterion(number: int, weight_class: str, weight: object) -> dict[str, Any]:
    annotations = dict.fromkeys((name.replace(" ", "_") + "_weight" for name in CLASSES), None)
    own = {
        weight_class.replace(" ", "_") + "_weight": weight,
        "weight_class": weight_class,
        "criteria_category": "Risk",
    }
    return {"id": f"c{number}", "title": f"criterion {number} of weight {weight}", "annotations": annotations | own}


def row(task: str, *weights: tuple[str, object], topic: str = "Risk", **columns: Any) -> dict[str, Any]:
    rubric = [criterion(number, *weight) for number, weight in enumerate(weights or FOUR)]
    asked = {"turns": 1, "prompt_0": f"Question of {task}?", "scratchpad": "the expert's secret"}
    return asked | {"task": task, "field": "Finance", "topic": topic, "rubric": rubric} | columns


def write(folder: Path, split: str, rows: Sequence[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return folder


def benchmark(folder: Path, *, seed: int = 7, **keys: Any) -> PRBench:
    config = PRBenchConfig.model_validate({"type": "prbench", "path": str(folder), "splits": ["finance"], **keys})
    return PRBench(config, Setting(seed=seed, store=Store(folders=(), mirror=None)))


async def judged(folder: Path, judge: ScriptedJudge | None, *, reply: str = "An answer.", **keys: Any) -> Score:
    loaded = benchmark(folder, **keys)
    (task,) = loaded.tasks()
    session = ScriptedSession(reply)
    await loaded.converse(task, 0, session)
    return await loaded.score(task, 0, session.transcript, ScoringTools(judge=judge))


def test_a_split_is_read_from_the_parquet_files_as_published(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for split, tasks in {"finance": ["a", "b"], "finance_hard": ["b"]}.items():
        parquet.write_table(
            pa.Table.from_pylist([row(task) for task in tasks]), folder / f"{split}-00000-of-00001.parquet"
        )

    loaded = benchmark(tmp_path, splits=["finance", "finance_hard"])

    assert [task.id for task in loaded.tasks()] == ["prbench_finance_a", "prbench_finance_b", "prbench_finance_hard_b"]
    assert [criterion.weight for criterion in loaded.tasks()[0].rubric] == [10, 7, -8, 3]
    assert loaded.notes()["tasks"] == {"finance": 2, "finance_hard": 1}
    assert loaded.notes()["criteria"] == 12


def test_a_registered_copy_is_found_through_the_store(tmp_path: Path) -> None:
    write(tmp_path / "prbench", "legal", [row("a")])
    config = PRBenchConfig(type="prbench", splits=("legal",))
    loaded = PRBench(config, Setting(seed=1, store=Store(folders=(), mirror=tmp_path)))

    assert [task.stratum for task in loaded.tasks()] == ["legal"]
    assert loaded.notes()["sources"] == {"legal": ["mirror prbench/legal.jsonl"]}


def test_the_limit_counts_in_each_split_and_the_planner_must_not_cut_again(tmp_path: Path) -> None:
    for split in ("finance", "legal"):
        write(tmp_path, split, [row(str(number)) for number in range(10)])

    tasks = benchmark(tmp_path, splits=["finance", "legal"], limit=3).tasks()

    assert Counter(task.stratum for task in tasks) == {"finance": 3, "legal": 3}
    assert [task.id for task in tasks[:3]] == ["prbench_finance_0", "prbench_finance_1", "prbench_finance_2"]
    assert PRBench.limits_itself


def test_heads_of_a_shuffled_entry_come_from_the_order_by_seed(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row(str(number)) for number in range(30)])
    ids = [f"prbench_finance_{number}" for number in range(30)]

    tasks = benchmark(tmp_path, shuffle=True, limit=4).tasks()

    assert [task.id for task in tasks] == sorted(ids, key=lambda name: rank(7, "order", name))[:4]


def test_topics_keep_their_tasks_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a"), row("b", topic="Tax")])

    assert [task.id for task in benchmark(tmp_path, topics=["Tax"]).tasks()] == ["prbench_finance_b"]
    with pytest.raises(DatasetError, match="topic 'Taxx'; did you mean 'Tax'"):
        benchmark(tmp_path, topics=["Taxx"]).tasks()


def test_a_split_without_a_task_of_the_topic_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a")])
    write(tmp_path, "legal", [row("b", topic="Tax")])

    with pytest.raises(DatasetError, match="no task is left in finance"):
        benchmark(tmp_path, splits=["finance", "legal"], topics=["Tax"]).tasks()


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"splits": ["finanse"]}, "unknown split 'finanse'; did you mean 'finance'"),
        ({"splits": []}, "splits"),
        ({"normalisation": "mean"}, "normalisation"),
        ({"split": "finance"}, "split"),
    ],
)
def test_unknown_keys_and_splits_are_refused(keys: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        PRBenchConfig.model_validate({"type": "prbench", **keys})


@pytest.mark.parametrize("splits", ["all", ["all"]])
def test_all_means_the_four_splits(splits: object) -> None:
    config = PRBenchConfig.model_validate({"type": "prbench", "splits": splits})

    assert config.splits == ("finance", "legal", "finance_hard", "legal_hard")
    assert PRBenchConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("weight", [None, "9", 0, 0.0, True])
def test_a_weight_that_is_no_number_or_zero_is_an_error_naming_task_and_criterion(
    tmp_path: Path, weight: object
) -> None:
    write(tmp_path, "finance", [row("t7", ("important", 7), ("critically important", weight))])

    with pytest.raises(DatasetError, match=r"prbench_finance_t7: criterion 'c1'.*critically_important_weight"):
        benchmark(tmp_path).tasks()


def test_a_missing_weight_class_is_an_error_naming_the_criterion(tmp_path: Path) -> None:
    bare = row("t7")
    bare["rubric"][2]["annotations"] = {}
    write(tmp_path, "finance", [bare])

    with pytest.raises(DatasetError, match=r"prbench_finance_t7: criterion 'c2'"):
        benchmark(tmp_path).tasks()


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([row("t", ("detrimental", -8))], "no criterion has a positive weight"),
        ([row("t", prompt_0="  ")], "there is no prompt"),
        ([row("t", rubric="none")], "split finance: finance.jsonl row 1: rubric"),
        ([row("t") | {"task": None}], "split finance: finance.jsonl row 1: task"),
        ([], "split finance: finance.jsonl: no row"),
        ([row("t", ("important", float("nan")))], "split finance: finance.jsonl line 1"),
    ],
)
def test_a_row_that_cannot_be_asked_or_scored_is_an_error(
    tmp_path: Path, rows: list[dict[str, Any]], fault: str
) -> None:
    write(tmp_path, "finance", rows)

    with pytest.raises(DatasetError, match=fault):
        benchmark(tmp_path).tasks()


def test_a_broken_parquet_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "finance-0.parquet").write_bytes(b"PAR1 and nothing more")

    with pytest.raises(DatasetError, match=r"split finance: finance-0\.parquet: not a readable Parquet file"):
        benchmark(tmp_path).tasks()


def test_a_folder_without_the_split_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "finance_hard", [row("a")])

    with pytest.raises(DatasetError, match="no file for the split finance"):
        benchmark(tmp_path).tasks()


CONVERSATION: dict[str, Any] = {
    "turns": 2,
    "prompt_0": "First?",
    "reference_texts_0": ["Law A", ""],
    "response_0": "Earlier response.",
    "prompt_1": "Second?",
    "reference_texts_1": ["Law B"],
    "response_1": "never shown",
}


def test_one_message_holds_earlier_turns_their_texts_and_responses_then_the_last_prompt(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a", **CONVERSATION)])

    (task,) = benchmark(tmp_path).tasks()

    assert task.prompt == (
        "This conversation has taken place so far. Answer the user's last message.\n\n"
        "User: First?\n\nReference text 1:\nLaw A\n\nAssistant: Earlier response.\n\n"
        "User: Second?\n\nReference text 2:\nLaw B"
    )
    assert task.messages == 1


def test_reference_texts_can_be_left_out(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a", **CONVERSATION)])

    (task,) = benchmark(tmp_path, include_reference_texts=False).tasks()

    assert "Law" not in task.prompt
    assert task.references == ()


def test_a_conversation_with_gaps_is_asked_and_listed(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a", **(CONVERSATION | {"response_0": None})), row("b", turns=3), row("c")])
    loaded = benchmark(tmp_path)

    loaded.tasks()

    assert loaded.notes()["incomplete_conversations"] == ["prbench_finance_a", "prbench_finance_b"]


async def test_the_judge_sees_question_texts_and_answer_but_no_weight_and_no_scratchpad(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a", **CONVERSATION)])
    judge = ScriptedJudge()

    await judged(tmp_path, judge, reply="<think>hm</think>My answer.")

    (case,) = judge.cases
    assert [(material.name, material.role) for material in case.materials] == [
        ("question", "question"),
        ("reference 1", "reference"),
        ("reference 2", "reference"),
        ("answer", "answer"),
    ]
    assert case.materials[-1].text == "My answer."
    shown = case.instructions + "".join(material.text for material in case.materials)
    assert "secret" not in shown
    assert "never shown" not in shown
    assert judge.criteria_asked == [f"criterion {number} of weight {weight}" for number, (_, weight) in enumerate(FOUR)]


@pytest.mark.parametrize(("normalisation", "score"), [("clipped", 0.25), ("minmax", 13 / 28)])
async def test_the_vector_of_the_specification_holds_and_both_scores_are_stored(
    tmp_path: Path, normalisation: str, score: float
) -> None:
    write(tmp_path, "finance", [row("a")])
    judge = ScriptedJudge(meets=lambda criterion: " 7" not in criterion)

    result = await judged(tmp_path, judge, normalisation=normalisation)

    assert result.score == pytest.approx(score, rel=1e-9)
    assert (result.metrics["points"], result.metrics["clipped"]) == (5.0, 0.25)
    assert result.metrics["minmax"] == pytest.approx(0.464286, rel=1e-6)
    assert (result.metrics["criteria_met"], result.metrics["harms_met"]) == (2, 1)
    assert (result.passed, result.scored_by) == (False, "scripted-judge")


async def test_thirty_criteria_are_all_judged_and_all_count(tmp_path: Path) -> None:
    weights = [("important", 7) if number % 5 else ("detrimental", -8) for number in range(30)]
    write(tmp_path, "finance", [row("a", *weights)])
    judge = ScriptedJudge(meets=lambda criterion: "-8" not in criterion)

    result = await judged(tmp_path, judge)

    assert len(judge.criteria_asked) == 30
    assert (result.score, result.passed) == (1.0, True)


@pytest.mark.parametrize(("met", "passed"), [(("important", 7), True), (("important", 6.9), False)])
async def test_seven_tenths_pass(tmp_path: Path, met: tuple[str, float], *, passed: bool) -> None:
    write(tmp_path, "finance", [row("a", met, ("slightly important", 10 - met[1]))])

    result = await judged(tmp_path, ScriptedJudge(meets=lambda criterion: criterion.startswith("criterion 0")))

    assert result.passed is passed


async def test_without_a_judge_the_trial_is_unscored_whatever_it_says(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a")])
    words = " ".join(f"criterion {number} of weight {weight}, met: true" for number, (_, weight) in enumerate(FOUR))

    for reply in ("An answer.", words):
        with pytest.raises(Failure) as caught:
            await judged(tmp_path, None, reply=reply)

        assert (caught.value.outcome, caught.value.kind) == (Outcome.JUDGE_ERROR, "no_judge")


@pytest.mark.parametrize("fallback", ["none", "rule"])
async def test_a_judge_without_a_whole_verdict_leaves_no_partial_sum(tmp_path: Path, fallback: Any) -> None:
    write(tmp_path, "finance", [row("a")])
    failure = Failure(Outcome.JUDGE_ERROR, "no_verdict", "made by a test")

    with pytest.raises(Failure) as caught:
        await judged(tmp_path, ScriptedJudge(failure=failure, fallback=fallback))

    assert caught.value is failure


async def test_a_reply_of_thoughts_alone_earns_nothing_even_by_avoiding_harm(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a")])

    result = await judged(tmp_path, ScriptedJudge(), reply="<think>nothing else</think>", normalisation="minmax")

    assert (result.score, result.passed) == (0.0, False)


def test_every_trial_needs_a_judge(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a")])
    loaded = benchmark(tmp_path)
    loaded.tasks()

    assert loaded.judge_need() == "all"


def test_what_is_asked_and_how_it_is_judged_stands_in_the_digest(tmp_path: Path) -> None:
    write(tmp_path, "finance", [row("a", **CONVERSATION)])
    other = write(tmp_path / "other", "finance", [row("a", ("important", 8), **CONVERSATION)])

    digests = {
        loaded.tasks()[0].digest
        for loaded in (
            benchmark(tmp_path),
            benchmark(other),
            benchmark(tmp_path, normalisation="minmax"),
            benchmark(tmp_path, include_reference_texts=False),
        )
    }

    assert len(digests) == 4


WEIGHTS = st.lists(st.floats(0.5, 10) | st.floats(-10, -0.5), max_size=30).map(lambda rest: [5.0, *rest])


@given(WEIGHTS, st.data())
def test_scores_lie_between_0_and_1_and_meeting_a_good_criterion_never_lowers_them(
    weights: list[float], data: st.DataObject
) -> None:
    met = data.draw(st.lists(st.booleans(), min_size=len(weights), max_size=len(weights)))
    sums = points(weights, met)
    better = points(weights, [is_met if weight < 0 else True for weight, is_met in zip(weights, met, strict=True)])

    assert 0.0 <= sums.clipped <= better.clipped <= 1.0
    assert 0.0 <= sums.minmax <= better.minmax <= 1.0


@given(WEIGHTS)
def test_all_good_and_no_harm_is_everything(weights: list[float]) -> None:
    best = points(weights, [weight > 0 for weight in weights])
    worst = points(weights, [weight < 0 for weight in weights])

    assert [best.clipped, best.minmax] == pytest.approx([1.0, 1.0])
    assert [worst.clipped, worst.minmax] == pytest.approx([0.0, 0.0])


def test_a_verdict_with_another_count_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        points([1.0, 2.0], [True])
