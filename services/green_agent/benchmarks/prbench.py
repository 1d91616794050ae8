"""prbench: long professional questions in finance and law, graded criterion by criterion by a judge.

Finance specification 4. There is no keyword mode: without a judge a trial is unscored.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from services.contract.assessment import nearest
from services.contract.conversation import Transcript
from services.contract.results import Section
from services.contract.seeds import rank
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
from services.green_agent.data.rows import read_rows
from services.green_agent.data.store import DataError, Located
from services.green_agent.judge.asking import Case, Material
from services.green_agent.scoring.numbers import without_thoughts
from services.green_agent.scoring.ruling import unjudged

NAME: Final = "prbench"
PASS_MARK: Final = 0.7
MOST_TURNS: Final = 10
SPLITS: Final = ("finance", "legal", "finance_hard", "legal_hard")
INSTRUCTIONS: Final = (
    "Judge a professional's answer to the last message of the conversation, one criterion at a time.\n"
    "A criterion is met when the answer itself states or does what the criterion says. Criteria may describe faults: such a "
    "one is met when the fault is there. Naming the subject, or repeating the criterion's words, is not enough."
)


def _splits(value: object) -> object:
    """A list of splits or `all`; unknown ones are refused with the nearest."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return value
    if "all" in names:
        return SPLITS
    for name in names:
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}{nearest(str(name), [*SPLITS, 'all'])}")
    return tuple(dict.fromkeys(names))


