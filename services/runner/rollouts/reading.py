"""Rollout files as transcripts, to be scored again: our own, and those that older scripts wrote in this layout.

Only what was said is read, and what it cost where the file knows; verdicts are made anew. Older files lack trial numbers, token
counts and outcomes: a problem that comes several times counts as several trials, the rest stays unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from services.contract.conversation import (
    MOST_ITERATIONS,
    Iteration,
    ModelFacts,
    Opinion,
    Reply,
    Trace,
    Transcript,
    Turn,
    Usage,
)
from services.contract.outcomes import Outcome
from services.contract.results import Latency
from services.runner.failures import ScenarioError
from services.runner.rollouts.export import BASELINE, SINGLE

FOLDER_SUFFIX: Final = "_rollouts"
_OPINION: Final = TypeAdapter(Opinion | None)
MOST_TRIALS: Final = 10_000
"""Of one problem: the plan that scores a file has as many trials of every problem as its largest number says."""


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _as_solution(value: object) -> object:
    """Older files hold the bare text of the final solution."""
    return {"content": value} if isinstance(value, str) else value


def _if_readable(value: object, read: ValidatorFunctionWrapHandler) -> object:
    """Counts and times in another form are not known."""
    try:
        return read(value)
    except ValidationError:
        return None


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, said: object) -> object:
        return {name: value for name, value in said.items() if value is not None} if isinstance(said, dict) else said


class _Metadata(_Said):
    carried: bool = False
    skipped: str = ""
    verdict: str | None = None
    usage: Annotated[dict[str, Usage] | None, WrapValidator(_if_readable)] = None


class _Step(_Said):
    iteration: int | None = None
    solution_content: str | None = None
    metadata: _Metadata = _Metadata()


class _Final(_Said):
    content: str | None = None
    solution_content: str | None = None


class _Error(_Said):
    kind: str
    message: str = ""


class _Timing(_Said):
    total_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    model_s: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class _Result(_Said):
    problem_id: Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]
    trial: int | None = Field(default=None, ge=0, lt=MOST_TRIALS)
    problem: str | None = None
    outcome: Outcome | None = None
    error: _Error | None = None
    timing: Annotated[_Timing | None, WrapValidator(_if_readable)] = None
    final_solution: Annotated[_Final | None, BeforeValidator(_as_solution)] = None
    all_solutions: tuple[_Step, ...] = ()


class _File(_Said):
    benchmark: str | None = None
    strategy: str | None = None
    run_id: str | None = None
    config: dict[str, JsonValue] = Field(default_factory=dict)
    digests: dict[str, str] = Field(default_factory=dict)
    models: tuple[ModelFacts, ...] = ()
    results: tuple[_Result, ...]

    @property
    def model(self) -> ModelFacts | None:
        """The one that answered."""
        return self.models[0] if len(self.models) == 1 else None


@dataclass(frozen=True, kw_only=True, slots=True)
class OldTrial:
    """What a file knows of one trial."""

    problem_id: str
    trial: int
    transcript: Transcript | None
    """None: the file holds no solution."""
    outcome: Outcome | None
    """None: the file does not say."""
    fault: str = ""
    """Why it was not scored, `kind: message`, where the file says."""
    usage: Usage
    """What is not known of it is None."""
    latency: Latency
    """Without the scoring, which is done anew; 0 where the file does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollouts:
    """A file, read."""

    path: Path
    benchmark: str
    strategy: str
    run_id: str | None
    config: Mapping[str, JsonValue]
    dataset_digest: str
    """Empty: the file does not say."""
    model: ModelFacts | None
    """None: the file does not say which one model answered."""
    trials: tuple[OldTrial, ...]

    @property
    def problem_ids(self) -> tuple[str, ...]:
        """Each once, in the order of the file."""
        return tuple(dict.fromkeys(trial.problem_id for trial in self.trials))

    @property
    def num_trials(self) -> int:
        """Most trials of a problem."""
        return max(trial.trial for trial in self.trials) + 1


