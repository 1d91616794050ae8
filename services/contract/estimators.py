"""Estimators and intervals. Pure; green's reports and the runner's comparisons share them, so each formula exists once.

Source of definitions and test vectors: code-and-math specification 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, sqrt
from typing import Final

Z95: Final = 1.959963984540054
RESAMPLES: Final = 10_000
_CHUNK_CELLS: Final = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A 95 % interval, in the unit of the estimate."""

    low: float
    high: float


def pass_at_k(*, trials: int, successes: int, k: int) -> float | None:
    """Chance that at least one of `k` fresh trials succeeds, unbiased: 1 - C(n-c, k) / C(n, k).

    Returns 0..1, or None when fewer than `k` trials were scored: the chance is then unknown, not zero.
    Raises ValueError when the counts contradict each other. Source: Chen et al., arXiv:2107.03374.
    """
    _check_counts(trials=trials, successes=successes, k=k)
    if trials < k:
        return None
    if trials - successes < k:
        return 1.0
    missed = 1.0
    for i in range(trials - successes + 1, trials + 1):
        missed *= 1.0 - k / i
    return 1.0 - missed


def pass_hat_k(*, trials: int, successes: int, k: int) -> float | None:
    """Chance that `k` fresh trials all succeed: C(c, k) / C(n, k).

    Returns 0..1, or None when fewer than `k` trials were scored. Raises ValueError when the counts contradict each other.
    Source: tau-bench, arXiv:2406.12045.
    """
    _check_counts(trials=trials, successes=successes, k=k)
    if trials < k:
        return None
    return comb(successes, k) / comb(trials, k)


def relative_success(*, accuracy: float, base: float) -> float | None:
    """Share of what `base` left to gain that was gained, per cent; negative for a loss. Both 0..100.

    None when nothing was left. Known as RSR, (accuracy - base) / (100 - base) * 100.
    """
    return None if base == 100 else 100 * (accuracy - base) / (100 - base)


def wilson(*, successes: int, trials: int) -> Interval:
    """Wilson 95 % interval of a share. Raises ValueError without a trial."""
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"need 0 <= successes <= trials and trials >= 1, got {successes=} {trials=}")
    share, z2 = successes / trials, Z95 * Z95
    centre = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = Z95 * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials)) / (1 + z2 / trials)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == trials else centre + half
    return Interval(low=low, high=high)


def bootstrap_mean(values: Sequence[float], *, seed: int) -> Interval:
    """Percentile bootstrap 95 % interval of the mean of `values`, 10,000 resamples, seeded.

    Raises ValueError for no values. One value, or equal ones, give an interval of width zero: the bootstrap cannot see
    beyond its sample, so callers prefer `score_interval`.
    """
    if not values:
        raise ValueError("bootstrap needs at least one value")
    import numpy as np  # noqa: PLC0415 - keeps --help quick

    draws = np.random.default_rng(seed)
    sample, n = np.asarray(values, dtype=float), len(values)
    rows = max(1, _CHUNK_CELLS // n)
    means = np.concatenate(
        [
            sample[draws.integers(0, n, size=(min(rows, RESAMPLES - start), n))].mean(axis=1)
            for start in range(0, RESAMPLES, rows)
        ]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean with its interval and its weight in a weighted mean."""

    weight: float
    mean: float
    interval: Interval


def weighted_interval(estimates: Sequence[Estimate]) -> Interval:
    """95 % interval of the weighted mean of independent estimates, from their own intervals (MOVER).

    Unlike resampling it keeps the uncertainty of a part whose scores are all equal. Raises ValueError when the weights do
    not add up to something positive. Source: Zou and Donner, Statistics in Medicine 27 (2008), 1693-1702.
    """
    total = sum(part.weight for part in estimates)
    if total <= 0:
        raise ValueError("a weighted mean needs a positive weight")
    mean = sum(part.weight * part.mean for part in estimates) / total
    below = sqrt(sum((part.weight / total * (part.mean - part.interval.low)) ** 2 for part in estimates))
    above = sqrt(sum((part.weight / total * (part.interval.high - part.mean)) ** 2 for part in estimates))
    return Interval(low=mean - below, high=mean + above)


def score_interval(task_scores: Sequence[float], *, one_trial_each: bool, seed: int) -> Interval | None:
    """95 % interval of a mean over tasks, 0..1: Wilson for single trials scored 0 or 1, else bootstrap over tasks.

    None without a task, and None for a single task or equal fractional scores, where the spread is unknown, not zero.
    """
    if not task_scores:
        return None
    if one_trial_each and all(score in (0.0, 1.0) for score in task_scores):
        return wilson(successes=sum(score == 1.0 for score in task_scores), trials=len(task_scores))
    if len(set(task_scores)) == 1:
        return None
    return bootstrap_mean(task_scores, seed=seed)


def _check_counts(*, trials: int, successes: int, k: int) -> None:
    if not 0 <= successes <= trials or k < 1:
        raise ValueError(f"need 0 <= successes <= trials and k >= 1, got {successes=} {trials=} {k=}")