class PRBenchConfig(DatasetConfig):
    """The `prbench` entry of a suite. `limit` counts per split."""

    splits: Annotated[tuple[str, ...], BeforeValidator(_splits)] = Field(default=("finance", "legal"), min_length=1)
    """finance, legal, finance_hard, legal_hard, or `all`."""
    topics: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Keep only these topics; all when null."""
    include_reference_texts: bool = True
    """Show the agent the documents that belong to the questions."""
    normalisation: Literal["clipped", "minmax"] = "clipped"
    """Which of the two scores counts; both are stored."""
    path: str | None = None
    """Folder with one Parquet or JSON Lines file a split, instead of the data set's own source."""
    revision: str | None = None
    """Commit of the data set; the pinned one when null."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """One thing a judge looks for."""

    id: str
    title: str
    weight: float
    """Points; negative: a harm, and met means it is present. Never 0."""
    weight_class: str
    """For display."""
    category: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PRBenchTask(Task):
    """One conversation and its rubric."""

    rubric: tuple[Criterion, ...]
    conversation: str
    """What the judge is shown: the prompt without its reference texts."""
    references: tuple[str, ...]
    split: str
    topic: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """A verdict in numbers."""

    earned: float
    """Sum of the weights that are met."""
    positive: float
    negative: float
    """Sums of all positive and of all negative weights."""

    @property
    def clipped(self) -> float:
        """Share of the positive points, 0..1."""
        return min(max(self.earned / self.positive, 0.0), 1.0)

    @property
    def minmax(self) -> float:
        """Place between the worst and the best possible sum, 0..1."""
        return min(max((self.earned - self.negative) / (self.positive - self.negative), 0.0), 1.0)


def points(weights: Sequence[float], met: Sequence[bool]) -> Points:
    """Add up a verdict. Raises ValueError when there is not one verdict a weight."""
    return Points(
        earned=math.fsum(weight for weight, is_met in zip(weights, met, strict=True) if is_met),
        positive=math.fsum(weight for weight in weights if weight > 0),
        negative=math.fsum(weight for weight in weights if weight < 0),
    )


@dataclass(kw_only=True, slots=True)
class _Report:
    """What was found while loading."""

    sources: dict[str, list[str]] = field(default_factory=dict)
    tasks: dict[str, int] = field(default_factory=dict)
    """By split, before the limit."""
    criteria: int = 0
    """Of the tasks that are left; a revision of the data set may change it."""
    incomplete: list[str] = field(default_factory=list)
    """Tasks whose conversation lacks a turn or an earlier response; they are asked with what there is."""


class PRBench(Benchmark[PRBenchConfig, PRBenchTask]):
    """Weighted criteria, all of them judged; no partial sum."""

    name: ClassVar[str] = NAME
    section: ClassVar[Section] = Section.KNOWLEDGE_RETRIEVAL
    config_model: ClassVar[type[DatasetConfig]] = PRBenchConfig
    scorer_version: ClassVar[str] = "prbench-1"
    limits_itself: ClassVar[bool] = True

    def __init__(self, config: PRBenchConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._report = _Report()

    def tasks(self) -> Sequence[PRBenchTask]:
        """The tasks of every split, at most `limit` of each. Raises DatasetError."""
        self._report = _Report()
        found = {split: self._of_split(split) for split in self.config.splits}
        if self.config.topics is not None:
            found = {split: self._on_topic(tasks, found) for split, tasks in found.items()}
        self._report.tasks = {split: len(tasks) for split, tasks in found.items()}
        if empty := [split for split, tasks in found.items() if not tasks]:
            raise DatasetError(f"prbench: no task is left in {', '.join(empty)}; widen topics or name other splits")
        tasks = [task for split in self.config.splits for task in self._heads(found[split])]
        self._report.criteria = sum(len(task.rubric) for task in tasks)
        return tasks

    def judge_need(self) -> JudgeNeed:
        """There is no rule for prose."""
        return "all"

    def notes(self) -> Mapping[str, JsonValue]:
        """Files, tasks and criteria found, conversations with gaps."""
        return {
            "sources": {split: list(origins) for split, origins in self._report.sources.items()},
            "tasks": dict(self._report.tasks),
            "criteria": self._report.criteria,
            "incomplete_conversations": list(self._report.incomplete),
        }

    async def score(self, task: PRBenchTask, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:  # noqa: ARG002
        """Ask the judge for every criterion and add up. Raises Failure without a judge or a whole verdict."""
        if tools.judge is None:
            raise unjudged(NAME)
        answer = without_thoughts(transcript.answer).strip()
        if not answer:
            return _nothing(task)
        verdict = await tools.judge.criteria(_case(task, answer), [criterion.title for criterion in task.rubric])
        sums = points([criterion.weight for criterion in task.rubric], verdict.met)
        score = sums.clipped if self.config.normalisation == "clipped" else sums.minmax
        met_weights = [one.weight for one, is_met in zip(task.rubric, verdict.met, strict=True) if is_met]
        return Score(
            score=score,
            passed=score >= PASS_MARK,
            scored_by=tools.judge.name,
            explanation=_explain(task.rubric, verdict.met, verdict.reasons),
            metrics={
                **_numbers(task, sums),
                "criteria_met": sum(weight > 0 for weight in met_weights),
                "harms_met": sum(weight < 0 for weight in met_weights),
                "injection_suspected": verdict.injection_suspected,
            },
            details=_details(task, verdict.met),
        )

    def _of_split(self, split: str) -> list[PRBenchTask]:
        files = self._files(split)
        self._report.sources[split] = [file.origin for file in files]
        return [self._task(split, row) for file in files for row in _rows(file.path, split)]

    def _files(self, split: str) -> Sequence[Located]:
        pattern = f"*{split}[-.]*"  # `data/finance-00000-of-00001.parquet` as published, or `finance.jsonl`
        try:
            if self.config.path is None:
                return self.setting.store.members(NAME, pattern, revision=self.config.revision)
            folder = self.setting.store.path(self.config.path)
        except DataError as error:
            raise DatasetError(f"prbench: {error}") from error
        names = sorted(path.relative_to(folder.path).as_posix() for path in folder.path.rglob("*") if path.is_file())
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            raise DatasetError(f"prbench: {self.config.path} has no file for the split {split}")
        return [Located(path=folder.path / name, origin=f"{folder.origin}/{name}") for name in found]

    def _on_topic(self, tasks: Sequence[PRBenchTask], found: Mapping[str, Sequence[PRBenchTask]]) -> list[PRBenchTask]:
        known = sorted({task.topic for all_of_split in found.values() for task in all_of_split})
        wanted = self.config.topics or ()
        if unknown := [topic for topic in wanted if topic not in known]:
            raise DatasetError(f"prbench: no task has the topic {unknown[0]!r}{nearest(unknown[0], known)}")
        return [task for task in tasks if task.topic in wanted]

    def _heads(self, tasks: Sequence[PRBenchTask]) -> Sequence[PRBenchTask]:
        """The first tasks of a split, of the order by seed where the entry is shuffled."""
        if self.config.shuffle:
            tasks = sorted(tasks, key=lambda task: rank(self.seed, "order", task.id))
        return tasks[: self.config.limit]

    def _task(self, split: str, row: _Row) -> PRBenchTask:
        task_id = f"prbench_{split}_{row.task}"
        rubric = tuple(_criterion(task_id, criterion) for criterion in row.rubric)
        if not any(criterion.weight > 0 for criterion in rubric):
            raise DatasetError(f"prbench: {task_id}: no criterion has a positive weight, so nothing can be scored")
        turns = _turns(row)
        if not turns:
            raise DatasetError(f"prbench: {task_id}: there is no prompt")
        if len(turns) != (row.turns or len(turns)) or not all(turn.response for turn in turns[:-1]):
            self._report.incomplete.append(task_id)
        shown = self.config.include_reference_texts
        prompt = _conversation(turns, with_references=shown)
        return PRBenchTask(
            id=task_id,
            stratum=split,
            prompt=prompt,
            digest=digest(
                task_id, prompt, [[one.id, one.title, one.weight] for one in rubric], self.config.normalisation
            ),
            expected=f"{len(rubric)} criteria",
            limit_group=split,
            rubric=rubric,
            conversation=_conversation(turns, with_references=False),
            references=tuple(text for turn in turns for text in turn.references) if shown else (),
            split=split,
            topic=row.topic,
        )


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class _Annotated(_Wire):
    id: str | int = ""
    title: str
    annotations: dict[str, object]


class _Row(_Wire):
    task: str | int
    topic: str = ""
    turns: int | None = None
    rubric: list[_Annotated]

    def texts(self, name: str) -> list[str]:
        """The texts of a column that is a string, a list of strings or absent."""
        value = (self.model_extra or {}).get(name)
        values = value if isinstance(value, list) else [value]
        return [text.strip() for text in values if isinstance(text, str) and text.strip()]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Turn:
    prompt: str
    references: tuple[str, ...]
    response: str
    """What the data set's own assistant said; empty for the last turn."""


