"""bizfinbench: questions of financial users and analysts in English and Chinese, graded by rule, by a judge where none exists.

Finance specification 3. The data are downloaded by whoever runs them and never redistributed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, JsonValue, field_validator

from services.contract.assessment import nearest
from services.contract.conversation import AgentSession, Transcript
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
from services.green_agent.benchmarks.bizfinbench.kinds import (
    ALIASES,
    TASK_TYPES,
    Language,
    TaskType,
    closed_labels,
    key_for,
)
from services.green_agent.benchmarks.bizfinbench.rows import Row, Rows, read_file
from services.green_agent.data.store import DataError, Located
from services.green_agent.judge.asking import Case, Material
from services.green_agent.scoring.extract import Key, Kind, LabelKey, Mark, NumberKey, mark
from services.green_agent.scoring.numbers import without_thoughts
from services.green_agent.scoring.ruling import rule

NAME: Final = "bizfinbench"
ALL: Final = "all"
LONG_REPLY: Final = 20_000
"""Characters up to which a reply is read in microseconds."""
LISTED: Final = 50
"""Task ids of one sort that the report lists; the count is always whole."""
CLOSING: Final[Mapping[Language, str]] = {
    "en": "Close your reply with one line: FINAL ANSWER: <answer>",
    "cn": (
        "\u8bf7\u5728\u56de\u7b54\u7684\u6700\u540e\u5355\u72ec\u4e00\u884c\u5199\u51fa\uff1a"
        "\u6700\u7ec8\u7b54\u6848\uff1a<\u7b54\u6848>"
    ),
}
"""Chinese: on the last line of your reply write `final answer: <answer>`."""

Form = Literal["single", "turns", "rendered"]
"""One question; every user turn in one context; all earlier turns rendered into one message."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Labels:
    """How a rendered conversation names its parts."""

    system: str
    user: str
    assistant: str
    earlier: str
    now: str


_LABELS: Final[Mapping[Language, _Labels]] = {
    "en": _Labels(
        system="Instructions",
        user="User",
        assistant="Assistant",
        earlier="The conversation so far:",
        now="Answer the user's last message:",
    ),
    "cn": _Labels(
        system="\u8bf4\u660e",
        user="\u7528\u6237",
        assistant="\u52a9\u624b",
        earlier="\u6b64\u524d\u7684\u5bf9\u8bdd\uff1a",
        now="\u8bf7\u56de\u7b54\u7528\u6237\u7684\u6700\u540e\u4e00\u6761\u6d88\u606f\uff1a",
    ),
}


def _task_types(value: object) -> object:
    """A list of task types, `all` or an alias; unknown ones are refused with the nearest."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        return value
    return tuple(map(_task_type, names))


def _task_type(value: object) -> str:
    name = ALIASES.get(str(value), str(value))
    if name != ALL and name not in TASK_TYPES:
        raise ValueError(f"unknown task type {name!r}{nearest(name, [*TASK_TYPES, ALL])}")
    return name


def _language(value: object) -> object:
    return "cn" if value == "zh" else value


class BizFinBenchConfig(DatasetConfig):
    """The `bizfinbench` entry of a suite."""

    task_types: Annotated[tuple[str, ...], BeforeValidator(_task_types)] = Field(default=(ALL,), min_length=1)
    """Which task types are asked; `all`: every type the languages have."""
    languages: tuple[Annotated[Language, BeforeValidator(_language)], ...] = Field(default=("en",), min_length=1)
    """en, cn; `zh` is cn."""
    limit_per_task: int | None = Field(default=None, ge=1)
    """At most this many tasks of each task type and language."""
    answer_format: Literal["as_is", "final_answer"] = "as_is"
    """final_answer: every question asks to close with `FINAL ANSWER: <answer>`."""
    tolerance: dict[str, Annotated[float, Field(ge=0, lt=1)]] = Field(default_factory=dict)
    """Tolerance by task type, a share; only for types whose answers are numbers."""
    skip_bad_rows: bool = False
    """Leave out and count rows that cannot be read, instead of refusing the data set."""
    path: str | None = None
    """Folder with `en/` and `cn/` as published, instead of the data set's own source."""
    revision: str | None = None
    """Commit of the data set; the pinned one when null."""

    @field_validator("tolerance", mode="before")
    @classmethod
    def _known(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        numeric = [name for name, task_type in TASK_TYPES.items() if Kind.NUMBER in task_type.kinds]
        named = {ALIASES.get(str(name), str(name)): share for name, share in value.items()}
        if unknown := [name for name in named if name not in numeric]:
            raise ValueError(f"no task type with numbers is called {unknown[0]!r}{nearest(unknown[0], numeric)}")
        return named


@dataclass(frozen=True, kw_only=True, slots=True)
class BizFinBenchTask(Task):
    """One row."""

    turns: tuple[str, ...]
    """Messages to the agent, in order; the first is the prompt."""
    form: Form
    language: Language
    key: Key
    reference: str


@dataclass(kw_only=True, slots=True)
class _Report:
    """What was found while loading."""

    sources: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, JsonValue] = field(default_factory=dict)
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    asked: int = 0


