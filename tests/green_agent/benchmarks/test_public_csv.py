"""public_csv from its file to scores."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import DatasetError, Score, ScoringTools, Setting
from services.green_agent.benchmarks.public_csv import PublicCsv, PublicCsvConfig, rubric_score
from services.green_agent.data.store import Store
from tests.support.scripted_judge import ScriptedJudge
from tests.support.scripted_session import ScriptedSession

COLUMNS = ("Question", "Answer", "Question Type", "Expert time (mins)", "Rubric", "Numerical Answer", "Tolerance")
RUBRIC = (
    "[{'operator': 'correctness', 'criteria': 'sales rose'}, {'operator': 'correctness', 'criteria': 'by 5 %'}, "
    "{'operator': 'contradiction', 'criteria': 'sales rose by 5 %'}]"
)
ALIASES = '[{"type": "required", "criteria": "sales rose"}, {"type": "penalty", "criteria": "no confusion"}]'


def write(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS, encoding: str = "utf-8") -> Path:
    file = folder / "public.csv"
    with file.open("w", encoding=encoding, newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return file


def row(**cells: str) -> dict[str, str]:
    named = {"answer": "Answer", "rubric": "Rubric", "minutes": "Expert time (mins)", "number": "Numerical Answer"}
    usual = {"Question": "How did sales do?", "Question Type": "Trends"}
    return usual | {named.get(name, name.capitalize()): value for name, value in cells.items()}


def benchmark(file: Path) -> PublicCsv:
    setting = Setting(seed=7, store=Store(folders=(file.parent,), mirror=None))
    return PublicCsv(PublicCsvConfig(type="public_csv", path=file.name), setting)


async def answered(folder: Path, cells: dict[str, str], reply: str, judge: ScriptedJudge | None = None) -> Score:
    loaded = benchmark(write(folder, cells))
    (task,) = loaded.tasks()
    session = ScriptedSession(reply)
    await loaded.converse(task, 0, session)
    return await loaded.score(task, 0, session.transcript, ScoringTools(judge=judge))


def test_the_path_is_required() -> None:
    with pytest.raises(ValidationError, match="path"):
        PublicCsvConfig.model_validate({"type": "public_csv"})


def test_rows_are_tasks_of_one_stratum_with_difficulty_by_minutes(tmp_path: Path) -> None:
    minutes = ["5", "5.5", "15", "30", "31", ""]
    file = write(tmp_path, *[row(rubric=RUBRIC, minutes=time) for time in minutes], encoding="utf-8-sig")
    loaded = benchmark(file)

    tasks = loaded.tasks()

    assert [task.id for task in tasks] == [f"public_csv_{number}" for number in range(6)]
    assert {task.stratum for task in tasks} == {"public_csv"}
    assert [task.difficulty for task in tasks] == ["easy", "medium", "medium", "hard", "expert", "medium"]
    assert loaded.notes() == {
        "source": "path public.csv",
        "difficulties": {"easy": 1, "medium": 3, "hard": 1, "expert": 1},
    }


@pytest.mark.parametrize(
    ("rows", "need"),
    [
        ([row(rubric=RUBRIC)], "all"),
        ([row(answer="prose")], "all"),
        ([row(rubric=RUBRIC), row(answer="5")], "some"),
        ([row(answer="5")], "never"),
    ],
)
def test_rubrics_and_prose_need_a_judge(tmp_path: Path, rows: list[dict[str, str]], need: str) -> None:
    loaded = benchmark(write(tmp_path, *rows))
    loaded.tasks()

    assert loaded.judge_need() == need


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        (row(rubric="[{'operator': 'correctness'"), "public_csv_0: Rubric is no Python literal"),
        (row(rubric="__import__('os').getcwd()"), "no Python literal"),
        (row(rubric="{'operator': 'correctness'}"), "Rubric is no list"),
        (row(rubric="[{'operator': 'correct', 'criteria': 'x'}]"), "expected {operator"),
        (row(rubric="[{'operator': 'correctness', 'criteria': ' '}]"), "expected {operator"),
        (row(rubric="['sales rose']"), "expected {operator"),
        (row(rubric="[{'operator': 'contradiction', 'criteria': 'x'}]"), "no item of correctness"),
        (row(rubric="(" * 300 + ")" * 300), "Rubric is no"),
        (row(), "neither rubric nor answer"),
        (row(answer="5", question=" "), "public_csv_0 has no question"),
        (row(answer="5", tolerance="wide"), "expected a number in Tolerance, got 'wide'"),
        (row(answer="5", tolerance="-1"), "expected a number in Tolerance"),
        (row(answer="5", tolerance="1"), "Tolerance is a share below 1"),
        (row(answer="5", minutes="nan"), "Expert time"),
    ],
)
def test_a_row_that_cannot_be_asked_or_scored_is_an_error_that_names_it(
    tmp_path: Path, cells: dict[str, str], fault: str
) -> None:
    with pytest.raises(DatasetError, match=fault.replace("{", r"\{")):
        benchmark(write(tmp_path, cells)).tasks()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"Query,Answer\nx,5\n", "has no column Question"),
        (b"", "has no column Question"),
        (b"Question,Answer\n", "holds no question"),
        (b"Question,Answer\nwhat,\xff\xfe\n", "cannot be read"),
        (b'Question,Answer\nwhat,"5" more\n', "cannot be read"),
    ],
)
def test_a_file_that_is_no_such_table_is_an_error(tmp_path: Path, content: bytes, fault: str) -> None:
    file = tmp_path / "public.csv"
    file.write_bytes(content)

    with pytest.raises(DatasetError, match=fault):
        benchmark(file).tasks()


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="absent"):
        benchmark(tmp_path / "absent.csv").tasks()


@pytest.mark.parametrize(
    ("met", "score"),
    [
        ({"sales rose", "by 5 %"}, 1.0),
        ({"sales rose"}, 0.5),
        ({"sales rose", "contradicts"}, 0.25),
        ({"contradicts"}, 0.0),
        (set(), 0.0),
    ],
)
async def test_the_score_is_met_less_half_of_violated_over_required(
    tmp_path: Path, met: set[str], score: float
) -> None:
    def meets(criterion: str) -> bool:
        return "contradicts" in met if "contradicts" in criterion else criterion in met

    result = await answered(tmp_path, row(rubric=RUBRIC, answer="up 5 %"), "They rose.", ScriptedJudge(meets=meets))

    assert (result.score, result.passed) == (score, score >= 0.7)
    assert (result.metrics["items_required"], result.details["question_type"]) == (2, "Trends")


async def test_all_items_go_to_the_judge_with_question_reference_and_answer(tmp_path: Path) -> None:
    judge = ScriptedJudge()

    await answered(tmp_path, row(rubric=ALIASES, answer="up"), "<think>hm</think>They rose.", judge)

    assert judge.criteria_asked == ["sales rose", "The answer contradicts or breaks the following: no confusion"]
    assert [(material.role, material.text) for material in judge.cases[0].materials] == [
        ("question", "How did sales do?"),
        ("reference", "up"),
        ("answer", "They rose."),
    ]


async def test_without_a_judge_a_rubric_is_unscored(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        await answered(tmp_path, row(rubric=RUBRIC), "sales rose by 5 %")

    assert (caught.value.outcome, caught.value.kind) == (Outcome.JUDGE_ERROR, "no_judge")


async def test_a_judge_that_fails_leaves_the_rubric_unscored(tmp_path: Path) -> None:
    failure = Failure(Outcome.JUDGE_ERROR, "no_verdict", "made by a test")

    with pytest.raises(Failure) as caught:
        await answered(tmp_path, row(rubric=RUBRIC), "up", ScriptedJudge(failure=failure, fallback="rule"))

    assert caught.value is failure


@pytest.mark.parametrize(
    ("cells", "reply", "score"),
    [
        (row(answer="$383.3 billion"), "FINAL ANSWER: 383.3 billion", 1.0),
        (row(answer="$383.3 billion"), "FINAL ANSWER: 387.5 billion", 0.0),
        (row(answer="$383.3 billion", tolerance="0.02"), "FINAL ANSWER: 387.5 billion", 1.0),
        (row(answer="It was a good year", number="12.5"), "it rose by 12.5", 1.0),
        (row(answer="80bps"), "FINAL ANSWER: 80", 1.0),
        (row(answer="12.5"), "hard to say", 0.0),
    ],
)
async def test_without_a_rubric_numbers_are_compared(
    tmp_path: Path, cells: dict[str, str], reply: str, score: float
) -> None:
    assert (await answered(tmp_path, cells, reply)).score == score


async def test_without_a_rubric_prose_is_judged(tmp_path: Path) -> None:
    cells = row(answer="They rose because of prices")

    with pytest.raises(Failure):
        await answered(tmp_path, cells, "Prices lifted them")
    assert (await answered(tmp_path, cells, "Prices lifted them", ScriptedJudge(agrees=lambda case: True))).score == 1.0


@pytest.mark.parametrize(("violated", "score"), [(0, 1.0), (1, 0.75), (4, 0.0), (100, 0.0)])
def test_violations_never_push_a_score_below_zero(violated: int, score: float) -> None:
    assert rubric_score(met=2, violated=violated, required=2) == score


def test_what_is_asked_and_how_it_is_judged_stands_in_the_digest(tmp_path: Path) -> None:
    variants: list[dict[str, Any]] = [
        row(answer="5"),
        row(answer="6"),
        row(answer="5", tolerance="0.02"),
        row(answer="5", rubric=RUBRIC),
        row(answer="5", question="Why?"),
    ]

    digests = {benchmark(write(tmp_path, cells)).tasks()[0].digest for cells in variants}

    assert len(digests) == len(variants)