def _rows(path: Path, split: str) -> Iterator[_Row]:
    try:
        found = read_rows(path)
    except DataError as error:
        raise DatasetError(f"prbench: split {split}: {error}") from None
    for row in found:
        try:
            yield _Row.model_validate(row.values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the row"
            fault = f"{path.name} row {row.number}: {where}: {first['msg']}"
            raise DatasetError(f"prbench: split {split}: {fault}") from None


def _criterion(task_id: str, raw: _Annotated) -> Criterion:
    name = f"prbench: {task_id}: criterion {raw.id or raw.title[:60]!r}"
    if not raw.title.strip():
        raise DatasetError(f"{name} has no text")
    weight_class = str(raw.annotations.get("weight_class") or "")
    column = weight_class.replace(" ", "_") + "_weight"
    weight = raw.annotations.get(column)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight) or weight == 0:
        raise DatasetError(f"{name}: expected a number other than 0 in {column}, got {weight!r}")
    return Criterion(
        id=str(raw.id),
        title=raw.title.strip(),
        weight=float(weight),
        weight_class=weight_class,
        category=str(raw.annotations.get("criteria_category") or ""),
    )


def _turns(row: _Row) -> list[_Turn]:
    """The turns that have a prompt. The scratchpad is no part of them: it tells how the expert thinks."""
    count = min(row.turns or MOST_TURNS, MOST_TURNS)
    return [
        _Turn(
            prompt=prompt[0],
            references=tuple(row.texts(f"reference_texts_{number}")),
            response="\n".join(row.texts(f"response_{number}")),
        )
        for number in range(count)
        if (prompt := row.texts(f"prompt_{number}"))
    ]


def _conversation(turns: Sequence[_Turn], *, with_references: bool) -> str:
    """One message: earlier turns with the responses they got, then the last prompt."""
    parts: list[str] = []
    number = 0
    if len(turns) > 1:
        parts.append("This conversation has taken place so far. Answer the user's last message.")
    for turn in turns:
        parts.append(f"User: {turn.prompt}" if len(turns) > 1 else turn.prompt)
        for reference in turn.references if with_references else ():
            number += 1
            parts.append(f"Reference text {number}:\n{reference}")
        if turn is not turns[-1] and turn.response:
            parts.append(f"Assistant: {turn.response}")
    return "\n\n".join(parts)


def _case(task: PRBenchTask, answer: str) -> Case:
    references = [
        Material(name=f"reference {number}", text=text, role="reference")
        for number, text in enumerate(task.references, start=1)
    ]
    return Case(
        instructions=INSTRUCTIONS,
        materials=(
            Material(name="question", text=task.conversation, role="question"),
            *references,
            Material(name="answer", text=answer, role="answer"),
        ),
    )


def _nothing(task: PRBenchTask) -> Score:
    """A reply of nothing but thoughts: nothing good is in it, and leaving out harm earns nothing either."""
    return Score(
        score=0.0,
        passed=False,
        scored_by="rule:empty",
        explanation="the reply holds nothing beside its thoughts",
        metrics=_numbers(task, points([one.weight for one in task.rubric], [False] * len(task.rubric))),
    )


def _numbers(task: PRBenchTask, sums: Points) -> dict[str, float | int | bool | str | None]:
    return {
        "points": sums.earned,
        "points_possible": sums.positive,
        "points_lowest": sums.negative,
        "clipped": sums.clipped,
        "minmax": sums.minmax,
        "criteria": len(task.rubric),
    }


def _details(task: PRBenchTask, met: Sequence[bool]) -> dict[str, JsonValue]:
    return {
        "topic": task.topic,
        "criteria": [
            {
                "id": criterion.id,
                "weight": criterion.weight,
                "class": criterion.weight_class,
                "category": criterion.category,
                "met": is_met,
            }
            for criterion, is_met in zip(task.rubric, met, strict=True)
        ],
    }


def _explain(rubric: Sequence[Criterion], met: Sequence[bool], reasons: Sequence[str]) -> str:
    return "\n".join(
        f"{'met' if is_met else 'not met'} ({criterion.weight:+g}): {criterion.title}{reason and f' [{reason}]'}"
        for criterion, is_met, reason in zip(rubric, met, reasons, strict=True)
    )
