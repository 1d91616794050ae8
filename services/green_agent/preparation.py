"""From a request to a plan that can be run: suite, data sets, selection, digests.

Loads data, so it runs in a worker thread, before anything is spent. Benchmarks that need a sandbox are left out aloud when
there is none, and are never run without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypedDict

from pydantic import JsonValue

from services.contract.assessment import (
    AssessmentConfig,
    Plan,
    PlannedBenchmark,
    PlannedTrial,
    RequestError,
    Shortfall,
    Strategy,
    nearest,
    plan_digest,
)
from services.contract.results import Section
from services.green_agent import planning
from services.green_agent.benchmarks.base import AnyBenchmark, DatasetConfig, DatasetError, Setting, Task, digest
from services.green_agent.benchmarks.registry import BENCHMARKS, benchmark_class
from services.green_agent.suite import Suite

MAX_TASKS: Final = 1_000_000
"""Asked counts above this are read as `all`."""
MAX_TRIALS: Final = 1_000_000
"""Trials of one plan over all shards; more would fill the memory before the first is run."""
KEPT_DATASETS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedPlan:
    """A plan with the tasks behind it."""

    plan: Plan
    benchmarks: Mapping[str, AnyBenchmark]
    tasks: Mapping[tuple[str, str], Task]
    """By (benchmark, task id)."""
    reply_timeout_s: float
    trial_timeout_s: float | None
    debate: bool

    def task(self, trial: PlannedTrial) -> Task:
        """The task a trial asks."""
        return self.tasks[trial.benchmark, trial.task_id]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    pools: list[planning.Pool]
    benchmarks: dict[str, AnyBenchmark]
    digests: dict[str, str]
    left_out: list[Shortfall]


def prepare(
    config: AssessmentConfig, suite: Suite, *, sandbox_fault: str | None, has_judge: bool = False
) -> PreparedPlan:
    """Plan an assessment. `sandbox_fault` is None with a sandbox, else why there is none.

    Raises RequestError for a selection that cannot be made and DatasetError for data that cannot be loaded.
    """
    values = _Values(config, suite)
    seed = values.integer("seed", config.seed, suite.sampling.seed)
    total = _total(values, config, suite)
    entries = _entries(config, suite, total)
    setting = Setting(seed=seed, has_judge=has_judge)
    loaded = _load(entries, setting, sandbox_fault=sandbox_fault)
    if not loaded.pools:
        raise RequestError([shortfall.reason for shortfall in loaded.left_out])
    strategy = config.sampling_strategy or suite.sampling.strategy
    values.record("sampling_strategy", strategy, from_request=config.sampling_strategy is not None)
    selection = _select(config, loaded.pools, strategy=strategy, total=total, seed=seed)
    shortfalls = (*loaded.left_out, *selection.shortfalls)
    if suite.sampling.strict_counts and shortfalls:
        raise RequestError([f"strict_counts: {s.stratum}: {s.reason}" for s in shortfalls])
    num_trials = values.integer("num_trials", config.num_trials, suite.num_trials)
    reply_timeout_s = values.number("timeout_seconds", config.timeout_seconds, suite.timeout_seconds)
    trial_timeout_s = config.trial_timeout_seconds or suite.trial_timeout_seconds
    values.record("trial_timeout_seconds", trial_timeout_s, from_request=config.trial_timeout_seconds is not None)
    debate = suite.debate if config.conduct_debate is None else config.conduct_debate
    values.record("conduct_debate", debate, from_request=config.conduct_debate is not None)
    plan = Plan(
        **_trials_and_digest(config, loaded, selection, seed=seed, num_trials=num_trials),
        seed=seed,
        strategy=strategy,
        suite=suite.name,
        num_trials=num_trials,
        num_tasks=len(selection.picks),
        section_weights=suite.section_weights or dict.fromkeys(Section, 1 / len(Section)),
        shortfalls=shortfalls,
        effective_config=values.recorded,
    )
    if config.plan_digest is not None and config.plan_digest != plan.digest:
        raise RequestError([f"plan_digest: the plan is now {plan.digest}, asked for was {config.plan_digest}"])
    if unknown := sorted(set(config.completed or ()) - {trial.key for trial in plan.trials}):
        raise RequestError([f"completed: {len(unknown)} keys are not in the plan, such as {unknown[0]!r}"])
    return PreparedPlan(
        plan=plan,
        benchmarks=loaded.benchmarks,
        tasks={(pick.benchmark, pick.task.id): pick.task for pick in selection.picks},
        reply_timeout_s=reply_timeout_s,
        trial_timeout_s=trial_timeout_s,
        debate=debate,
    )


class _Values:
    """Which value is in force and where it came from: request before suite."""

    def __init__(self, config: AssessmentConfig, suite: Suite) -> None:
        self.recorded: dict[str, JsonValue] = {"suite": {"value": suite.name, "source": f"suite {suite.version}"}}
        labels = {"model_id": config.model_id} | config.extra
        self.recorded |= {
            name: {"value": value, "source": "request"} for name, value in labels.items() if value is not None
        }

    def record(self, name: str, value: JsonValue, *, from_request: bool) -> None:
        self.recorded[name] = {"value": value, "source": "request" if from_request else "suite"}

    def integer(self, name: str, asked: int | None, default: int) -> int:
        value = default if asked is None else asked
        self.record(name, value, from_request=asked is not None)
        return value

    def number(self, name: str, asked: float | None, default: float) -> float:
        value = default if asked is None else asked
        self.record(name, value, from_request=asked is not None)
        return value


def _total(values: _Values, config: AssessmentConfig, suite: Suite) -> int | None:
    asked = config.num_instances or config.num_tasks
    total = suite.sampling.total_limit if asked is None else asked
    values.record("num_tasks", total, from_request=asked is not None)
    return None if total is None or total > MAX_TASKS else total


def _entries(config: AssessmentConfig, suite: Suite, total: int | None) -> list[DatasetConfig]:
    """The suite's entries that the request keeps, with its limits in place of theirs."""
    types = {entry.type for entry in suite.datasets}
    wanted = types if config.datasets is None else set(config.datasets)
    faults = [f"config.datasets: {_absent(name, types, suite)}" for name in sorted(wanted - types)]
    faults += [
        f"config.{name}_limit: {_absent(name, types, suite)}" for name in sorted(set(config.dataset_limits) - types)
    ]
    if faults:
        raise RequestError(faults)
    kept = [entry for entry in suite.datasets if entry.type in wanted and config.dataset_limits.get(entry.type) != 0]
    if not kept:
        raise RequestError(["the selection is empty: every data set of the suite is left out"])
    return [_with_count(entry, config.dataset_limits.get(entry.type), total) for entry in kept]


