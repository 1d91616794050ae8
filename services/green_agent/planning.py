"""Which tasks are asked, in which order, and by which shard. Pure functions of pools, sampling and seed.

Rules and vectors: finance specification 2, interop specification 4.2. No global random state: order comes from `seeds.rank`,
so adding or permuting entries never moves another task.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from services.contract.assessment import Shortfall, Strategy
from services.contract.seeds import rank
from services.green_agent.benchmarks.base import Task


class PlanningError(Exception):
    """The selection cannot be made. The text names what is wrong and what would be right."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """The tasks of one suite entry, in canonical order."""

    entry: str
    """Label of the entry, unique in the suite."""
    benchmark: str
    weight: float
    tasks: tuple[Task, ...]
    """Never empty."""
    shuffle: bool = False
    limit: int | None = None
    """Head of the (shuffled) order that enters the selection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pick:
    """A selected task and where it came from."""

    benchmark: str
    task: Task

    @property
    def stratum(self) -> tuple[str, str]:
        """Benchmark and task type, the unit of stratified sampling."""
        return (self.benchmark, self.task.stratum)


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """The whole plan's tasks in running order."""

    picks: tuple[Pick, ...]
    shortfalls: tuple[Shortfall, ...] = ()


def allocate(total: int, *, weights: Mapping[str, float], caps: Mapping[str, int], seed: int) -> dict[str, int]:
    """Share `total` over strata by weight, never above a cap; sums to min(total, sum of caps).

    Strata that cannot use their share get their cap and leave; the rest share what remains, and the odd ones go by
    largest fraction, ties by a seeded rank.
    """
    given: dict[str, int] = dict.fromkeys(caps, 0)
    open_strata = {name for name, cap in caps.items() if cap > 0 and weights[name] > 0}
    remaining = total
    while open_strata:
        whole = sum(weights[name] for name in open_strata)
        full = {name for name in open_strata if caps[name] <= remaining * weights[name] / whole}
        if not full:
            break
        for name in full:
            given[name] = caps[name]
        remaining -= sum(caps[name] for name in full)
        open_strata -= full
    if not open_strata:
        return given
    whole = sum(weights[name] for name in open_strata)
    shares = {name: remaining * weights[name] / whole for name in open_strata}
    given |= {name: int(share) for name, share in shares.items()}
    odd = remaining - sum(int(share) for share in shares.values())
    by_fraction = sorted(shares, key=lambda name: (-(shares[name] % 1), rank(seed, "alloc", name)))
    for name in by_fraction[:odd]:
        given[name] += 1
    return given


def select(pools: Sequence[Pool], *, strategy: Strategy, total: int | None, seed: int) -> Selection:
    """Choose `total` tasks (None: all) by `strategy`. Raises PlanningError when nothing is left to choose from."""
    entries = {pool.entry: _picks(pool, seed=seed) for pool in pools}
    unique = _once(entries)
    available = sum(map(len, unique.values()))
    if not available:
        raise PlanningError("the selection is empty: no data set gave a task")
    wanted = available if total is None else total
    chosen = _choose(pools, unique, strategy=strategy, total=min(wanted, available), seed=seed)
    shortfalls: tuple[Shortfall, ...] = ()
    if wanted > available:
        reason = f"asked for {wanted} tasks, the data sets hold {available}"
        shortfalls = (Shortfall(stratum="total", requested=wanted, available=available, reason=reason),)
    order = tuple(chosen) if strategy == "sequential" else tuple(_round_robin(chosen, seed=seed))
    return Selection(picks=order, shortfalls=shortfalls)


def named(pools: Sequence[Pool], task_ids: Sequence[str]) -> Selection:
    """Exactly these tasks, in the order given. Raises PlanningError for an id no data set holds."""
    by_id = {task.id: Pick(benchmark=pool.benchmark, task=task) for pool in pools for task in pool.tasks}
    if unknown := [task_id for task_id in task_ids if task_id not in by_id]:
        raise PlanningError(f"task_ids: no data set of the suite holds {', '.join(map(repr, unknown))}")
    return Selection(picks=tuple(by_id[task_id] for task_id in dict.fromkeys(task_ids)))


