"""The row every trial ends in, and the result of a whole assessment.

Field names that AgentBusters leaderboards query are kept; types never change between rows. `schema_version` is raised when a
field is renamed, removed or re-defined; readers keep unknown fields.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from services.contract.conversation import ModelCalls, ModelFacts, Transcript, Usage
from services.contract.judgements import Judgement
from services.contract.outcomes import POLICY, Outcome

SCHEMA_VERSION: Final = "2.2"
STREAMED_ONLY: Final = "results_streamed_only"
"""Fact of an artifact, true: its rows are not in it, since each was streamed whole before."""


class Section(StrEnum):
    """A group of benchmarks that is weighted together."""

    KNOWLEDGE_RETRIEVAL = "knowledge_retrieval"
    ANALYTICAL_REASONING = "analytical_reasoning"
    OPTIONS_TRADING = "options_trading"
    CRYPTO_TRADING = "crypto_trading"
    PROFESSIONAL_TASKS = "professional_tasks"
    CODE = "code"
    MATH = "math"
    DIALOGUE = "dialogue"


AGENTBUSTERS_SECTIONS: Final = (
    Section.KNOWLEDGE_RETRIEVAL,
    Section.ANALYTICAL_REASONING,
    Section.OPTIONS_TRADING,
    Section.CRYPTO_TRADING,
    Section.PROFESSIONAL_TASKS,
)
"""Keys of `section_scores` that are always present, null when not in the plan: a missing key breaks old queries."""


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)


class SubScore(_Row):
    """A share: `earned` of `possible` points."""

    earned: float
    possible: float


class ErrorInfo(_Row):
    """Why a trial was not scored, or why it counts 0."""

    kind: str
    message: str
    self_reported: bool = False
    """True when only the agent itself claims this infrastructure fault."""


class Latency(_Row):
    """Wall seconds of the attempt that counts."""

    total_s: float = 0.0
    agent_s: float = 0.0
    judge_s: float = 0.0
    """Scoring: the judge or the sandbox."""


class Attempt(_Row):
    """An earlier attempt at the same trial that failed and was retried. Kept as evidence, never overwritten."""

    outcome: Outcome
    error: ErrorInfo
    total_s: float
    transcript: Transcript | None = None


class Digests(_Row):
    """What exactly was asked and how it was judged, as `sha256:...` or a version."""

    dataset: str = ""
    scorer: str = ""
    prompt: str = ""


class TaskResult(_Row):
    """One trial of one task, however it ended."""

    task_id: str
    benchmark: str
    section: Section
    stratum: str = ""
    """Task type inside the benchmark, the unit of stratified sampling."""
    trial: int = Field(ge=0)
    """0-based attempt number at the same task."""
    outcome: Outcome
    score: float | None = Field(default=None, ge=0.0, le=1.0)
    """0..1; 0 for `agent_error`; None exactly when the outcome does not count."""
    passed: bool = False
    metrics: dict[str, float | int | bool | str | None] = Field(default_factory=dict)
    """The benchmark's native numbers."""
    sub_scores: dict[str, SubScore] = Field(default_factory=dict)
    """Shares by dimension; a section's sub-score is 100 x the sum earned / the sum possible."""
    details: dict[str, JsonValue] = Field(default_factory=dict)
    """Named facts of the benchmark that are no single number. Printed rows carry them at top level too."""
    question: str = ""
    """The first message to the agent."""
    expected: str = ""
    """The key in words, where there is one."""
    answer: str = ""
    """What was extracted from the reply and scored."""
    explanation: str = ""
    scored_by: str = ""
    """Which rule, sandbox method or judge decided."""
    transcript_id: str = ""
    usage: Usage = Usage()
    model: ModelFacts | None = None
    """Which model answered last, as the agent reports it."""
    model_calls: ModelCalls | None = None
    """Which servers answered and what failed on the way, over all attempts, as the agent reports it."""
    latency: Latency = Latency()
    attempts: tuple[Attempt, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    """Every call of a judge for this trial."""
    error: ErrorInfo | None = None
    digests: Digests = Digests()
    transcript: Transcript | None = None
    """Only in streamed rows and only when the request asks for it; never in the final artifact."""

    @property
    def key(self) -> str:
        """Identity of the trial inside a plan: `benchmark|task_id|trial`."""
        return trial_key(self.benchmark, self.task_id, self.trial)

    @model_validator(mode="after")
    def _score_matches_outcome(self) -> TaskResult:
        if POLICY[self.outcome].counts is (self.score is None):
            raise ValueError(f"{self.key}: outcome {self.outcome!s} with score {self.score!r}")
        if self.outcome is Outcome.AGENT_ERROR and (self.score or self.passed):
            raise ValueError(f"{self.key}: an agent_error counts 0, got {self.score!r}")
        return self


def trial_key(benchmark: str, task_id: str, trial: int) -> str:
    """Identity of a trial inside a plan."""
    return f"{benchmark}|{task_id}|{trial}"


class OverallScore(_Row):
    """Weighted mean of the sections that have a score, 0..100, with the bounds unscored trials leave open."""

    score: float | None
    max_score: float = 100.0
    lower: float
    upper: float
    coverage: float
    grade: str | None
    interval_low: float | None = None
    interval_high: float | None = None
    """95 % interval, combined from the sections' intervals; None while the spread of one of them is unknown."""


class SectionScore(_Row):
    """One section, 0..100. Sums and counts stand beside rates so that shards can be added up."""

    section: Section
    score: float | None
    weight: float
    weighted_contribution: float
    datasets: list[str]
    task_count: int
    accuracy: float | None
    """Passed / counted."""
    score_sum: float
    """Sum over counted trials of the score, 0..1 each."""
    counted: int
    planned: int
    coverage: float
    lower: float
    upper: float
    interval_low: float | None = None
    interval_high: float | None = None
    """95 % interval of the score; None when nothing was counted."""
    sub_scores: dict[str, float | None] = Field(default_factory=dict)


class Measure(_Row):
    """A mean over tasks, 0..1; None when no task has what it takes."""

    value: float | None
    n: int
    """Tasks in the mean."""
    left_out: int = 0
    """Tasks with too few scored trials, or without the fact."""
    lower: float | None = None
    upper: float | None = None
    """95 % interval; None where the spread is unknown."""


class MeasuresOfIteration(_Row):
    """How right the solutions were as of one iteration of the agent's chains."""

    iteration: int
    n: int
    """Trials whose solution is known to be right or wrong; an agent error is wrong throughout."""
    accuracy: float | None
    """0..1, mean over tasks."""
    lower: float | None = None
    upper: float | None = None
    refined: int = 0
    undecided: int = 0
    to_right: int = 0
    """Trials that were wrong one iteration before and are right now."""
    to_wrong: int = 0


class Measures(_Row):
    """What repeated trials and trajectories of one benchmark say. Source: code-and-math specification 6."""

    pass_at: dict[int, Measure] = Field(default_factory=dict)
    """pass@k, unbiased, by k."""
    pass_hat: dict[int, Measure] = Field(default_factory=dict)
    """pass^k: all of k fresh trials succeed, by k."""
    average_pass_rate: Measure | None = None
    """Share of a trial's checks that hold."""
    exact_match: Measure | None = None
    """Same program, or same text of the answer, as the reference."""
    oracle_best_of_trajectory: Measure | None = None
    """Trials in which some solution on the way was right. Takes the answer key to know, so it is never a score."""
    accuracy_by_iteration: list[MeasuresOfIteration] = Field(default_factory=list)


class DatasetScore(_Row):
    """One benchmark inside its section, 0..100."""

    section: Section
    score: float | None
    accuracy: float | None
    counted: int
    planned: int
    lower: float
    upper: float
    interval_low: float | None = None
    interval_high: float | None = None
    measures: Measures | None = None
    """Where trials were repeated, or the benchmark measures more than its score."""
    by_stratum: dict[str, Measure] = Field(default_factory=dict)
    """Mean score of each task type, 0..1; empty when there is only one."""
    scored_by: dict[str, int] = Field(default_factory=dict)
    """Scored trials by what decided: rule, sandbox method or judge."""


class AssessmentResult(_Row):
    """The artifact `evaluation_result`. Shape: interop specification 6, finance specification 10."""

    schema_version: str = SCHEMA_VERSION
    benchmark: str = "Assay"
    version: str
    overall_score: OverallScore
    section_scores: dict[str, SectionScore | None]
    sections: list[SectionScore]
    dataset_scores: dict[str, DatasetScore]
    evaluation_metadata: dict[str, JsonValue]
    config_summary: dict[str, JsonValue]
    shortfalls: list[dict[str, JsonValue]]
    results: list[TaskResult]
