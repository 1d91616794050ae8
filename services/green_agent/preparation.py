"""From a settled request to a plan that can be run: data sets, selection, digests.

Loads data, so it runs in a worker thread, before anything is spent. What is missing (a sandbox, a judge, a data set) is an error
or is said aloud; nothing is switched off silently.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final, TypedDict

import structlog
from pydantic import JsonValue, SecretStr

from services.contract.assessment import (
    Plan,
    PlannedBenchmark,
    PlannedTrial,
    RequestError,
    Shortfall,
    plan_digest,
)
from services.contract.results import Section
from services.green_agent import planning
from services.green_agent.benchmarks.base import AnyBenchmark, DatasetConfig, DatasetError, Setting, Task, digest
from services.green_agent.benchmarks.registry import benchmark_class
from services.green_agent.data.store import DataError, Store
from services.green_agent.precedence import Settled, shown

log = structlog.get_logger()

MAX_TRIALS: Final = 1_000_000
"""Trials of one plan over all shards; more would fill the memory before the first is run."""
KEPT_DATASETS: Final = 16
NAMED_STRATA: Final = ("task_types", "splits", "categories", "sectors")
"""Keys of entries whose values are strata; one that is named and empty is an error."""


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
    owners: Mapping[tuple[str, str], AnyBenchmark] = field(default_factory=dict)
    """Of tasks whose entry is not the first of its type, by (benchmark, task id): entries may differ in their keys."""

    def task(self, trial: PlannedTrial) -> Task:
        """The task a trial asks."""
        return self.tasks[trial.benchmark, trial.task_id]

    def benchmark(self, trial: PlannedTrial) -> AnyBenchmark:
        """What holds the conversation of a trial and scores it."""
        return self.owners.get((trial.benchmark, trial.task_id)) or self.benchmarks[trial.benchmark]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A data set that was loaded."""

    pool: planning.Pool
    benchmark: AnyBenchmark


@dataclass(frozen=True, kw_only=True, slots=True)
class _Loaded:
    entries: list[_Entry] = field(default_factory=list)
    left_out: list[Shortfall] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    """By type, why entries could not be loaded."""

    @property
    def pools(self) -> list[planning.Pool]:
        return [entry.pool for entry in self.entries]


def prepare(
    settled: Settled,
    *,
    sandbox_fault: str | None = None,
    judge_fault: str | None = None,
    has_judge: bool = False,
) -> PreparedPlan:
    """Plan an assessment. The faults say why there is no sandbox or judge although one was asked for.

    Raises RequestError for a selection that cannot be made and DatasetError for data that cannot be loaded.
    """
    if settled.wants_judge and not has_judge:
        raise RequestError([f"llm_eval: the judge is enabled and cannot be used: {judge_fault or 'there is none'}"])
    suite = settled.suite
    store = Store(folders=tuple(dict.fromkeys([Path.cwd(), *([suite.folder] if suite.folder else [])])))
    setting = Setting(seed=suite.sampling.seed, has_judge=has_judge, store=store)
    loaded = _load(settled, setting, sandbox_fault=sandbox_fault)
    if not loaded.entries:
        raise RequestError([shortfall.reason for shortfall in loaded.left_out])
    _check_judge(settled, loaded, has_judge=has_judge)
    selection = _select(settled, loaded.pools)
    _check_weights(settled, selection)
    shortfalls = (*loaded.left_out, *selection.shortfalls)
    if suite.sampling.strict_counts and shortfalls:
        raise RequestError([f"strict_counts: {shortfall.reason}" for shortfall in shortfalls])
    plan = Plan(
        **_trials_and_digest(settled, loaded, selection),
        seed=suite.sampling.seed,
        strategy=suite.sampling.strategy,
        suite=suite.name,
        num_trials=suite.num_trials,
        num_tasks=len(selection.picks),
        section_weights=suite.section_weights or dict.fromkeys(Section, 1 / len(Section)),
        section_mean=suite.section_mean,
        k=tuple(sorted(set(settled.config.k or ()))),
        shortfalls=shortfalls,
        effective_config=dict(settled.recorded),
    )
    _check_expectations(settled, plan)
    return _prepared(settled, plan, loaded, selection)


def _prepared(settled: Settled, plan: Plan, loaded: _Loaded, selection: planning.Selection) -> PreparedPlan:
    picked = {(pick.benchmark, pick.task.id): pick.task for pick in selection.picks}
    first = _first_of_each_type(loaded)
    owners = {
        (entry.pool.benchmark, task.id): entry.benchmark
        for entry in loaded.entries
        if entry.benchmark is not first[entry.pool.benchmark]
        for task in entry.pool.tasks
        if picked.get((entry.pool.benchmark, task.id)) is task
    }
    return PreparedPlan(
        plan=plan,
        benchmarks=first,
        tasks=picked,
        reply_timeout_s=settled.suite.timeout_seconds,
        trial_timeout_s=settled.suite.trial_timeout_seconds,
        debate=settled.suite.debate,
        owners=owners,
    )


