"""Runs of one plan, two by two: the paired difference of their scores, task by task, with its interval.

Tasks differ more than agents do, and in trading most of a scenario's result is luck; over identical tasks that part cancels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Final

from pydantic import JsonValue

from services.contract.estimators import bootstrap_mean, relative_success
from services.contract.outcomes import POLICY
from services.contract.results import TaskResult
from services.contract.seeds import derive
from services.runner.failures import PlanChangedError
from services.runner.journal import RunRecord
from services.runner.summary import aligned

OVERALL: Final = "all tasks"
_ROUNDING: Final = 1e-9
"""Points by which equal differences may seem to differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """First minus second over the tasks both have a score for in every trial; points of 100. None without such a task."""

    benchmark: str
    first: float | None
    second: float | None
    difference: float | None
    low: float | None
    high: float | None
    """95 % interval of the difference, by bootstrap over tasks; None where all differ alike or there is but one: the spread
    is unknown then, not zero."""
    tasks: int
    better: int
    """Tasks in which the first scored more."""
    worse: int
    rsr: float | None
    """Share of what the second left to gain that the first gained, per cent; None when nothing was left."""
    left_out: int
    """Tasks in which one of the two lacks the score of a trial. A mean over the others would reward whoever loses the
    trials that go badly."""


def compare(
    first: RunRecord, first_rows: Iterable[TaskResult], second: RunRecord, second_rows: Iterable[TaskResult]
) -> list[Difference]:
    """The differences by benchmark, and over all tasks. Raises PlanChangedError when the runs asked different things."""
    if first.plan.digest != second.plan.digest:
        raise PlanChangedError(
            f"run {first.id} has plan {first.plan.digest}, run {second.id} has {second.plan.digest}: only runs of one plan"
            " are compared task by task"
        )
    trials = Counter((trial.benchmark, trial.task_id) for trial in first.plan.trials)
    one, other = _task_scores(first_rows, trials), _task_scores(second_rows, trials)
    planned: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for benchmark, task_id in trials:
        planned[benchmark].append((benchmark, task_id))
    groups = {**planned, OVERALL: [key for keys in planned.values() for key in keys]}
    found = []
    for name, keys in groups.items():
        pairs = [(one[key], other[key]) for key in keys if key in one and key in other]
        found.append(_difference(name, pairs, left_out=len(keys) - len(pairs), seed=first.plan.seed))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """A run to compare, by the name it is shown under."""

    name: str
    run: RunRecord
    rows: Sequence[TaskResult]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two runs and their differences by benchmark, the last over all tasks."""

    first: str
    second: str
    differences: Sequence[Difference]


def pairs_of(runs: Sequence[Compared]) -> list[Pair]:
    """Every two of the runs, in their order. Raises PlanChangedError when they asked different things."""
    return [
        Pair(first=one.name, second=other.name, differences=compare(one.run, one.rows, other.run, other.rows))
        for one, other in combinations(runs, 2)
    ]


def pairs_table(pairs: Sequence[Pair]) -> str:
    """Aligned text, one line a pair and benchmark, and how many differences were looked at."""
    head = ("first - second", "of", "difference", "95 % interval", "better/worse", "tasks", "left out")
    body = [
        (
            f"{pair.first} - {pair.second}",
            row.benchmark,
            _signed(row.difference),
            _interval(row),
            f"{row.better}/{row.worse}",
            str(row.tasks),
            str(row.left_out),
        )
        for pair in pairs
        for row in shown(pair)
    ]
    left_out = _left_out(row for pair in pairs for row in pair.differences)
    return "\n".join([*aligned([head, *body]), *_warning(pairs, len(body)), *left_out])


def shown(pair: Pair) -> Sequence[Difference]:
    """With a single benchmark the line over all tasks says the same once more."""
    return pair.differences[:1] if len(pair.differences) == 2 else pair.differences


def _warning(pairs: Sequence[Pair], looked_at: int) -> list[str]:
    """Each interval holds by itself; whoever picks the best of many has to know how many there were."""
    if looked_at < 2:
        return []
    how_many = f"{looked_at} differences of {len(pairs)} pair{'s' if len(pairs) > 1 else ''} were looked at"
    chance = f"of {looked_at} intervals around no difference at all, about {0.05 * looked_at:.2g} would miss 0"
    return [f"{how_many}; each interval holds for itself: {chance}."]


def table_of(found: Sequence[Difference], names: tuple[str, str]) -> str:
    """Aligned text; says what is compared."""
    head = ("", "first", "second", "difference", "95 % interval", "RSR", "better/worse", "tasks", "left out")
    body = [
        (
            row.benchmark,
            "-" if row.first is None else f"{row.first:.1f}",
            "-" if row.second is None else f"{row.second:.1f}",
            _signed(row.difference),
            _interval(row),
            _signed(row.rsr),
            f"{row.better}/{row.worse}",
            str(row.tasks),
            str(row.left_out),
        )
        for row in found
    ]
    return "\n".join([f"first   {names[0]}", f"second  {names[1]}", "", *aligned([head, *body]), *_left_out(found)])


def _left_out(found: Iterable[Difference]) -> list[str]:
    if not any(row.left_out for row in found):
        return []
    return [
        (
            "Tasks left out lack a score of one of the two. Without them the difference may flatter whoever lost them;"
            " `assay resume` brings what is missing."
        )
    ]


def object_of(found: Sequence[Difference], names: tuple[str, str]) -> dict[str, JsonValue]:
    """The object of `--json`."""
    return {"first": names[0], "second": names[1], "differences": [asdict(row) for row in found]}


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def _interval(row: Difference) -> str:
    return "unknown" if row.low is None or row.high is None else f"{row.low:+.1f}..{row.high:+.1f}"


def _task_scores(rows: Iterable[TaskResult], trials: Mapping[tuple[str, str], int]) -> dict[tuple[str, str], float]:
    """Mean over the trials of each task of which all are counted, 0..1."""
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in rows:
        if POLICY[row.outcome].counts and row.score is not None:
            scores[row.benchmark, row.task_id].append(row.score)
    return {key: fmean(found) for key, found in scores.items() if len(found) == trials.get(key)}


def _difference(name: str, pairs: Sequence[tuple[float, float]], *, left_out: int, seed: int) -> Difference:
    gaps = [100 * (one - other) for one, other in pairs]
    spread = max(gaps, default=0.0) - min(gaps, default=0.0)
    interval = bootstrap_mean(gaps, seed=derive(seed, "difference", name)) if spread > _ROUNDING else None
    first = 100 * fmean(one for one, _ in pairs) if pairs else None
    second = 100 * fmean(other for _, other in pairs) if pairs else None
    return Difference(
        benchmark=name,
        first=first,
        second=second,
        difference=fmean(gaps) if gaps else None,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        tasks=len(pairs),
        better=sum(gap > 0 for gap in gaps),
        worse=sum(gap < 0 for gap in gaps),
        rsr=None if first is None or second is None else relative_success(accuracy=first, base=second),
        left_out=left_out,
    )
