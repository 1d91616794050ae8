"""Which tasks are asked, in which order, and by which shard. Pure functions of pools, sampling and seed.

Rules and vectors: finance specification 2, interop specification 4.2. No global random state: order comes from `seeds.rank`,
so adding or permuting entries never moves another task.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
    """Label of the entry, unique in the suite. It may hang on the place of the entry, so nothing is ordered by it."""
    benchmark: str
    weight: float
    tasks: tuple[Task, ...]
    """Never empty."""
    identity: str = ""
    """What the entry says, whatever its place; the label when empty."""
    shuffle: bool = False
    limit: int | None = None
    """Head of the (shuffled) order that enters the selection."""
    asked_per_group: int | None = None
    """What each `Task.limit_group`, or the entry where there are none, was limited to when the tasks were loaded."""
    named: tuple[str, ...] = ()
    """Strata that the entry asks for by name."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Order among entries that does not hang on their places."""
        return (self.benchmark, self.identity or self.entry, self.entry)


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
    twice: Mapping[str, int] = field(default_factory=dict)
    """By benchmark, how many tasks stand in a second entry too; each is kept once."""


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


def select(
    pools: Sequence[Pool],
    *,
    strategy: Strategy,
    total: int | None,
    seed: int,
    type_limits: Mapping[str, int] | None = None,
) -> Selection:
    """Choose `total` tasks (None: all) by `strategy`; `type_limits` holds totals by benchmark.

    Raises PlanningError when nothing is left to choose from, or when a stratum asked for by name is empty.
    """
    if empty := [f"{pool.entry} / {name}" for pool in pools for name in _empty(pool)]:
        raise PlanningError(f"asked for by name and empty: {', '.join(empty)}")
    if strategy == "weighted":
        pools = [pool for pool in pools if pool.weight > 0]
    ordered = pools if strategy == "sequential" else sorted(pools, key=lambda pool: pool.key)
    entries = {pool.entry: _picks(pool, seed=seed) for pool in ordered}
    unique = _once(entries)
    capped = _capped(ordered, unique, type_limits or {}, strategy=strategy, seed=seed)
    available = sum(map(len, capped.values()))
    if not available:
        raise PlanningError("the selection is empty: no data set gave a task")
    wanted = available if total is None else total
    chosen = _choose(ordered, capped, strategy=strategy, total=min(wanted, available), seed=seed)
    order = tuple(chosen) if strategy == "sequential" else tuple(_round_robin(chosen, seed=seed))
    return Selection(
        picks=order,
        shortfalls=(*_clashes(entries), *_shortfalls(pools, capped, type_limits or {}, total=total)),
        twice=_counts(entries) - _counts(unique),
    )


def named(pools: Sequence[Pool], task_ids: Sequence[str]) -> Selection:
    """Exactly these tasks, in the order given. Raises PlanningError for an id no data set holds."""
    by_id: dict[str, Pick] = {}
    for pool in sorted(pools, key=lambda pool: pool.key):
        for task in pool.tasks:
            by_id.setdefault(task.id, Pick(benchmark=pool.benchmark, task=task))
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


def _empty(pool: Pool) -> list[str]:
    found = {task.stratum for task in pool.tasks}
    return [name for name in pool.named if name not in found]


def _picks(pool: Pool, *, seed: int) -> list[Pick]:
    tasks: Sequence[Task] = pool.tasks
    if pool.shuffle:
        tasks = sorted(pool.tasks, key=lambda task: rank(seed, "order", task.id))
    return [Pick(benchmark=pool.benchmark, task=task) for task in tasks[: pool.limit]]


def _once(entries: Mapping[str, list[Pick]]) -> dict[str, list[Pick]]:
    """A task id in two entries of one benchmark is kept once, in the first."""
    seen: set[tuple[str, str]] = set()
    unique: dict[str, list[Pick]] = {}
    for entry, picks in entries.items():
        unique[entry] = [pick for pick in picks if (pick.benchmark, pick.task.id) not in seen]
        seen |= {(pick.benchmark, pick.task.id) for pick in picks}
    return unique


def _clashes(entries: Mapping[str, list[Pick]]) -> Iterable[Shortfall]:
    """Tasks that are left out although they are other tasks than those that have their ids."""
    first: dict[tuple[str, str], str] = {}
    for entry, picks in entries.items():
        other = [
            pick for pick in picks if first.get((pick.benchmark, pick.task.id), pick.task.digest) != pick.task.digest
        ]
        if other:
            left = len(picks) - len(other)
            reason = f"{entry}: {len(other)} tasks have the ids of other tasks, such as {other[0].task.id!r}, and are left out"
            yield Shortfall(stratum=entry, requested=len(picks), available=left, reason=reason)
        for pick in picks:
            first.setdefault((pick.benchmark, pick.task.id), pick.task.digest)


def _counts(entries: Mapping[str, list[Pick]]) -> Counter[str]:
    return Counter(pick.benchmark for picks in entries.values() for pick in picks)