def _first_of_each_type(loaded: _Loaded) -> dict[str, AnyBenchmark]:
    found: dict[str, AnyBenchmark] = {}
    for entry in loaded.entries:
        found.setdefault(entry.pool.benchmark, entry.benchmark)
    return found


def _check_expectations(settled: Settled, plan: Plan) -> None:
    config = settled.config
    if config.plan_digest is not None and config.plan_digest != plan.digest:
        raise RequestError([f"plan_digest: the plan is now {plan.digest}, asked for was {config.plan_digest}"])
    if unknown := sorted(set(config.completed or ()) - {trial.key for trial in plan.trials}):
        raise RequestError([f"completed: {len(unknown)} keys are not in the plan, such as {unknown[0]!r}"])


def _load(settled: Settled, setting: Setting, *, sandbox_fault: str | None) -> _Loaded:
    loaded = _Loaded()
    for entry in settled.entries:
        if benchmark_class(entry.type).needs_sandbox and sandbox_fault is not None:
            reason = f"{entry.type} runs untrusted code and is left out: {sandbox_fault}"
            loaded.left_out.append(_without(entry, reason))
            continue
        try:
            benchmark, tasks = _made(_Recipe(entry, setting))
        except (DatasetError, DataError) as error:
            if settled.suite.on_dataset_error == "fail":
                raise DatasetError(f"datasets.{entry.name}: {error}") from error
            log.warning("dataset_skipped", entry=entry.name, reason=str(error))
            loaded.skipped.setdefault(entry.type, []).append(f"{entry.name}: {error}")
            loaded.left_out.append(_without(entry, f"{entry.name} could not be loaded and is skipped: {error}"))
            continue
        loaded.entries.append(_Entry(pool=_pool(entry, settled, tasks), benchmark=benchmark))
    return loaded


def _without(entry: DatasetConfig, reason: str) -> Shortfall:
    return Shortfall(stratum=entry.name, requested=entry.limit or 0, available=0, reason=reason)


def _pool(entry: DatasetConfig, settled: Settled, tasks: tuple[Task, ...]) -> planning.Pool:
    kind = benchmark_class(entry.type)
    stated = settled.stated[entry.name]
    named = [str(value) for key in NAMED_STRATA for value in _named(getattr(entry, key, None))]
    return planning.Pool(
        entry=entry.name,
        identity=_identity(stated),
        benchmark=entry.type,
        weight=entry.weight,
        tasks=tasks,
        shuffle=entry.shuffle,
        limit=None if kind.limits_itself or entry.type in settled.type_limits else stated.limit,
        asked_per_group=stated.limit if kind.limits_itself else getattr(stated, "limit_per_task", None),
        named=tuple(named),
    )


def _named(value: object) -> Sequence[object]:
    """The values of a key that names strata; none when it means all of them."""
    if not isinstance(value, list | tuple) or "all" in value:
        return ()
    return value


def _identity(entry: DatasetConfig) -> str:
    """What an entry says, but for its label and its secrets: the label may hang on its place in the file."""
    return digest({key: value for key, value in shown(entry).items() if key != "name"})


class _Recipe:
    """What a data set is made from, equal when everything is equal that could change it. Secrets stay in memory."""

    def __init__(self, entry: DatasetConfig, setting: Setting) -> None:
        self.entry = entry
        self.setting = setting
        self._key = json.dumps(entry.model_dump(), sort_keys=True, default=_revealed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Recipe) and (self._key, self.setting) == (other._key, other.setting)

    def __hash__(self) -> int:
        return hash((self._key, self.setting))


