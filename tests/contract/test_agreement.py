"""Agreement beyond chance, against published examples and properties that hold for any ratings."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.contract.agreement import (
    Agreed,
    PointsAgreement,
    cohen_kappa,
    cohen_kappa_interval,
    fleiss_kappa,
    krippendorff_alpha,
    of_judgements,
    of_points,
)
from services.contract.judgements import Judgement
from services.contract.outcomes import Outcome
from services.contract.results import Section, TaskResult

LABELS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


def row(*judgements: Judgement, task_id: str = "t1") -> TaskResult:
    return TaskResult(
        task_id=task_id,
        benchmark="prbench",
        section=Section.KNOWLEDGE_RETRIEVAL,
        trial=0,
        outcome=Outcome.SCORED,
        score=1.0,
        judgements=judgements,
    )


def said(member: int, *, purpose: str = "criteria 1-10", kind: str = "", **verdicts: bool | int | str) -> Judgement:
    return Judgement(purpose=purpose, model=f"m{member}", question="q", member=member, kind=kind, verdicts=verdicts)


def test_kappa_of_the_specification_is_0_4() -> None:
    """Both yes 4, both no 3, only A 2, only B 1."""
    first = [True] * 4 + [False] * 3 + [True] * 2 + [False]
    second = [True] * 4 + [False] * 3 + [False] * 2 + [True]

    assert cohen_kappa(first, second) == pytest.approx(0.4)


def test_fleiss_kappa_of_his_own_example() -> None:
    """Ten subjects, fourteen raters, five categories; 0.210 in the literature."""
    table = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    units = [[label for label, count in enumerate(counts) for _ in range(count)] for counts in table]

    assert fleiss_kappa(units) == pytest.approx(0.20993, abs=1e-5)


def test_krippendorff_alpha_of_the_usual_example_with_missing_values() -> None:
    """Three coders, fifteen units, many values missing; interval alpha 0.811 in the literature."""
    units = [
        [1], [], [2, 2], [1, 1], [3, 3], [3, 3, 4], [4, 4, 4], [1, 3], [2, 2], [1, 1], [1, 1], [3, 3], [3, 3], [], [3, 4],
    ]  # fmt: skip

    assert krippendorff_alpha(units) == pytest.approx(0.811, abs=5e-4)


@given(LABELS)
def test_the_order_of_raters_does_not_matter(pairs: list[tuple[bool, bool]]) -> None:
    first, second = zip(*pairs, strict=True)

    assert cohen_kappa(first, second) == cohen_kappa(second, first)


@given(LABELS)
def test_kappa_is_never_above_1_and_is_1_for_raters_that_agree_on_ratings_that_vary(
    pairs: list[tuple[bool, bool]],
) -> None:
    first, second = zip(*pairs, strict=True)
    value = cohen_kappa(first, second)

    assert value is None or value <= 1
    if len(set(first)) == 2:
        assert cohen_kappa(first, first) == pytest.approx(1)


@given(st.lists(st.lists(st.integers(0, 25), min_size=2, max_size=5), min_size=2, max_size=20), st.integers(-50, 50))
def test_alpha_does_not_depend_on_where_the_scale_begins(units: list[list[int]], shift: int) -> None:
    value = krippendorff_alpha(units)
    moved = krippendorff_alpha([[rating + shift for rating in ratings] for ratings in units])
    assume(value is not None and moved is not None)

    assert moved == pytest.approx(value)


def test_ratings_that_do_not_vary_leave_agreement_undefined() -> None:
    assert cohen_kappa([True, True], [True, True]) is None
    assert fleiss_kappa([[1, 1, 1], [1, 1, 1]]) is None
    assert krippendorff_alpha([[5, 5], [5, 5]]) is None


def test_unequal_numbers_of_ratings_are_refused() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        cohen_kappa([True, False], [True])
    with pytest.raises(ValueError, match="same number"):
        fleiss_kappa([[1, 1], [1, 1, 1]])
    with pytest.raises(ValueError, match="at least two"):
        krippendorff_alpha([[1], [2]])


def test_the_interval_holds_kappa_and_is_unknown_for_a_single_task() -> None:
    clusters = [[(True, True)] * 4, [(False, False)] * 3, [(True, False)] * 2, [(False, True)]] * 5
    interval = cohen_kappa_interval(clusters, seed=1)

    assert interval is not None
    assert interval.low < 0.4 < interval.high
    assert cohen_kappa_interval(clusters[:1], seed=1) is None


def test_a_panel_of_two_is_compared_by_cohens_kappa_over_all_rows() -> None:
    pairs = [(True, True)] * 4 + [(False, False)] * 3 + [(True, False)] * 2 + [(False, True)]
    rows = [row(said(0, c01=a), said(1, c01=b), task_id=f"t{n}") for n, (a, b) in enumerate(pairs)]

    found = of_judgements(rows)

    assert found is not None
    assert (found.members, found.verdicts.units if found.verdicts else 0) == (2, 10)
    assert found.verdicts is not None
    assert found.verdicts.method == "cohen_kappa"
    assert found.verdicts.value == pytest.approx(0.4)


def test_batches_of_different_sizes_and_failed_calls_are_matched_by_criterion() -> None:
    whole = said(0, purpose="criteria 1-2", c01=True, c02=False)
    parts = (said(1, purpose="criteria 1", c01=True), said(1, purpose="criteria 2", c02=False))
    failed = said(1, purpose="criteria 1-2", kind="not_json")

    found = of_judgements([row(whole, failed, *parts)])

    assert found is not None
    assert found.verdicts == Agreed(method="cohen_kappa", value=1.0, units=2)


def test_three_judges_scales_and_preferences_have_measures_of_their_own() -> None:
    rows = [
        row(
            *(said(m, purpose="scales", completion=10 + n) for m in range(3)),
            *(said(m, purpose="compare", verdict=("first", "second")[n % 2]) for m in range(3)),
            task_id=f"t{n}",
        )
        for n in range(4)
    ]

    found = of_judgements(rows)

    assert found is not None
    assert found.verdicts is None
    assert found.preferences == Agreed(method="fleiss_kappa", value=1.0, units=4)
    assert found.scales == {"completion": Agreed(method="krippendorff_alpha", value=1.0, units=4)}


def test_one_judge_has_nobody_to_agree_with() -> None:
    assert of_judgements([row(said(0, c01=True)), row(task_id="t2")]) is None


GRADES = ("incorrect", "partial", "almost", "correct")
PEOPLE, JUDGE = (7, 0, 6, 1, 7, 3), (7, 1, 6, 0, 5, 3)
POINTS = st.integers(0, 7).map(float)
CLUSTERS = st.lists(st.lists(st.tuples(POINTS, POINTS), min_size=1, max_size=5), min_size=1, max_size=8)


def grade(points: float) -> str:
    return "correct" if points == 7 else "almost" if points >= 6 else "partial" if points >= 1 else "incorrect"


def points_of(*clusters: list[tuple[float, float]], seed: int = 1) -> PointsAgreement:
    return of_points(clusters, grade=grade, grades=GRADES, seed=seed)


def test_points_of_the_specification() -> None:
    found = points_of(*([pair] for pair in zip(map(float, PEOPLE), map(float, JUDGE), strict=True)))

    assert found.units == 6
    assert (found.same_grade.value, found.exact.value) == (0.5, 0.5)
    assert found.within_one.value == pytest.approx(5 / 6)
    assert found.mean_absolute_error.value == pytest.approx(0.666667, abs=1e-6)
    assert found.bias.value == pytest.approx(-0.333333, abs=1e-6)
    assert found.quadratic_kappa.value == pytest.approx(0.931818, abs=1e-6)
    assert found.correlation.value == pytest.approx(0.943589, abs=1e-6)
    assert found.counts["correct"] == {"incorrect": 0, "partial": 1, "almost": 0, "correct": 1}
    assert found.counts["partial"] == {"incorrect": 1, "partial": 1, "almost": 0, "correct": 0}
    assert found.shares["correct"]["partial"].value == 0.5


def test_intervals_of_points_come_from_whole_clusters_and_from_the_seed() -> None:
    pairs = [(float(a), float(b)) for a, b in zip(PEOPLE, JUDGE, strict=True)]
    alone, together = points_of(*([pair] for pair in pairs)), points_of(pairs[:3], pairs[3:])

    assert alone.exact.interval is not None
    assert alone.exact.interval.low < 0.5 < alone.exact.interval.high
    assert alone == points_of(*([pair] for pair in pairs))
    assert alone.quadratic_kappa != points_of(*([pair] for pair in pairs), seed=2).quadratic_kappa
    assert together.exact.value == alone.exact.value
    assert together.exact.interval is not None
    assert (together.exact.interval.low, together.exact.interval.high) == pytest.approx((1 / 3, 2 / 3))
    assert points_of(pairs).exact.interval is None


def test_what_points_that_never_vary_cannot_tell_is_undefined() -> None:
    found = points_of([(7.0, 7.0)], [(7.0, 7.0)])

    assert (found.exact.value, found.exact.interval) == (1.0, None)
    assert (found.quadratic_kappa.value, found.correlation.value) == (None, None)
    assert found.shares["partial"]["partial"].value is None
    with pytest.raises(ValueError, match="at least one pair"):
        points_of()


@settings(max_examples=25, deadline=None)
@given(CLUSTERS)
def test_figures_of_points_agree_with_their_definitions(clusters: list[list[tuple[float, float]]]) -> None:
    pairs = [pair for cluster in clusters for pair in cluster]
    found = points_of(*clusters)

    assert found.exact.value == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert found.mean_absolute_error.value == pytest.approx(sum(abs(a - b) for a, b in pairs) / len(pairs))
    assert found.bias.value == pytest.approx(sum(b - a for a, b in pairs) / len(pairs))
    expected = sum((a - b) ** 2 for a, _ in pairs for _, b in pairs) / len(pairs) ** 2
    kappa = 1 - sum((a - b) ** 2 for a, b in pairs) / len(pairs) / expected if expected else None
    assert found.quadratic_kappa.value == (kappa if kappa is None else pytest.approx(kappa))
    assert sum(sum(row.values()) for row in found.counts.values()) == found.units == len(pairs)