def _capped(
    pools: Sequence[Pool],
    entries: Mapping[str, list[Pick]],
    type_limits: Mapping[str, int],
    *,
    strategy: Strategy,
    seed: int,
) -> dict[str, list[Pick]]:
    """The entries with the total of a type applied over all its entries, as the strategy would choose them."""
    kept: set[tuple[str, str]] = set()
    for benchmark, limit in type_limits.items():
        mine = [pool for pool in pools if pool.benchmark == benchmark]
        theirs = {pool.entry: entries[pool.entry] for pool in mine}
        chosen = _choose(mine, theirs, strategy=strategy, total=limit, seed=seed)
        kept |= {(pick.benchmark, pick.task.id) for pick in chosen}
    return {
        entry: [p for p in picks if p.benchmark not in type_limits or (p.benchmark, p.task.id) in kept]
        for entry, picks in entries.items()
    }


def _choose(
    pools: Sequence[Pool], entries: Mapping[str, list[Pick]], *, strategy: Strategy, total: int, seed: int
) -> list[Pick]:
    everything = [pick for picks in entries.values() for pick in picks]
    if strategy == "sequential":
        return everything[:total]
    if strategy == "random":
        return _by_rank(everything, seed=seed)[:total]
    groups: dict[str, list[Pick]] = {}
    weights: dict[str, float] = {}
    for benchmark in sorted({pool.benchmark for pool in pools}):
        mine = {pool.entry: pool for pool in pools if pool.benchmark == benchmark}
        if strategy == "weighted":
            for entry, pool in mine.items():
                name = "/".join(pool.key[:2])
                name = name if name not in groups else "/".join(pool.key)
                groups[name], weights[name] = entries[entry], pool.weight
        else:
            groups[benchmark] = _merged({entry: entries[entry] for entry in mine})
            weights[benchmark] = 1.0
    shares = allocate(total, weights=weights, caps={name: len(picks) for name, picks in groups.items()}, seed=seed)
    return [pick for name in sorted(groups) for pick in _from_strata(groups[name], total=shares[name], seed=seed)]


def _by_rank(picks: Sequence[Pick], *, seed: int) -> list[Pick]:
    return sorted(picks, key=lambda pick: (rank(seed, "order", pick.task.id), pick.benchmark))


def _merged(entries: Mapping[str, list[Pick]]) -> list[Pick]:
    """The entries of one type by turns, so that the head of a stratum holds some of each."""
    return [pick for turn in zip_longest(*entries.values()) for pick in turn if pick is not None]


def _from_strata(picks: Sequence[Pick], *, total: int, seed: int) -> list[Pick]:
    """The head of each task type, task types weighing the same."""
    strata: dict[str, list[Pick]] = defaultdict(list)
    for pick in picks:
        strata[f"{pick.benchmark}/{pick.task.stratum}"].append(pick)
    shares = allocate(
        total, weights=dict.fromkeys(strata, 1.0), caps={name: len(found) for name, found in strata.items()}, seed=seed
    )
    return [pick for name in sorted(strata) for pick in strata[name][: shares[name]]]


def _shortfalls(
    pools: Sequence[Pool],
    entries: Mapping[str, list[Pick]],
    type_limits: Mapping[str, int],
    *,
    total: int | None,
) -> Iterable[Shortfall]:
    """What was asked for and is not there: by entry or group, by type, and over all."""
    for pool in pools:
        yield from _entry_shortfalls(pool)
    for benchmark, limit in type_limits.items():
        found = sum(len(entries[pool.entry]) for pool in pools if pool.benchmark == benchmark)
        if found < limit:
            yield _shortfall(benchmark, limit, found)
    available = sum(map(len, entries.values()))
    if total is not None and total > available:
        reason = f"asked for {total} tasks, the data sets hold {available}"
        yield Shortfall(stratum="total", requested=total, available=available, reason=reason)


def _entry_shortfalls(pool: Pool) -> Iterable[Shortfall]:
    groups = Counter(task.limit_group for task in pool.tasks if task.limit_group)
    if pool.asked_per_group is not None and groups:
        asked = [(f"{pool.entry} / {name}", pool.asked_per_group, found) for name, found in sorted(groups.items())]
    else:
        asked = [(pool.entry, pool.limit or pool.asked_per_group or 0, len(pool.tasks))]
    return [_shortfall(name, limit, found) for name, limit, found in asked if found < limit]


def _shortfall(stratum: str, requested: int, available: int) -> Shortfall:
    reason = f"{stratum}: asked for {requested} tasks, there are {available}"
    return Shortfall(stratum=stratum, requested=requested, available=available, reason=reason)


def _round_robin(picks: Sequence[Pick], *, seed: int) -> Iterable[Pick]:
    """One task of each stratum in turn, so that a run stopped early stays balanced."""
    strata: dict[tuple[str, str], list[Pick]] = defaultdict(list)
    for pick in picks:
        strata[pick.stratum].append(pick)
    ranked = sorted(strata, key=lambda stratum: rank(seed, "strata", "/".join(stratum)))
    for turn in zip_longest(*(strata[stratum] for stratum in ranked)):
        yield from (pick for pick in turn if pick is not None)
