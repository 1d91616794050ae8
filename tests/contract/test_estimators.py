from itertools import combinations
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.estimators import (
    Estimate,
    Interval,
    bootstrap_mean,
    pass_at_k,
    pass_hat_k,
    relative_success,
    score_interval,
    weighted_interval,
    wilson,
)

PASS_AT_K = [
    (5, 2, 1, 0.4),
    (5, 2, 2, 0.7),
    (5, 2, 4, 1.0),
    (10, 3, 5, 0.916666666667),
    (20, 1, 10, 0.5),
    (200, 7, 1, 0.035),
    (200, 7, 10, 0.305598811618),
    (200, 7, 100, 0.992991117242),
    (200, 1, 200, 1.0),
    (10000, 3, 100, 0.029703940788),
    (1, 0, 1, 0.0),
]
PASS_HAT_K = [(4, 3, 2, 0.5), (4, 3, 4, 0.0), (5, 2, 2, 0.1), (8, 6, 4, 0.214285714286), (10, 9, 8, 0.2)]
WILSON = [
    (0, 10, 0.0, 0.277533),
    (7, 10, 0.396778, 0.892209),
    (10, 10, 0.722467, 1.0),
    (82, 164, 0.424357, 0.575643),
    (257, 400, 0.594382, 0.687907),
]


@pytest.mark.parametrize(("trials", "successes", "k", "expected"), PASS_AT_K)
def test_pass_at_k_gives_the_published_values(trials: int, successes: int, k: int, expected: float) -> None:
    assert pass_at_k(trials=trials, successes=successes, k=k) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("trials", "successes", "k", "expected"), PASS_HAT_K)
def test_pass_hat_k_gives_the_published_values(trials: int, successes: int, k: int, expected: float) -> None:
    assert pass_hat_k(trials=trials, successes=successes, k=k) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("successes", "trials", "low", "high"), WILSON)
def test_the_wilson_interval_gives_the_published_values(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson(successes=successes, trials=trials)

    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-6)


@given(trials=st.integers(1, 8), data=st.data())
def test_both_estimators_equal_brute_force_over_all_subsets(trials: int, data: st.DataObject) -> None:
    successes, k = data.draw(st.integers(0, trials)), data.draw(st.integers(1, trials))
    subsets = list(combinations([True] * successes + [False] * (trials - successes), k))

    any_right = sum(map(any, subsets)) / len(subsets)
    all_right = sum(map(all, subsets)) / len(subsets)

    assert isclose(pass_at_k(trials=trials, successes=successes, k=k) or 0.0, any_right, abs_tol=1e-12)
    assert isclose(pass_hat_k(trials=trials, successes=successes, k=k) or 0.0, all_right, abs_tol=1e-12)


@given(trials=st.integers(2, 40), k=st.integers(1, 39), data=st.data())
def test_asking_for_one_more_success_never_raises_the_chance(trials: int, k: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))

    fewer, more = (pass_hat_k(successes=successes, trials=trials, k=n) for n in (k, k + 1))

    assert more is None or (fewer is not None and more <= fewer)


def test_a_chance_over_more_trials_than_were_scored_is_unknown() -> None:
    assert pass_at_k(trials=3, successes=3, k=4) is None
    assert pass_hat_k(trials=3, successes=3, k=4) is None


def test_contradicting_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="successes=4 trials=3"):
        pass_at_k(trials=3, successes=4, k=1)


def test_single_binary_trials_get_the_wilson_interval_and_fractions_the_bootstrap() -> None:
    binary = score_interval([1.0] * 7 + [0.0] * 3, one_trial_each=True, seed=1)
    fractions = score_interval([0.2, 0.4, 0.9, 1.0], one_trial_each=True, seed=1)

    assert binary is not None
    assert binary.low == pytest.approx(0.396778, abs=1e-6)
    assert fractions is not None
    assert 0.2 <= fractions.low < 0.625 < fractions.high <= 1.0


def test_equal_fractions_leave_the_spread_unknown() -> None:
    assert score_interval([0.5, 0.5], one_trial_each=True, seed=1) is None


def test_the_bootstrap_repeats_itself_with_the_same_seed() -> None:
    values = [n * n / 1369 for n in range(37)]

    assert bootstrap_mean(values, seed=3) == bootstrap_mean(values, seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


def test_one_part_alone_keeps_its_interval_and_two_equal_ones_narrow_it() -> None:
    part = Estimate(weight=0.2, mean=50.0, interval=Interval(low=30.0, high=60.0))

    alone, both = weighted_interval([part]), weighted_interval([part, part])

    assert (alone.low, alone.high) == pytest.approx((30.0, 60.0))
    assert (both.low, both.high) == pytest.approx((50 - 20 / 2**0.5, 50 + 10 / 2**0.5))


def test_a_part_whose_scores_are_all_zero_still_leaves_the_whole_uncertain() -> None:
    zeros = Estimate(weight=1.0, mean=0.0, interval=wilson(successes=0, trials=10))

    assert weighted_interval([zeros, zeros]).high > 0.15


@pytest.mark.parametrize(
    ("accuracy", "base", "expected"), [(96.6, 82.8, 80.2326), (83.2, 49.4, 66.7984), (70, 80, -50), (100, 100, None)]
)
def test_relative_success_gives_the_published_values(accuracy: float, base: float, expected: float | None) -> None:
    found = relative_success(accuracy=accuracy, base=base)

    assert found == (expected if expected is None else pytest.approx(expected, abs=1e-4))
