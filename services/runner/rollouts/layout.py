"""The shape of a rollout file as we write it. Code-and-math specification 11; every rate is 0..1, every time in seconds."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.contract.conversation import ModelFacts, Usage
from services.contract.results import Measure, MeasuresOfIteration

SCHEMA_VERSION: Final = "1.0"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, serialize_by_alias=True, use_attribute_docstrings=True, extra="forbid")


class StepMetadata(_Part):
    """How a solution came to be."""

    was_refined: bool = False
    carried: bool = False
    """The solution is the one before."""
    skipped: str = ""
    verdict: str | None = None
    """What the agent's own verification came to: yes, no or undecided."""
    usage: dict[str, Usage] = Field(default_factory=dict)
    """By role; a count that is not known is null."""


class Step(_Part):
    """A solution as of one iteration."""

    iteration: int
    solution_content: str
    is_correct: bool | None = None
    """None: it could not be scored, or green does not score this strategy's intermediates."""
    score: float | None = None
    feedback: str = ""
    metadata: StepMetadata = StepMetadata()


class FinalSolution(_Part):
    """What counts."""

    content: str
    """The whole answer, enough to score it again."""
    code: str | None = None
    """The program that was taken from it."""
    answer: str | None = None
    """The answer that was taken from it."""
    is_correct: bool | None
    """None: the trial was not scored."""
    score: float | None
    feedback: str = ""
    scored_by: str = ""


class TrialTiming(_Part):
    """Wall seconds of the attempt that counts."""

    total_s: float
    model_s: float
    """Waiting for the agent."""
    scoring_s: float


class TrialError(_Part):
    """Why a trial was not scored, or why it counts 0."""

    kind: str
    message: str


class TrialRollout(_Part):
    """One trial of one problem."""

    problem_id: str
    trial: int
    problem: str | None
    """The question as it was put; null where the data set's licence does not let it be passed on."""
    ground_truth: str | None
    """Likewise."""
    difficulty: str
    outcome: str
    timing: TrialTiming
    total_tokens: int | None
    """Input and output; null when neither is known."""
    metrics: dict[str, float | int | bool | str | None] = Field(default_factory=dict)
    error: TrialError | None = None
    final_solution: FinalSolution
    all_solutions: list[Step] = Field(default_factory=list)


class Bounds(_Part):
    """Where pass@1 ends up if every unscored trial fails, or succeeds."""

    lower: float
    upper: float


class Metrics(_Part):
    """What the trials say together; each value with the number of tasks behind it and its interval."""

    pass_at_1: Measure = Field(serialization_alias="pass@1")
    pass_at: dict[int, Measure] = Field(serialization_alias="pass@k")
    """Unbiased, by k."""
    pass_hat: dict[int, Measure] = Field(serialization_alias="pass^k")
    """All of k fresh trials succeed, by k."""
    score: Measure
    """Mean score; equal to pass@1 where a trial scores 0 or 1."""
    average_pass_rate: Measure | None = None
    exact_match: Measure | None = None
    oracle_best_of_trajectory: Measure | None = None
    """Trials with a right solution somewhere on the way. It takes the answer key to know, so it is no pass@k."""
    accuracy_by_iteration: list[MeasuresOfIteration] = Field(default_factory=list)
    by_difficulty: dict[str, Measure] = Field(default_factory=dict)
    """pass@1."""
    bounds: Bounds


class Tokens(_Part):
    """What the model consumed; null is unknown, which is not zero."""

    input: int | None
    output: int | None
    by_role: dict[str, Usage] = Field(default_factory=dict)
    by_iteration: list[Usage] = Field(default_factory=list)


class Timing(_Part):
    """Sums over trials, which run side by side: `total_s` is not the length of the run."""

    total_s: float
    model_s: float
    scoring_s: float


class RolloutFile(_Part):
    """One run of one benchmark by one strategy."""

    schema_version: str = SCHEMA_VERSION
    config: dict[str, JsonValue]
    """The request, with `x_evaluate`: model, sampling and strategy as they were set."""
    benchmark: str
    strategy: str
    run_id: str
    plan_digest: str
    digests: dict[str, str]
    models: list[ModelFacts]
    """Which models answered, as the agent reports it; the reference engine says in its fingerprint that it is none."""
    start_time: str
    end_time: str | None
    """None: the run has not ended."""
    complete: bool
    coverage: float
    metrics: Metrics
    tokens: Tokens
    timing: Timing
    results: list[TrialRollout]
