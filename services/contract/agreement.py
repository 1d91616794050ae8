"""How far raters agree: Cohen, Fleiss, Krippendorff, and what is said of two who give points, each formula once. Pure.

Kappa and alpha are 1 for agreement, 0 for what chance would give, below 0 for less; None where the ratings do not vary, so
that chance cannot be told from agreement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan
from typing import TYPE_CHECKING, Final, Literal

from pydantic import BaseModel, ConfigDict

from services.contract.estimators import RESAMPLES, Interval
from services.contract.judgements import Judgement
from services.contract.results import TaskResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Counts = NDArray[np.float64]

Method = Literal["cohen_kappa", "fleiss_kappa", "krippendorff_alpha"]


class Agreed(BaseModel):
    """Agreement on one kind of verdict."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    method: Method
    value: float | None
    """None: undefined, since all ratings are the same."""
    units: int
    """Things that were rated by more than one judge."""


class Agreement(BaseModel):
    """Agreement of a panel over a run."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    members: int
    verdicts: Agreed | None = None
    """On criteria and on right or wrong; None when nothing of the kind was asked."""
    preferences: Agreed | None = None
    """On which of two answers is better."""
    scales: dict[str, Agreed] = {}
    """By scale."""


def cohen_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Kappa of two raters over the same units, in the same order. Raises ValueError for none or unequal numbers of units.

    Source: Cohen, Educational and Psychological Measurement 20 (1960), 37-46.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"need as many ratings of both raters, at least one, got {len(first)} and {len(second)}")
    units = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / units
    counts, others = Counter(first), Counter(second)
    expected = sum(count * others[label] for label, count in counts.items()) / units**2
    return _beyond_chance(observed, expected)


def fleiss_kappa(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Kappa of a fixed number of raters; one sequence of labels a unit.

    Raises ValueError without units or when their numbers of ratings differ or are below 2.
    Source: Fleiss, Psychological Bulletin 76 (1971), 378-382.
    """
    raters = len(units[0]) if units else 0
    if raters < 2 or any(len(labels) != raters for labels in units):
        raise ValueError(f"need the same number of ratings for each unit, at least two, got {sorted(map(len, units))}")
    totals: Counter[Hashable] = Counter()
    observed = 0.0
    for labels in units:
        counts = Counter(labels)
        totals.update(counts)
        observed += (sum(count * count for count in counts.values()) - raters) / (raters * (raters - 1))
    shares = [count / (raters * len(units)) for count in totals.values()]
    return _beyond_chance(observed / len(units), sum(share * share for share in shares))


def krippendorff_alpha(units: Sequence[Sequence[float]]) -> float | None:
    """Alpha with the interval metric; one sequence of ratings a unit, of any length: what is missing is left out.

    Units with one rating say nothing and do not count. Raises ValueError when no unit has two.
    Source: Krippendorff, Content Analysis (2004), chapter 11.
    """
    paired = [ratings for ratings in units if len(ratings) >= 2]
    if not paired:
        raise ValueError("need a unit with at least two ratings")
    values = [float(value) for ratings in paired for value in ratings]
    observed = sum(_squares(ratings) / (len(ratings) - 1) for ratings in paired) / len(values)
    expected = _squares(values) / (len(values) * (len(values) - 1))
    return None if expected == 0 else 1 - observed / expected


def of_judgements(rows: Iterable[TaskResult]) -> Agreement | None:
    """Agreement of the judges that decided these rows; None when there was no more than one."""
    rated: dict[tuple[str, ...], dict[int, bool | int | str]] = defaultdict(dict)
    for row in rows:
        for judgement in row.judgements:
            for name, value in judgement.verdicts.items():
                rated[row.key, judgement.question, _base(judgement), name][judgement.member] = value
    members = sorted({member for ratings in rated.values() for member in ratings})
    if len(members) < 2:
        return None
    return Agreement(
        members=len(members),
        verdicts=_nominal(_of_kind(rated, bool), members),
        preferences=_nominal(_of_kind(rated, str), members),
        scales=_scales(rated),
    )


def _base(judgement: Judgement) -> str:
    """The purpose without the range of its batch, which members with less context cut smaller."""
    return "criteria" if judgement.purpose.startswith("criteria") else judgement.purpose


Rated = Mapping[tuple[str, ...], Mapping[int, bool | int | str]]


def _of_kind(rated: Rated, kind: type) -> Iterator[Mapping[int, Hashable]]:
    return (ratings for ratings in rated.values() if all(type(value) is kind for value in ratings.values()))


