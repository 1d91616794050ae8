"""public_csv: questions with rubrics in a CSV file, the form AgentBusters calls `public.csv`.

Finance specification 9. Rubrics are judged, item by item; rows without one are compared where their answer is a number.
"""

from __future__ import annotations

import ast
import asyncio
import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import JsonValue

from services.contract.conversation import Transcript
from services.contract.results import Section
from services.green_agent.benchmarks.base import (
    Benchmark,
    DatasetConfig,
    DatasetError,
    JudgeNeed,
    Score,
    ScoringTools,
    Setting,
    Task,
    digest,
)
from services.green_agent.data.store import DataError
from services.green_agent.judge.asking import Case, Judge, Material
from services.green_agent.scoring.extract import Key, Kind, NumberKey, TextKey, mark, number_key
from services.green_agent.scoring.numbers import without_thoughts
from services.green_agent.scoring.ruling import rule, unjudged

NAME: Final = "public_csv"
PASS_MARK: Final = 0.7
PENALTY: Final = 0.5
"""What a violated item costs, in items."""
DEFAULT_TOLERANCE: Final = 0.01
DIFFICULTIES: Final = ((5.0, "easy"), (15.0, "medium"), (30.0, "hard"))
"""Minutes of an expert up to which a question is so difficult; more is `expert`."""
OPERATORS: Final = {
    "correctness": "correctness",
    "required": "correctness",
    "contradiction": "contradiction",
    "penalty": "contradiction",
}
LONG_REPLY: Final = 20_000
"""Characters up to which a reply is read in microseconds."""
RUBRIC_INSTRUCTIONS: Final = (
    "Judge an answer to a question about finance, one criterion at a time. The reference is right.\n"
    "A criterion that states a fact is met when the answer states it or clearly implies it. A criterion that speaks of a "
    "contradiction is met only when the answer says the opposite or does what should not be done; silence is none."
)
ANSWER_INSTRUCTIONS: Final = (
    "Decide whether the answer to a question about finance gives the same result as the reference. Wording may differ; hedging "
    "between several results, or none, is wrong."
)


class PublicCsvConfig(DatasetConfig):
    """The `public_csv` entry of a suite."""

    path: str
    """The CSV file: Question, Answer, Question Type, Expert time (mins), Rubric; also Numerical Answer, Tolerance."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One line of a rubric."""

    operator: Literal["correctness", "contradiction"]
    criteria: str

    @property
    def question(self) -> str:
        """What the judge is asked: met is good for `correctness` and bad for `contradiction`."""
        if self.operator == "correctness":
            return self.criteria
        return f"The answer contradicts or breaks the following: {self.criteria}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicCsvTask(Task):
    """One row."""

    reference: str
    rubric: tuple[Item, ...]
    """Empty: the answer is compared with `key`."""
    key: Key
    difficulty: str
    question_type: str


@dataclass(kw_only=True, slots=True)
class _Report:
    """What was found while loading."""

    source: str = ""
    judged: int = 0
    tasks: int = 0
    difficulties: dict[str, int] = field(default_factory=dict)


