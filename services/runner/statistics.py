"""What a report says beyond the result itself: spread, faults, latency, usage. Pure functions of rows.

Scores and their intervals come from `contract.aggregation`; formulas from `contract.estimators`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.contract.conversation import Usage
from services.contract.outcomes import Outcome
from services.contract.results import TaskResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """How often one kind of failure ended trials of one benchmark."""

    benchmark: str
    outcome: Outcome
    kind: str
    count: int
    example: str
    """Message of the first of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantiles:
    """Seconds."""

    p50: float
    p90: float
    p99: float
    largest: float


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownIssue:
    """How many of the tasks asked have one known fault of their data set."""

    benchmark: str
    kind: str
    tasks: int


def faults(rows: Iterable[TaskResult]) -> list[Fault]:
    """Failures by benchmark, outcome and kind, most frequent first."""
    counts: Counter[tuple[str, Outcome, str]] = Counter()
    examples: dict[tuple[str, Outcome, str], str] = {}
    for row in rows:
        if row.error is None:
            continue
        key = (row.benchmark, row.outcome, row.error.kind)
        counts[key] += 1
        examples.setdefault(key, row.error.message)
    return [
        Fault(benchmark=key[0], outcome=key[1], kind=key[2], count=count, example=examples[key])
        for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]


def known_issues(rows: Iterable[TaskResult]) -> list[KnownIssue]:
    """Known faults of the data that rows name in their metric `known_issues`, by benchmark and kind."""
    tasks: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for kind in str(row.metrics.get("known_issues") or "").split(","):
            if kind:
                tasks[row.benchmark, kind].add(row.task_id)
    return [
        KnownIssue(benchmark=benchmark, kind=kind, tasks=len(found))
        for (benchmark, kind), found in sorted(tasks.items())
    ]


def quantiles(values: Sequence[float]) -> Quantiles | None:
    """Nearest-rank quantiles; None without a value."""
    if not values:
        return None
    ordered = sorted(values)

    def at(share: float) -> float:
        rank = max(1, -int(-share * len(ordered) // 1))
        return ordered[min(rank, len(ordered)) - 1]

    return Quantiles(p50=at(0.5), p90=at(0.9), p99=at(0.99), largest=ordered[-1])


def histogram(values: Sequence[float], *, bins: int) -> list[tuple[float, float, int]]:
    """Lower edge, upper edge and count of equal bins from 0 to the largest value; empty without values."""
    top = max(values, default=0.0)
    if top <= 0:
        return []
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(bins * value / top))] += 1
    return [(top * i / bins, top * (i + 1) / bins, count) for i, count in enumerate(counts)]


def usage_total(rows: Iterable[TaskResult]) -> Usage:
    """Sum over rows; a field is None when no row knows it."""
    total = Usage()
    for row in rows:
        total += row.usage
    return total