def _nominal(rated: Iterable[Mapping[int, Hashable]], members: Sequence[int]) -> Agreed | None:
    """Kappa over the units that every member rated."""
    units = [[ratings[member] for member in members] for ratings in rated if len(ratings) == len(members)]
    if not units:
        return None
    if len(members) == 2:
        first, second = zip(*units, strict=True)
        return Agreed(method="cohen_kappa", value=cohen_kappa(first, second), units=len(units))
    return Agreed(method="fleiss_kappa", value=fleiss_kappa(units), units=len(units))


def _scales(rated: Rated) -> dict[str, Agreed]:
    by_scale: dict[str, list[list[float]]] = defaultdict(list)
    for (*_, name), ratings in rated.items():
        numbers = [float(value) for value in ratings.values() if type(value) is int]
        if len(numbers) >= 2:
            by_scale[name].append(numbers)
    return {
        name: Agreed(method="krippendorff_alpha", value=krippendorff_alpha(units), units=len(units))
        for name, units in sorted(by_scale.items())
    }


def _squares(values: Sequence[float]) -> float:
    """Sum of squared differences over all ordered pairs, about the mean so that large values lose no digits."""
    mean = sum(values) / len(values)
    return 2 * len(values) * sum((value - mean) ** 2 for value in values)


def _beyond_chance(observed: float, expected: float) -> float | None:
    return None if expected >= 1 else (observed - expected) / (1 - expected)


def cohen_kappa_interval(clusters: Sequence[Sequence[tuple[bool, bool]]], *, seed: int) -> Interval | None:
    """95 % interval of the kappa of two raters who say yes or no: percentile bootstrap over clusters, such as tasks.

    Verdicts on one answer stand or fall together, so whole clusters are drawn. None with fewer than two clusters, or when
    kappa is undefined in most of the resamples.
    """
    if len(clusters) < 2:
        return None
    import numpy as np  # noqa: PLC0415 - keeps --help quick

    labels = ((True, True), (True, False), (False, True), (False, False))
    counts = np.array([[sum(pair == label for pair in cluster) for label in labels] for cluster in clusters], float)
    draws = np.random.default_rng(seed).multinomial(len(clusters), [1 / len(clusters)] * len(clusters), RESAMPLES)
    both, first, second, neither = (draws @ counts).T
    total = both + first + second + neither
    observed = (both + neither) / total
    expected = ((both + first) * (both + second) + (second + neither) * (first + neither)) / total**2
    defined = expected < 1
    if 2 * defined.sum() < RESAMPLES:
        return None
    kappas = (observed[defined] - expected[defined]) / (1 - expected[defined])
    low, high = np.percentile(kappas, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))


Pair = tuple[float, float]
"""Points of the first rater and of the second for the same thing."""
_NO_SPREAD: Final = 1e-12
"""Below this a variance of points is rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; value None: undefined; interval None: the data do not show their spread."""

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PointsAgreement:
    """How far the points of a second rater agree with those of a first, in points where they are no shares."""

    units: int
    same_grade: Estimate
    exact: Estimate
    within_one: Estimate
    mean_absolute_error: Estimate
    bias: Estimate
    """Mean of the second rater's points less the first's."""
    quadratic_kappa: Estimate
    correlation: Estimate
    counts: Mapping[str, Mapping[str, int]]
    """By grade of the first rater, then of the second."""
    shares: Mapping[str, Mapping[str, Estimate]]
    """`counts` as shares of the first rater's grade; undefined where it gave none."""


def of_points(
    clusters: Sequence[Sequence[Pair]], *, grade: Callable[[float], str], grades: Sequence[str], seed: int
) -> PointsAgreement:
    """Agreement of two raters who give points. Raises ValueError without a pair.

    `clusters` are pairs that stand and fall together, such as answers to one problem: the bootstrap draws whole clusters.
    `grade` names the grade of a value, one of `grades`. Source: code-and-math specification 8.
    """
    import numpy as np  # noqa: PLC0415 - keeps --help quick

    counted = [Counter(cluster) for cluster in clusters]
    pairs = sorted({pair for counts in counted for pair in counts})
    if not pairs:
        raise ValueError("need at least one pair of points")
    by_cluster = np.array([[counts[pair] for pair in pairs] for counts in counted], float)
    points = _Points(np.array(pairs), [(grade(first), grade(second)) for first, second in pairs])
    estimate = _Estimator(by_cluster, seed=seed)
    return PointsAgreement(
        units=int(by_cluster.sum()),
        same_grade=estimate(points.same_grade),
        exact=estimate(points.exact),
        within_one=estimate(points.within_one),
        mean_absolute_error=estimate(points.mean_absolute_error),
        bias=estimate(points.bias),
        quadratic_kappa=estimate(points.quadratic_kappa),
        correlation=estimate(points.correlation),
        counts={one: {other: estimate.total(points.with_grades(one, other)) for other in grades} for one in grades},
        shares={one: {other: estimate(partial(points.share, one, other)) for other in grades} for one in grades},
    )