class BizFinBench(Benchmark[BizFinBenchConfig, BizFinBenchTask]):
    """An explicit answer is right or wrong by rule; what no rule settles is judged, or unscored."""

    name: ClassVar[str] = NAME
    section: ClassVar[Section] = Section.KNOWLEDGE_RETRIEVAL
    config_model: ClassVar[type[DatasetConfig]] = BizFinBenchConfig
    scorer_version: ClassVar[str] = "bizfinbench-1"

    def __init__(self, config: BizFinBenchConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._report = _Report()

    def tasks(self) -> Sequence[BizFinBenchTask]:
        """The rows of every task type and language asked for. Raises DatasetError."""
        self._report = _Report()
        tasks: list[BizFinBenchTask] = []
        for task_type in self._types():
            for language in dict.fromkeys(self.config.languages):
                if language in task_type.languages:
                    tasks += self._of_file(task_type, language)
        self._report.asked = len(tasks)
        self._report.texts = [task.id for task in tasks if task.key.kind is Kind.TEXT]
        return tasks

    def judge_need(self) -> JudgeNeed:
        """Rows of kind text can only be judged."""
        if not self._report.texts:
            return "never"
        return "all" if len(self._report.texts) == self._report.asked else "some"

    def notes(self) -> Mapping[str, JsonValue]:
        """The dataset report: files, skipped rows, label sets, rows whose reference is not of the kind of its type."""
        report = self._report
        return {
            "sources": dict(report.sources),
            "skipped_rows": dict(report.skipped),
            "labels": {member: list(labels) for member, labels in report.labels.items()},
            "text_rows": len(report.texts),
            "text_row_ids": list(report.texts[:LISTED]),
        }

    async def converse(self, task: BizFinBenchTask, trial: int, agent: AgentSession) -> None:  # noqa: ARG002
        """Every user turn in one context; the last reply is the answer."""
        agent.note("conversation", task.form)
        for turn in task.turns:
            await agent.ask(turn)

    async def score(self, task: BizFinBenchTask, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:  # noqa: ARG002
        """The rule's verdict where it settles the answer, else the judge's."""
        reply = transcript.answer
        found = await _mark(reply, task.key)
        ruling = await rule(found, case=_case(task, reply), judge=tools.judge, benchmark=NAME)
        return Score(
            score=ruling.score,
            passed=ruling.score == 1.0,
            scored_by=ruling.scored_by,
            answer=found.value,
            explanation=ruling.reason,
            metrics={
                "kind": found.kind.value,
                "extraction": found.zone.value if found.value else "none",
                "rule_score": found.share,
                "injection_suspected": ruling.injection_suspected,
            },
            details={"extraction": {"zone": found.zone.value, "value": found.value, "unit": found.unit}},
        )

    def _types(self) -> list[TaskType]:
        """The task types asked for; one asked for by name must exist in some language asked for."""
        if ALL in self.config.task_types:
            return list(TASK_TYPES.values())
        types = [TASK_TYPES[name] for name in dict.fromkeys(self.config.task_types)]
        for task_type in types:
            if not set(task_type.languages) & set(self.config.languages):
                raise DatasetError(
                    f"bizfinbench: {task_type.name} exists in {', '.join(task_type.languages)} only, "
                    f"asked for was {', '.join(self.config.languages)}"
                )
        return types

    def _of_file(self, task_type: TaskType, language: Language) -> list[BizFinBenchTask]:
        member = task_type.member(language)
        located = self._locate(member)
        found = read_file(located.path, skip_bad_rows=self.config.skip_bad_rows)
        self._report.sources[member] = located.origin
        if found.skipped:
            self._report.skipped[member] = {"count": len(found.skipped), "rows": list(found.skipped[:LISTED])}
        labels = closed_labels(task_type, [row.reference for row in found.rows])
        if labels:
            self._report.labels[member] = labels
        return [self._task(task_type, language, row, labels) for row in self._heads(task_type, language, found)]

    def _locate(self, member: str) -> Located:
        try:
            if self.config.path is None:
                return self.setting.store.member(NAME, member, revision=self.config.revision)
            folder = self.setting.store.path(self.config.path)
        except DataError as error:
            raise DatasetError(f"bizfinbench: {error}") from error
        file = folder.path / member
        if not file.is_file():
            raise DatasetError(f"bizfinbench: {self.config.path} has no file {member}")
        return Located(path=file, origin=f"{folder.origin}/{member}")

    def _heads(self, task_type: TaskType, language: Language, found: Rows) -> Sequence[Row]:
        """The first rows, of the order by seed where the entry is shuffled, in source order."""
        if self.config.limit_per_task is None or len(found.rows) <= self.config.limit_per_task:
            return found.rows
        rows = list(found.rows)
        if self.config.shuffle:
            rows.sort(key=lambda row: rank(self.seed, "order", _task_id(task_type, language, row)))
        return sorted(rows[: self.config.limit_per_task], key=lambda row: row.number)

    def _task(self, task_type: TaskType, language: Language, row: Row, labels: Sequence[str]) -> BizFinBenchTask:
        tolerance = self.config.tolerance.get(task_type.name)
        key = key_for(task_type, row.reference, tolerance=tolerance, labels=labels)
        form, turns = _messages(row, language)
        if self.config.answer_format == "final_answer":
            turns = (*turns[:-1], f"{turns[-1]}\n\n{CLOSING[language]}")
        task_id = _task_id(task_type, language, row)
        return BizFinBenchTask(
            id=task_id,
            stratum=task_type.name,
            limit_group=f"{task_type.name} {language}",
            prompt=turns[0],
            digest=digest(task_id, turns, row.reference, key.kind, _terms(key)),
            messages=len(turns),
            expected=row.reference,
            turns=turns,
            form=form,
            language=language,
            key=key,
            reference=row.reference,
        )


def _task_id(task_type: TaskType, language: Language, row: Row) -> str:
    return f"bizfinbench_{task_type.name}_{language}_{row.number}"


def _terms(key: Key) -> list[JsonValue]:
    """What the comparison depends on beside the reference."""
    if isinstance(key, NumberKey):
        return [f"{key.tolerance:.9g}", key.centre.value]
    return list(key.labels) if isinstance(key, LabelKey) else []


def _messages(row: Row, language: Language) -> tuple[Form, tuple[str, ...]]:
    """What is sent. A row that scripts assistant turns cannot be replayed with another agent's, so it is rendered."""
    if any(said.role == "assistant" for said in row.said):
        return "rendered", (_rendered(row, _LABELS[language]),)
    system = [said.text for said in row.said if said.role == "system" and said.text]
    users = [said.text for said in row.said if said.role == "user"]
    turns = ("\n\n".join([*system, users[0]]), *users[1:])
    return ("single" if len(turns) == 1 else "turns"), turns


def _rendered(row: Row, labels: _Labels) -> str:
    names = {"system": labels.system, "user": labels.user, "assistant": labels.assistant}
    earlier = [f"{names[said.role]}: {said.text}" for said in row.said[:-1]]
    return "\n\n".join([labels.earlier, *earlier, labels.now, row.said[-1].text])


async def _mark(reply: str, key: Key) -> Mark:
    """Read a reply. A hostile one of megabytes takes a while; other conversations go on meanwhile."""
    if len(reply) <= LONG_REPLY:
        return mark(reply, key)
    return await asyncio.to_thread(mark, reply, key)


def _case(task: BizFinBenchTask, reply: str) -> Case:
    return Case(
        instructions=_instructions(task),
        materials=(
            Material(name="question", text="\n\n".join(task.turns), role="question"),
            Material(name="reference", text=task.reference, role="reference"),
            Material(name="answer", text=without_thoughts(reply), role="answer"),
        ),
    )


def _instructions(task: BizFinBenchTask) -> str:
    kind = task.key.kind.value.replace("_", " ")
    lines = [
        "Decide whether the answer gives the same result as the reference.",
        f"Task type: {task.stratum}. Kind of answer: {kind}.",
        "Only the answer's own final result counts: hedging between several results, or none, is wrong.",
    ]
    if isinstance(task.key, NumberKey):
        around = "the answer's number" if task.key.centre == "prediction" else "the reference"
        lines.append(f"Numbers agree when they differ by at most {100 * task.key.tolerance:.3g} % of {around}.")
    elif task.key.kind is Kind.TEXT:
        lines.append("Wording may differ; every fact the reference asks for must be there and none may contradict it.")
    else:
        lines.append("Nothing may be missing, added or, where an order is asked for, out of order.")
    return "\n".join(lines)
