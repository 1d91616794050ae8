"""How far raters agree beyond chance: Cohen, Fleiss, Krippendorff, each formula once. Pure.

Values are 1 for agreement, 0 for what chance would give, below 0 for less; None where the ratings do not vary, so that chance
cannot be told from agreement.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.contract.estimators import RESAMPLES, Interval
from services.contract.judgements import Judgement
from services.contract.results import TaskResult

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