def shard(picks: Sequence[Pick], *, index: int, count: int) -> tuple[Pick, ...]:
    """The tasks of one shard, in running order.

    Tasks are listed stratum by stratum and dealt out, so sizes differ by at most one overall and in every stratum.
    """
    strata: dict[tuple[str, str], list[Pick]] = defaultdict(list)
    for pick in picks:
        strata[pick.stratum].append(pick)
    dealt = [pick for stratum in strata.values() for pick in stratum]
    mine = {(pick.benchmark, pick.task.id) for pick in dealt[index::count]}
    return tuple(pick for pick in picks if (pick.benchmark, pick.task.id) in mine)


def _picks(pool: Pool, *, seed: int) -> list[Pick]:
    tasks: Iterable[Task] = pool.tasks
    if pool.shuffle:
        tasks = sorted(pool.tasks, key=lambda task: rank(seed, "order", task.id))
    return [Pick(benchmark=pool.benchmark, task=task) for task in tasks][: pool.limit]


def _once(entries: Mapping[str, list[Pick]]) -> dict[str, list[Pick]]:
    """A task id in two entries of one benchmark is kept once, in the first."""
    seen: set[tuple[str, str]] = set()
    unique: dict[str, list[Pick]] = {}
    for entry, picks in entries.items():
        unique[entry] = [pick for pick in picks if (pick.benchmark, pick.task.id) not in seen]
        seen |= {(pick.benchmark, pick.task.id) for pick in picks}
    return unique


def _choose(
    pools: Sequence[Pool], entries: Mapping[str, list[Pick]], *, strategy: Strategy, total: int, seed: int
) -> list[Pick]:
    everything = [pick for picks in entries.values() for pick in picks]
    if strategy == "sequential":
        return everything[:total]
    if strategy == "random":
        return sorted(everything, key=lambda pick: rank(seed, "order", pick.task.id))[:total]
    if strategy == "weighted":
        groups = dict(entries)
        weights = {pool.entry: pool.weight for pool in pools}
    else:
        groups = _by_benchmark(pools, entries)
        weights = dict.fromkeys(groups, 1.0)
    shares = allocate(total, weights=weights, caps={name: len(picks) for name, picks in groups.items()}, seed=seed)
    return [pick for name in sorted(groups) for pick in _from_strata(groups[name], total=shares[name], seed=seed)]


def _by_benchmark(pools: Sequence[Pool], entries: Mapping[str, list[Pick]]) -> dict[str, list[Pick]]:
    groups: dict[str, list[Pick]] = defaultdict(list)
    for pool in sorted(pools, key=lambda pool: pool.entry):
        groups[pool.benchmark] += entries[pool.entry]
    return dict(groups)


def _from_strata(picks: Sequence[Pick], *, total: int, seed: int) -> list[Pick]:
    """The head of each task type, task types weighing the same."""
    strata: dict[str, list[Pick]] = defaultdict(list)
    for pick in picks:
        strata[f"{pick.benchmark}/{pick.task.stratum}"].append(pick)
    shares = allocate(
        total, weights=dict.fromkeys(strata, 1.0), caps={name: len(found) for name, found in strata.items()}, seed=seed
    )
    return [pick for name in sorted(strata) for pick in strata[name][: shares[name]]]


def _round_robin(picks: Sequence[Pick], *, seed: int) -> Iterable[Pick]:
    """One task of each stratum in turn, so that a run stopped early stays balanced."""
    strata: dict[tuple[str, str], list[Pick]] = defaultdict(list)
    for pick in picks:
        strata[pick.stratum].append(pick)
    ranked = sorted(strata, key=lambda stratum: rank(seed, "strata", "/".join(stratum)))
    for turn in zip_longest(*(strata[stratum] for stratum in ranked)):
        yield from (pick for pick in turn if pick is not None)
