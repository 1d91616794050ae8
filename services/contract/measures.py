"""What repeated trials and trajectories say about one benchmark: pass@k, pass^k, pass rates, the oracle. Pure.

`agent_error` counts as failed; unscored trials lower n, never the successes. What needs more trials than were scored is None,
with the number of tasks left out. Source: code-and-math specification 6.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from services.contract.assessment import PlannedTrial
from services.contract.estimators import pass_at_k, pass_hat_k, score_interval
from services.contract.outcomes import POLICY, Outcome
from services.contract.results import Measure, Measures, MeasuresOfIteration, TaskResult

USUAL_K: Final = (1, 5, 10, 100)
PASS_RATE: Final = "pass_rate"  # noqa: S105 - no password
EXACT_MATCH: Final = "exact_match"
ORACLE: Final = "oracle_passed"
UNSCORED: Final = "trajectory_unscored"
CUT: Final = "trajectory_cut"
ITERATIONS: Final = "iterations"
"""Where rows say it: five metrics, and a detail with one object for each iteration."""


def measures(
    trials: Iterable[PlannedTrial], rows: Mapping[str, TaskResult], *, k: Sequence[int], seed: int
) -> Measures:
    """The measures of one benchmark's planned trials, with the rows that exist, by trial key.

    `k`: which pass@k and pass^k; empty: 1, 5, 10, 100 and the number of trials, as far as there are trials. `seed` is that of
    the bootstrap.
    """
    tasks: dict[str, list[TaskResult]] = defaultdict(list)
    planned: dict[str, int] = defaultdict(int)
    for trial in trials:
        planned[trial.task_id] += 1
        row = rows.get(trial.key)
        found = tasks[trial.task_id]
        if row is not None and POLICY[row.outcome].counts:
            found.append(row)
    most = max(planned.values(), default=1)
    mean = _Mean(tasks=tuple(tasks.values()), one_trial_each=most == 1, seed=seed)
    wanted = sorted({*(k or USUAL_K), *(() if k else (most,))})
    wanted = [number for number in wanted if number <= most or k]
    return Measures(
        pass_at={number: mean.of_counts(pass_at_k, number) for number in wanted},
        pass_hat={number: mean.of_counts(pass_hat_k, number) for number in wanted if most > 1 or k},
        average_pass_rate=mean.of_trials(lambda row: _number(row, PASS_RATE)),
        exact_match=mean.of_trials(lambda row: _flag(row, EXACT_MATCH)),
        oracle_best_of_trajectory=mean.of_trials(_oracle),
        accuracy_by_iteration=_by_iteration(mean),
    )


def mean_over_tasks(values: Sequence[float | None], *, one_trial_each: bool, seed: int) -> Measure:
    """The mean of the values that are known, one a task, 0..1, with its interval; `seed` is that of the bootstrap."""
    known = [value for value in values if value is not None]
    interval = score_interval(known, one_trial_each=one_trial_each, seed=seed)
    return Measure(
        value=sum(known) / len(known) if known else None,
        n=len(known),
        left_out=len(values) - len(known),
        lower=None if interval is None else interval.low,
        upper=None if interval is None else interval.high,
    )


class _Mean:
    """Means over the tasks of one benchmark."""

    def __init__(self, *, tasks: tuple[list[TaskResult], ...], one_trial_each: bool, seed: int) -> None:
        self.tasks = tasks
        self._one_trial_each = one_trial_each
        self._seed = seed

    def of_counts(self, estimator: Callable[..., float | None], k: int) -> Measure:
        """An estimator of trials and successes."""
        return self.over_tasks(
            [
                estimator(trials=len(rows), successes=sum(row.passed for row in rows), k=k) if rows else None
                for rows in self.tasks
            ]
        )

    def of_trials(self, read: Callable[[TaskResult], float | None]) -> Measure | None:
        """A fact of single trials, None where a trial does not have it; None when no trial has it."""
        found = [[value for row in rows if (value := read(row)) is not None] for rows in self.tasks]
        # What failed by the agent's fault has no facts; that alone does not make a measure.
        if not any(read(row) is not None and row.outcome is Outcome.SCORED for rows in self.tasks for row in rows):
            return None
        return self.over_tasks([sum(values) / len(values) if values else None for values in found])

    def over_tasks(self, values: Sequence[float | None]) -> Measure:
        """The mean of what is known, with its interval."""
        return mean_over_tasks(values, one_trial_each=self._one_trial_each, seed=self._seed)


def _number(row: TaskResult, name: str) -> float | None:
    if row.outcome is Outcome.AGENT_ERROR:
        return 0.0
    value = row.metrics.get(name)
    return float(value) if isinstance(value, int | float) else None


def _flag(row: TaskResult, name: str) -> float | None:
    value = row.metrics.get(name)
    return _number(row, name) if isinstance(value, bool) or row.outcome is Outcome.AGENT_ERROR else None


def _oracle(row: TaskResult) -> float | None:
    """Unknown when no solution was right as far as they were scored, and some were not."""
    found = _flag(row, ORACLE)
    return None if found == 0 and (row.metrics.get(UNSCORED) or row.metrics.get(CUT)) else found


def _by_iteration(mean: _Mean) -> list[MeasuresOfIteration]:
    if not any(ITERATIONS in row.details for rows in mean.tasks for row in rows):
        return []
    chains = [[_chain(row) for row in rows] for rows in mean.tasks]
    longest = max((len(chain) for found in chains for chain in found), default=0)
    return [_iteration(number, chains, mean) for number in range(longest)]


def _chain(row: TaskResult) -> list[Mapping[str, JsonValue]]:
    """What the row tells; a trial that failed by the agent's fault came to nothing right at any time."""
    if row.outcome is Outcome.AGENT_ERROR:
        return [{"passed": False}]
    told = row.details.get(ITERATIONS)
    return [step for step in told if isinstance(step, dict)] if isinstance(told, list) else []


def _iteration(
    number: int, chains: Sequence[Sequence[Sequence[Mapping[str, JsonValue]]]], mean: _Mean
) -> MeasuresOfIteration:
    """A chain that ended earlier keeps its last solution; one that was never told is not in the count."""
    flat = [chain for found in chains for chain in found if chain]
    passes = [[_right(chain, number) for chain in found if chain] for found in chains]
    known = [[value for value in found if value is not None] for found in passes]
    accuracy = mean.over_tasks([sum(found) / len(found) if found else None for found in known])
    steps = [chain[number] for chain in flat if number < len(chain)]
    moves = [(_right(chain, number - 1), _right(chain, number)) for chain in flat] if number else []
    return MeasuresOfIteration(
        iteration=number,
        n=sum(map(len, known)),
        accuracy=accuracy.value,
        lower=accuracy.lower,
        upper=accuracy.upper,
        refined=sum(step.get("was_refined") is True for step in steps),
        undecided=sum(step.get("verdict") == "undecided" for step in steps),
        to_right=moves.count((False, True)),
        to_wrong=moves.count((True, False)),
    )


def _right(chain: Sequence[Mapping[str, JsonValue]], number: int) -> bool | None:
    passed = chain[min(number, len(chain) - 1)].get("passed")
    return passed if isinstance(passed, bool) else None