def _revealed(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else repr(value)


@lru_cache(maxsize=KEPT_DATASETS)
def _made(recipe: _Recipe) -> tuple[AnyBenchmark, tuple[Task, ...]]:
    """A benchmark and its tasks. Kept, since every run asks for its plan before it asks for its execution."""
    benchmark = benchmark_class(recipe.entry.type)(recipe.entry, recipe.setting)
    tasks = tuple(benchmark.tasks())
    _check_tasks(recipe.entry.name, tasks)
    return benchmark, tasks


def _check_tasks(entry: str, tasks: Sequence[Task]) -> None:
    ids = Counter(task.id for task in tasks)
    if not ids:
        raise DatasetError(f"data set {entry!r} gave no task")
    if twice := sorted(task_id for task_id, count in ids.items() if count > 1):
        raise DatasetError(f"data set {entry!r} holds task ids twice: {', '.join(twice[:5])}")


def _check_judge(settled: Settled, loaded: _Loaded, *, has_judge: bool) -> None:
    """A data set that only a judge can score is not asked without one, unless the suite allows it."""
    if has_judge or settled.suite.allow_unscored:
        return
    faults = [
        f"datasets.{entry.pool.entry}: only a judge can score it, and there is none;"
        " state llm_eval, or allow_unscored: true to ask it all the same"
        for entry in loaded.entries
        if entry.benchmark.judge_need() == "all"
    ]
    if faults:
        raise RequestError(faults)


def _check_weights(settled: Settled, selection: planning.Selection) -> None:
    """Weights that leave nothing to weigh are a fault; to weigh all alike instead would be another score."""
    weights = settled.suite.section_weights
    sections = {benchmark_class(pick.benchmark).section for pick in selection.picks}
    if weights and not any(weights.get(section) for section in sections):
        planned = ", ".join(sorted(sections))
        raise RequestError([f"section_weights: no section of the plan weighs anything; it has {planned}"])


def _select(settled: Settled, pools: Sequence[planning.Pool]) -> planning.Selection:
    sampling = settled.suite.sampling
    try:
        if settled.config.task_ids is not None:
            return planning.named(pools, settled.config.task_ids)
        return planning.select(
            pools,
            strategy=sampling.strategy,
            total=settled.total,
            seed=sampling.seed,
            type_limits=settled.type_limits,
        )
    except planning.PlanningError as error:
        raise RequestError([str(error)]) from None


class _Trials(TypedDict):
    """The part of a plan that follows from the selection."""

    digest: str
    benchmarks: tuple[PlannedBenchmark, ...]
    trials: tuple[PlannedTrial, ...]
    shard_index: int
    num_shards: int


def _trials_and_digest(settled: Settled, loaded: _Loaded, selection: planning.Selection) -> _Trials:
    config, num_trials = settled.config, settled.suite.num_trials
    counts = Counter(pick.benchmark for pick in selection.picks)
    names = sorted({entry.pool.benchmark for entry in loaded.entries} | set(loaded.skipped))
    benchmarks = tuple(
        _planned_benchmark(name, loaded, tasks=counts[name], twice=selection.twice.get(name, 0)) for name in names
    )
    if (asked := len(selection.picks) * num_trials) > MAX_TRIALS:
        raise RequestError([f"num_trials: the plan would hold {asked} trials, at most {MAX_TRIALS} are possible"])
    whole = _trials(selection.picks, num_trials)
    index, count = config.shard_index or 0, config.num_shards or 1
    mine = whole
    if count > 1:
        dealt = {(pick.benchmark, pick.task.id) for pick in planning.shard(selection.picks, index=index, count=count)}
        mine = [trial for trial in whole if (trial.benchmark, trial.task_id) in dealt]
    return {
        "digest": plan_digest(seed=settled.suite.sampling.seed, trials=whole, benchmarks=benchmarks),
        "benchmarks": benchmarks,
        "trials": tuple(mine),
        "shard_index": index,
        "num_shards": count,
    }


_NEEDS: Final = ("never", "some", "all")


def _planned_benchmark(name: str, loaded: _Loaded, *, tasks: int, twice: int) -> PlannedBenchmark:
    kind = benchmark_class(name)
    entries = [entry for entry in loaded.entries if entry.pool.benchmark == name]
    pairs = {(task.id, task.digest) for entry in entries for task in entry.pool.tasks}
    notes: dict[str, JsonValue] = {entry.pool.entry: dict(entry.benchmark.notes()) for entry in entries}
    notes |= {"tasks_in_two_entries": twice} if twice else {}
    needs = [entry.benchmark.judge_need() for entry in entries]
    return PlannedBenchmark(
        name=name,
        section=kind.section,
        dataset_digest=digest(sorted(pairs)) if pairs else "",
        scorer=f"{name}@{kind.scorer_version}",
        sub_scores=kind.sub_score_names,
        tasks=tasks,
        judge_need=max(needs, key=_NEEDS.index, default="never"),
        notes={label: noted for label, noted in notes.items() if noted},
        skipped="; ".join(loaded.skipped.get(name, ())),
    )


def _trials(picks: Sequence[planning.Pick], num_trials: int) -> list[PlannedTrial]:
    return [
        PlannedTrial(
            benchmark=pick.benchmark,
            section=benchmark_class(pick.benchmark).section,
            stratum=pick.task.stratum,
            task_id=pick.task.id,
            task_digest=pick.task.digest,
            trial=trial,
            position=place * num_trials + trial,
        )
        for place, pick in enumerate(picks)
        for trial in range(num_trials)
    ]