def _absent(name: str, types: set[str], suite: Suite) -> str:
    if name in BENCHMARKS:
        return f"suite {suite.name!r} has no data set {name!r}; it has {', '.join(sorted(types))}"
    return f"unknown data set {name!r}{nearest(name, types)}"


def _with_count(entry: DatasetConfig, limit: int | None, total: int | None) -> DatasetConfig:
    """A limit of the request replaces the entry's; a data set without end is asked for as many as could be needed."""
    if limit is not None:
        return entry.model_copy(update={"limit": limit})
    endless = benchmark_class(entry.type).endless
    if endless and entry.limit is None and total is not None:
        return entry.model_copy(update={"limit": total})
    return entry


def _load(entries: Sequence[DatasetConfig], setting: Setting, *, sandbox_fault: str | None) -> _Loaded:
    loaded = _Loaded(pools=[], benchmarks={}, digests={}, left_out=[])
    for entry in entries:
        kind = benchmark_class(entry.type)
        if kind.needs_sandbox and sandbox_fault is not None:
            reason = f"{entry.type} runs untrusted code and is left out: {sandbox_fault}"
            loaded.left_out.append(
                Shortfall(stratum=entry.type, requested=entry.limit or 0, available=0, reason=reason)
            )
            continue
        benchmark, tasks = _made(entry.type, entry.model_dump_json(), setting)
        loaded.benchmarks.setdefault(entry.type, benchmark)
        earlier = loaded.digests.get(entry.type, "")
        loaded.digests[entry.type] = digest(earlier, sorted([task.id, task.digest] for task in tasks))
        loaded.pools.append(
            planning.Pool(
                entry=entry.name,
                benchmark=entry.type,
                weight=entry.weight,
                tasks=tasks,
                shuffle=entry.shuffle,
                limit=entry.limit,
            )
        )
    return loaded