class PublicCsv(Benchmark[PublicCsvConfig, PublicCsvTask]):
    """(items met - half the items violated) / items of correctness."""

    name: ClassVar[str] = NAME
    section: ClassVar[Section] = Section.KNOWLEDGE_RETRIEVAL
    config_model: ClassVar[type[DatasetConfig]] = PublicCsvConfig
    scorer_version: ClassVar[str] = "public_csv-1"

    def __init__(self, config: PublicCsvConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._report = _Report()

    def tasks(self) -> Sequence[PublicCsvTask]:
        """Every row of the file. Raises DatasetError."""
        try:
            located = self.setting.store.path(self.config.path)
        except DataError as error:
            raise DatasetError(f"public_csv: {error}") from error
        tasks = [_task(number, row) for number, row in enumerate(_rows(located.path))]
        if not tasks:
            raise DatasetError(f"public_csv: {located.path.name} holds no question")
        self._report = _Report(
            source=located.origin,
            judged=sum(bool(task.rubric) or task.key.kind is Kind.TEXT for task in tasks),
            tasks=len(tasks),
        )
        for task in tasks:
            self._report.difficulties[task.difficulty] = self._report.difficulties.get(task.difficulty, 0) + 1
        return tasks

    def judge_need(self) -> JudgeNeed:
        """Rubrics and prose can only be judged."""
        if not self._report.judged:
            return "never"
        return "all" if self._report.judged == self._report.tasks else "some"

    def notes(self) -> Mapping[str, JsonValue]:
        """The file, and how difficult its questions are said to be."""
        return {"source": self._report.source, "difficulties": dict(self._report.difficulties)}

    async def score(self, task: PublicCsvTask, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:  # noqa: ARG002
        """By rubric with the judge; without a rubric by rule where the answer is a number."""
        if task.rubric:
            return await _by_rubric(task, transcript.answer, tools.judge)
        return await _by_answer(task, transcript.answer, tools.judge)


async def _by_rubric(task: PublicCsvTask, reply: str, judge: Judge | None) -> Score:
    if judge is None:
        raise unjudged(NAME)
    answer = without_thoughts(reply).strip()
    if not answer:
        return Score(
            score=0.0,
            passed=False,
            scored_by="rule:empty",
            explanation="the reply holds nothing beside its thoughts",
            details=_details(task),
        )
    case = _case(task, answer, RUBRIC_INSTRUCTIONS)
    verdict = await judge.criteria(case, [item.question for item in task.rubric])
    marks = list(zip(task.rubric, verdict.met, strict=True))
    met = sum(is_met for item, is_met in marks if item.operator == "correctness")
    violated = sum(is_met for item, is_met in marks if item.operator == "contradiction")
    score = rubric_score(met=met, violated=violated, required=_required(task.rubric))
    return Score(
        score=score,
        passed=score >= PASS_MARK,
        scored_by=judge.name,
        explanation="\n".join(
            f"{'met' if is_met else 'not met'} ({item.operator}): {item.criteria}" for item, is_met in marks
        ),
        metrics={
            "items_met": met,
            "items_violated": violated,
            "items_required": _required(task.rubric),
            "injection_suspected": verdict.injection_suspected,
        },
        details=_details(task),
    )


async def _by_answer(task: PublicCsvTask, reply: str, judge: Judge | None) -> Score:
    if len(reply) <= LONG_REPLY:
        found = mark(reply, task.key)
    else:
        found = await asyncio.to_thread(mark, reply, task.key)
    case = _case(task, without_thoughts(reply), _instructions(task.key))
    ruling = await rule(found, case=case, judge=judge, benchmark=NAME)
    return Score(
        score=ruling.score,
        passed=ruling.score >= PASS_MARK,
        scored_by=ruling.scored_by,
        answer=found.value,
        explanation=ruling.reason,
        metrics={
            "kind": found.kind.value,
            "extraction": found.zone.value if found.value else "none",
            "injection_suspected": ruling.injection_suspected,
        },
        details=_details(task) | {"extraction": {"zone": found.zone.value, "value": found.value, "unit": found.unit}},
    )


def rubric_score(*, met: int, violated: int, required: int) -> float:
    """0..1; `required` is the number of correctness items, at least 1."""
    return min(max((met - PENALTY * violated) / required, 0.0), 1.0)


def _required(rubric: Sequence[Item]) -> int:
    return sum(item.operator == "correctness" for item in rubric)


def _case(task: PublicCsvTask, answer: str, instructions: str) -> Case:
    reference = [Material(name="reference", text=task.reference, role="reference")] if task.reference else []
    return Case(
        instructions=instructions,
        materials=(
            Material(name="question", text=task.prompt, role="question"),
            *reference,
            Material(name="answer", text=answer, role="answer"),
        ),
    )


def _instructions(key: Key) -> str:
    if isinstance(key, NumberKey):
        return f"{ANSWER_INSTRUCTIONS} Numbers agree when they differ by at most {100 * key.tolerance:.3g} %."
    return ANSWER_INSTRUCTIONS


def _details(task: PublicCsvTask) -> dict[str, JsonValue]:
    return {"difficulty": task.difficulty, "question_type": task.question_type}


def _rows(path: Path) -> Iterator[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if "Question" not in (reader.fieldnames or ()):
                raise DatasetError(f"public_csv: {path.name} has no column Question; it has {reader.fieldnames}")
            for row in reader:
                yield {name: value.strip() for name, value in row.items() if name and isinstance(value, str)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"public_csv: {path.name} cannot be read ({error})") from None


def _task(number: int, row: Mapping[str, str]) -> PublicCsvTask:
    task_id = f"public_csv_{number}"
    question, reference = row.get("Question", ""), row.get("Answer", "")
    if not question:
        raise DatasetError(f"public_csv: {task_id} has no question")
    rubric = _rubric(task_id, row.get("Rubric", ""))
    numeric = row.get("Numerical Answer", "") or reference
    if not rubric and not numeric:
        raise DatasetError(f"public_csv: {task_id} has neither rubric nor answer, so nothing can be scored")
    tolerance = _number(task_id, "Tolerance", row, default=DEFAULT_TOLERANCE)
    if not tolerance < 1:
        raise DatasetError(f"public_csv: {task_id}: Tolerance is a share below 1, got {tolerance:g}")
    return PublicCsvTask(
        id=task_id,
        stratum=NAME,
        prompt=question,
        digest=digest(
            task_id,
            question,
            reference,
            numeric,
            [[item.operator, item.criteria] for item in rubric],
            f"{tolerance:.9g}",
        ),
        expected=reference or numeric,
        reference=reference or numeric,
        rubric=rubric,
        key=number_key(numeric, tolerance=tolerance) or TextKey(text=reference or numeric),
        difficulty=_difficulty(_number(task_id, "Expert time (mins)", row, default=10.0)),
        question_type=row.get("Question Type", ""),
    )


def _rubric(task_id: str, text: str) -> tuple[Item, ...]:
    if not text:
        return ()
    try:
        raw = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise DatasetError(f"public_csv: {task_id}: Rubric is no Python literal: {text[:80]!r}") from None
    if not isinstance(raw, list):
        raise DatasetError(f"public_csv: {task_id}: Rubric is no list: {text[:80]!r}")
    items = tuple(_item(task_id, item) for item in raw)
    if items and not _required(items):
        raise DatasetError(f"public_csv: {task_id}: Rubric has no item of correctness, so nothing can be scored")
    return items


def _item(task_id: str, raw: object) -> Item:
    named = raw if isinstance(raw, dict) else {}
    operator = OPERATORS.get(str(named.get("operator", named.get("type"))))
    criteria = named.get("criteria")
    if not isinstance(criteria, str) or not criteria.strip() or operator is None:
        raise DatasetError(
            f"public_csv: {task_id}: expected {{operator: {' | '.join(OPERATORS)}, criteria: text}} in Rubric, got {raw!r}"
        )
    return Item(operator="correctness" if operator == "correctness" else "contradiction", criteria=criteria.strip())


def _number(task_id: str, column: str, row: Mapping[str, str], *, default: float) -> float:
    text = row.get(column, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise DatasetError(f"public_csv: {task_id}: expected a number in {column}, got {text!r}")
    return value


def _difficulty(minutes: float) -> str:
    return next((name for most, name in DIFFICULTIES if minutes <= most), "expert")
