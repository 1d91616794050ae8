"""The shape of a benchmark: data set + conversation + scorer.

A new benchmark is one module or package here and one line in `registry.py`. It imports `base`, `scoring`, `judge`, `sandbox`
and `data`, never the assessment, the executor, the server or another benchmark.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Generic, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.contract.conversation import AgentSession, Transcript
from services.contract.execution import Job, JobResult, SandboxInfo
from services.contract.results import Section, SubScore
from services.green_agent.data.store import Store
from services.green_agent.judge.asking import Judge


class DatasetError(Exception):
    """A data set is missing, broken or empty. The text names the data set and the remedy."""


MOST_WEIGHT: Final = 1e9
"""Of an entry or a section: sums of weights stay finite."""


class DatasetConfig(BaseModel):
    """Keys every entry of `datasets:` in a suite may have. Benchmarks subclass it with their own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: str
    """Name of the benchmark."""
    name: str = ""
    """Label of the entry; the type when empty."""
    weight: float = Field(default=1.0, ge=0, le=MOST_WEIGHT)
    """Share in `weighted` sampling; acts nowhere else."""
    shuffle: bool = False
    """Order the pool by seed instead of source order."""
    limit: int | None = Field(default=None, ge=1)
    """At most this many tasks enter the pool."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One item. Benchmarks subclass it with what their scorer needs; nothing of that is sent to the agent."""

    id: str
    stratum: str
    """Task type, the unit of stratified sampling."""
    prompt: str
    """First message to the agent."""
    digest: str
    """sha256 of everything that defines the task: what is asked and how it is judged."""
    messages: int = 1
    """Planned messages to the agent, for the deadline of the trial."""
    expected: str = ""
    """The key in words, for the row; never sent to the agent."""
    limit_group: str = ""
    """What a limit counts that `tasks` applies itself, for example task type and language; planning says where it was not
    reached. Empty: limits count over the entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What a scorer decided."""

    score: float
    """0..1."""
    passed: bool
    scored_by: str
    """Rule, sandbox method or judge that decided."""
    answer: str = ""
    """What was extracted and scored."""
    explanation: str = ""
    metrics: dict[str, float | int | bool | str | None] = field(default_factory=dict)
    sub_scores: dict[str, SubScore] = field(default_factory=dict)
    details: dict[str, JsonValue] = field(default_factory=dict)
    """Named facts that are no single number."""


class Sandbox(Protocol):
    """Runs untrusted programs, see `services.green_agent.sandbox`."""

    @property
    def info(self) -> SandboxInfo:
        """Backend and the proof that it isolates."""
        ...

    async def run(self, job: Job) -> JobResult:
        """Run one job. Raises SandboxError when the sandbox itself is broken."""
        ...

    async def aclose(self) -> None:
        """Stop the workers; nothing is left running."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringTools:
    """What a scorer may use. A benchmark that needs a tool says so and is never run without it."""

    sandbox: Sandbox | None = None
    judge: Judge | None = None


JudgeNeed = Literal["never", "some", "all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What a benchmark is built in, beside its suite entry."""

    seed: int
    """Run seed."""
    has_judge: bool = False
    """True when a judge will be there for scoring."""
    store: Store = field(default_factory=Store)
    """Where data sets are found."""


C = TypeVar("C", bound=DatasetConfig)
T = TypeVar("T", bound=Task)


class Benchmark(ABC, Generic[C, T]):
    """One benchmark, built from its suite entry and its setting.

    Contract: `tasks` is called once, in a worker thread, and returns at least one task or raises DatasetError; ids are unique.
    `converse` and `score` run concurrently for many trials and keep no state between them. `score` reads only the task, the
    transcript and the tools, so that a stored transcript can be scored again without the agent. Both raise `Failure` (or
    SandboxError) when a trial cannot be scored; anything else is a defect and ends the trial as `infra_error/internal`.
    """

    name: ClassVar[str]
    section: ClassVar[Section]
    config_model: ClassVar[type[DatasetConfig]] = DatasetConfig
    scorer_version: ClassVar[str]
    """Raised with every change that can move a number."""
    sub_score_names: ClassVar[tuple[str, ...]] = ()
    needs_sandbox: ClassVar[bool] = False
    endless: ClassVar[bool] = False
    """True for a generator: without a limit of its own it is asked for as many tasks as the plan could take."""
    limits_itself: ClassVar[bool] = False
    """True when `tasks` applies `limit` itself, after the shuffle, so that planning does not cut the pool again."""

    def __init__(self, config: C, setting: Setting) -> None:
        self.config = config
        self.setting = setting
        self.seed = setting.seed

    @abstractmethod
    def tasks(self) -> Sequence[T]:
        """All tasks of this entry in canonical order, validated. Raises DatasetError, never returns nothing."""

    def judge_need(self) -> JudgeNeed:
        """How many of the tasks can only be scored by a judge. Asked after `tasks`."""
        return "never"

    def notes(self) -> Mapping[str, JsonValue]:
        """What was found while loading and belongs into the record: sources, skipped rows, audit. Asked after `tasks`."""
        return {}

    def possible(self, task: T) -> Mapping[str, float]:  # noqa: ARG002 - for overrides
        """Points by sub-score that a task is worth; a trial that fails by the agent's fault earned none of them."""
        return {}

    @property
    def scores_intermediates(self) -> bool:
        """True when the solutions on the way to an answer are scored too, each as if it had been the answer."""
        return False

    async def converse(self, task: T, trial: int, agent: AgentSession) -> None:  # noqa: ARG002 - for overrides
        """Talk to the agent; the session keeps the transcript. Default: one question, one answer."""
        await agent.ask(task.prompt)

    @abstractmethod
    async def score(self, task: T, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:
        """Score what was said."""


AnyBenchmark = Benchmark[Any, Any]
"""A benchmark whose config and task types are known to itself alone."""


def digest(*parts: object) -> str:
    """`sha256:` digest of JSON-able parts, independent of key order."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