@lru_cache(maxsize=KEPT_DATASETS)
def _made(kind: str, config: str, setting: Setting) -> tuple[AnyBenchmark, tuple[Task, ...]]:
    """A benchmark and its tasks. Kept, since every run asks for its plan before it asks for its execution."""
    found = benchmark_class(kind)
    entry = found.config_model.model_validate_json(config)
    benchmark = found(entry, setting)
    tasks = tuple(benchmark.tasks())
    _check_tasks(entry.name, tasks)
    return benchmark, tasks


def _check_tasks(entry: str, tasks: Sequence[Task]) -> None:
    ids = [task.id for task in tasks]
    if not ids:
        raise DatasetError(f"data set {entry!r} gave no task")
    if len(set(ids)) != len(ids):
        twice = sorted({task_id for task_id in ids if ids.count(task_id) > 1})
        raise DatasetError(f"data set {entry!r} holds task ids twice: {', '.join(twice[:5])}")


def _select(
    config: AssessmentConfig,
    pools: Sequence[planning.Pool],
    *,
    strategy: Strategy,
    total: int | None,
    seed: int,
) -> planning.Selection:
    try:
        if config.task_ids is not None:
            return planning.named(pools, config.task_ids)
        return planning.select(pools, strategy=strategy, total=total, seed=seed)
    except planning.PlanningError as error:
        raise RequestError([str(error)]) from None


class _Trials(TypedDict):
    """The part of a plan that follows from the selection."""

    digest: str
    benchmarks: tuple[PlannedBenchmark, ...]
    trials: tuple[PlannedTrial, ...]
    shard_index: int
    num_shards: int


def _trials_and_digest(
    config: AssessmentConfig, loaded: _Loaded, selection: planning.Selection, *, seed: int, num_trials: int
) -> _Trials:
    counts = Counter(pick.benchmark for pick in selection.picks)
    benchmarks = tuple(
        PlannedBenchmark(
            name=name,
            section=benchmark.section,
            dataset_digest=loaded.digests[name],
            scorer=f"{name}@{benchmark.scorer_version}",
            sub_scores=benchmark.sub_score_names,
            tasks=counts[name],
        )
        for name, benchmark in sorted(loaded.benchmarks.items())
    )
    if (asked := len(selection.picks) * num_trials) > MAX_TRIALS:
        raise RequestError([f"num_trials: the plan would hold {asked} trials, at most {MAX_TRIALS} are possible"])
    whole = _trials(selection.picks, loaded.benchmarks, num_trials)
    index, count = config.shard_index or 0, config.num_shards or 1
    mine = planning.shard(selection.picks, index=index, count=count)
    return {
        "digest": plan_digest(seed=seed, trials=whole, benchmarks=benchmarks),
        "benchmarks": benchmarks,
        "trials": tuple(_trials(mine, loaded.benchmarks, num_trials)),
        "shard_index": index,
        "num_shards": count,
    }


def _trials(
    picks: Sequence[planning.Pick], benchmarks: Mapping[str, AnyBenchmark], num_trials: int
) -> list[PlannedTrial]:
    return [
        PlannedTrial(
            benchmark=pick.benchmark,
            section=benchmarks[pick.benchmark].section,
            stratum=pick.task.stratum,
            task_id=pick.task.id,
            task_digest=pick.task.digest,
            trial=trial,
        )
        for pick in picks
        for trial in range(num_trials)
    ]