class _Estimator:
    """Figures over all clusters, with the interval that drawing clusters anew gives."""

    def __init__(self, by_cluster: Counts, *, seed: int) -> None:
        self._counts = by_cluster.sum(axis=0, keepdims=True)
        self._draws = _resampled(by_cluster, seed=seed)

    def __call__(self, figure: Callable[[Counts], Counts]) -> Estimate:
        value = float(figure(self._counts)[0])
        if isnan(value):
            return Estimate(value=None)
        return Estimate(value=value, interval=None if self._draws is None else _percentiles(figure(self._draws)))

    def total(self, marks: Counts) -> int:
        """How many pairs are marked."""
        return int((self._counts @ marks)[0])


class _Points:
    """Figures of two raters by how often each pair of points came: counts [n, pairs] -> [n], nan where undefined."""

    def __init__(self, pairs: Counts, grades: Sequence[tuple[str, str]]) -> None:
        self._first, self._second = pairs[:, 0], pairs[:, 1]
        self._off = self._second - self._first
        self._grades = grades

    def same_grade(self, counts: Counts) -> Counts:
        return self._mean(counts, [float(first == second) for first, second in self._grades])

    def exact(self, counts: Counts) -> Counts:
        return self._mean(counts, self._off == 0)

    def within_one(self, counts: Counts) -> Counts:
        return self._mean(counts, abs(self._off) <= 1)

    def mean_absolute_error(self, counts: Counts) -> Counts:
        return self._mean(counts, abs(self._off))

    def bias(self, counts: Counts) -> Counts:
        return self._mean(counts, self._off)

    def quadratic_kappa(self, counts: Counts) -> Counts:
        """1 - observed / expected squared difference; expected of independent raters with the same means and variances.

        Source: Cohen, Psychological Bulletin 70 (1968), 213-220, with weights (i - j)^2.
        """
        apart = self._mean(counts, self._first) - self._mean(counts, self._second)
        expected = self._spread(counts, self._first) + self._spread(counts, self._second) + apart**2
        return 1 - _ratio(self._mean(counts, self._off**2), expected)

    def correlation(self, counts: Counts) -> Counts:
        """Pearson's r."""
        means = self._mean(counts, self._first) * self._mean(counts, self._second)
        together = self._mean(counts, self._first * self._second) - means
        spread = self._spread(counts, self._first) * self._spread(counts, self._second)
        return _ratio(together, spread.clip(min=0) ** 0.5).clip(-1, 1)

    def share(self, first: str, second: str, counts: Counts) -> Counts:
        """Of what the first rater gave this grade, what the second gave that one."""
        return _ratio(counts @ self.with_grades(first, second), counts @ self.with_grades(first, None))

    def with_grades(self, first: str, second: str | None) -> Counts:
        """1 for the pairs that have these grades, else 0. None: any grade of the second rater."""
        import numpy as np  # noqa: PLC0415

        return np.array([float(one == first and second in {other, None}) for one, other in self._grades])

    def _spread(self, counts: Counts, values: Counts) -> Counts:
        """Variance of the points of a rater; exactly 0 where they are all the same."""
        import numpy as np  # noqa: PLC0415

        variance = self._mean(counts, values**2) - self._mean(counts, values) ** 2
        return np.where(variance < _NO_SPREAD, 0.0, variance)

    def _mean(self, counts: Counts, values: Sequence[float] | NDArray[np.bool_ | np.float64]) -> Counts:
        import numpy as np  # noqa: PLC0415

        return _ratio(counts @ np.asarray(values, float), counts.sum(axis=1))


def _ratio(part: Counts, whole: Counts) -> Counts:
    """Nan where the whole is nothing."""
    import numpy as np  # noqa: PLC0415

    shares: Counts = np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)
    return shares


def _resampled(by_cluster: Counts, *, seed: int) -> Counts | None:
    """Counts of pairs in RESAMPLES draws of as many clusters; None for fewer than two, which show no spread."""
    clusters = len(by_cluster)
    if clusters < 2:
        return None
    import numpy as np  # noqa: PLC0415

    draws = np.random.default_rng(seed).multinomial(clusters, [1 / clusters] * clusters, RESAMPLES)
    drawn: Counts = draws @ by_cluster
    return drawn


def _percentiles(values: Counts) -> Interval | None:
    """The middle 95 %; None when most are undefined, or all the same: the bootstrap cannot see beyond its sample."""
    import numpy as np  # noqa: PLC0415

    defined = values[~np.isnan(values)]
    if 2 * len(defined) < len(values) or np.ptp(defined) == 0:
        return None
    low, high = np.percentile(defined, [2.5, 97.5])
    return Interval(low=float(low), high=float(high))