def read_rollouts(path: Path) -> Rollouts:
    """Read a rollout file. Raises ScenarioError naming what is wrong with it."""
    try:
        told = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()[:5]]
        raise ScenarioError(f"{path} is no rollout file: {'; '.join(faults)}") from None
    if not told.results:
        raise ScenarioError(f"{path} holds no result")
    strategy = told.strategy or _text(told.config.get("strategy")) or _guessed_strategy(path)
    return Rollouts(
        path=path,
        benchmark=told.benchmark or _text(told.config.get("benchmark")) or _guessed_benchmark(path),
        strategy=strategy,
        run_id=told.run_id,
        config=told.config,
        dataset_digest=told.digests.get("dataset", ""),
        model=told.model,
        trials=_trials(path, told, strategy),
    )


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def _guessed_benchmark(path: Path) -> str:
    """Older files say it by their folder only."""
    name = path.resolve().parent.name
    if not name.endswith(FOLDER_SUFFIX):
        raise ScenarioError(f"{path} does not say its benchmark: put it into a folder <benchmark>{FOLDER_SUFFIX}")
    return name.removesuffix(FOLDER_SUFFIX)


def _guessed_strategy(path: Path) -> str:
    return BASELINE if path.name.startswith(tuple(SINGLE)) else ""


def _trials(path: Path, told: _File, strategy: str) -> tuple[OldTrial, ...]:
    found: list[OldTrial] = []
    held: Counter[str] = Counter()
    for result in told.results:
        for said in _samples(result, strategy):
            number = held[result.problem_id] if said.trial is None else said.trial
            held[result.problem_id] += 1
            found.append(_trial(said, number, strategy, told.model))
    twice = [key for key, count in Counter((one.problem_id, one.trial) for one in found).items() if count > 1]
    if twice:
        raise ScenarioError(f"{path}: problem {twice[0][0]!r} has two results for trial {twice[0][1]}")
    return tuple(found)


def _samples(result: _Result, strategy: str) -> list[_Result]:
    """Older scripts put all samples of a problem into one result; each is a trial of its own."""
    if strategy not in SINGLE or len(result.all_solutions) < 2 or result.trial is not None:
        return [result]
    return [
        result.model_copy(update={"final_solution": None, "all_solutions": (step,)}) for step in result.all_solutions
    ]


def _trial(result: _Result, number: int, strategy: str, model: ModelFacts | None) -> OldTrial:
    steps, final = _in_order(result.all_solutions), result.final_solution
    answer = (final.content or final.solution_content) if final is not None else None
    answer = answer or next((step.solution_content for step in reversed(steps) if step.solution_content), None)
    trace = None if strategy in SINGLE or not steps else _trace(steps, strategy)
    transcript = None
    if answer is not None and answer.strip():
        turn = Turn(question=result.problem or "", reply=Reply(text=answer, trace=trace, model=model))
        transcript = Transcript(turns=(turn,))
    return OldTrial(
        problem_id=result.problem_id,
        trial=number,
        transcript=transcript,
        outcome=result.outcome,
        fault="" if result.error is None else f"{result.error.kind}: {result.error.message}",
        usage=_usage(result),
        latency=Latency(total_s=result.timing.total_s, agent_s=result.timing.model_s) if result.timing else Latency(),
    )


def _in_order(steps: Sequence[_Step]) -> list[_Step]:
    """By their numbers, where each has one."""
    numbers = [step.iteration for step in steps if step.iteration is not None]
    if len(numbers) < len(steps):
        return [*steps]
    return [step for _, step in sorted(zip(numbers, steps, strict=True), key=lambda pair: pair[0])]


def _trace(steps: Sequence[_Step], strategy: str) -> Trace:
    return Trace(strategy=strategy[:100], iterations=tuple(map(_iteration, range(len(steps)), steps))[:MOST_ITERATIONS])


def _iteration(number: int, step: _Step) -> Iteration:
    told = step.metadata
    carried = told.carried and number > 0
    usage = {
        role: used for role, used in (told.usage or {}).items() if role in {"generate", "verify", "decide", "refine"}
    }
    try:
        verdict = _OPINION.validate_python(told.verdict)
    except ValidationError:
        verdict = None
    return Iteration.model_validate(
        {
            "solution": None if carried else step.solution_content or "",
            "verdict": verdict,
            "skipped": told.skipped[:100],
            "usage": usage,
        }
    )


def _usage(result: _Result) -> Usage:
    """By role where the steps tell it; a bare total cannot be split into input and output and stays out."""
    used = [usage for step in result.all_solutions for usage in (step.metadata.usage or {}).values()]
    return sum(used, Usage())
