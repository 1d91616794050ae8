"""Transforms: inversion, scaling, noise and injected events."""

import math
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from statistics import fmean, pstdev, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.benchmarks.crypto.bars import Bars, check
from services.green_agent.benchmarks.crypto.metrics import close_returns_sd
from services.green_agent.benchmarks.crypto.scenario_generator import GeneratorConfig, walk
from services.green_agent.benchmarks.crypto.transforms import (
    draw_events,
    draw_slippage,
    inject,
    inverted,
    noise_factors,
    noisy,
    parse_transform,
)
from tests.green_agent.benchmarks.crypto.markets import market, of_closes

RNG = random.Random


def generated(bars: int, seed: int = 1) -> Bars:
    """A market of our own generator."""
    return walk(RNG(seed), GeneratorConfig(bars=bars)).bars


def test_inversion_undoes_every_return() -> None:
    assert inverted(of_closes(100, 110, 99)).closes == pytest.approx((100, 90.909091, 101.010101))


def test_inversion_swaps_high_and_low() -> None:
    bars = inverted(market((100, 100, 100, 100), (100, 112, 98, 110), (110, 110, 110, 110), funding=0.001))

    bar = (bars.opens[1], bars.highs[1], bars.lows[1], bars.closes[1])
    assert bar == pytest.approx((100, 102.040816, 89.285714, 90.909091))
    assert bars.funding == (-0.001,) * 3
    assert inverted(replace(bars, cvd=(1.0, 2.0, -3.0))).cvd == (-1, -2, 3)
    assert bars.volumes[1] == pytest.approx(1000 * 110 / 90.909091)


@given(st.integers(0, 1000))
def test_inverting_twice_gives_the_market_back(seed: int) -> None:
    bars = generated(20, seed)
    twice = inverted(inverted(bars))

    check(inverted(bars), "inverted")
    for column in ("opens", "highs", "lows", "closes", "volumes", "funding"):
        assert getattr(twice, column) == pytest.approx(getattr(bars, column), rel=1e-12, abs=0)


@pytest.mark.parametrize(("name", "factor"), [("scale_1_1", 1.1), ("scale_0_25", 0.25), ("scale_10_0", 10.0)])
def test_a_scale_is_read_from_its_name(name: str, factor: float) -> None:
    bars = parse_transform(name).apply(of_closes(100, 110, 99))

    assert bars.closes == pytest.approx((100 * factor, 110 * factor, 99 * factor))
    assert bars.volumes == pytest.approx((1000 / factor,) * 3)


def test_identity_and_inversion_have_their_names() -> None:
    bars = of_closes(100, 110, 99)

    assert parse_transform("identity").apply(bars) is bars
    assert parse_transform("invert_returns").apply(bars) == inverted(bars)


@pytest.mark.parametrize(
    "name", ["", "Identity", "scale_1", "scale_0_0", "scale_1_1_1", "scale_-1_0", "scale_99999_1", None, "scale_1_1\n"]
)
def test_an_unknown_transform_is_refused_with_the_known_ones(name: object) -> None:
    with pytest.raises(ValueError, match=r"known: identity, scale_<a>_<b> .*, invert_returns"):
        parse_transform(name)


def test_noise_is_drawn_once_a_bar_and_cut_at_four_deviations() -> None:
    factors = noise_factors(RNG(3), 200_000, 0.001)

    assert fmean(factors) == pytest.approx(1, abs=1e-5)
    assert stdev(factors) == pytest.approx(0.001, rel=0.01)
    assert max(abs(factor - 1) for factor in factors) == pytest.approx(0.004)
    assert noise_factors(RNG(3), 5, 0.001) == factors[:5]


def test_noise_moves_the_four_prices_of_a_bar_together() -> None:
    bars = market((100, 112, 98, 110), (110, 111, 105, 106), (106, 120, 106, 119))

    shown = noisy(bars, (1.0, 1.01, 0.99))

    check(shown, "noisy")
    assert (shown.opens[1], shown.highs[1], shown.lows[1], shown.closes[1]) == pytest.approx(
        (111.1, 112.11, 106.05, 107.06)
    )
    assert shown.volumes == bars.volumes


def test_slippage_is_one_value_a_bar_in_its_range() -> None:
    values = draw_slippage(RNG(1), 10_000, (0.0002, 0.001))

    assert 0.0002 <= min(values) < 0.00021
    assert 0.00099 < max(values) <= 0.001
    assert fmean(values) == pytest.approx(0.0006, rel=0.02)
    assert draw_slippage(RNG(1), 3, (0, 0)) == (0, 0, 0)


def test_events_never_overlap_and_leave_the_ends_alone() -> None:
    events = draw_events(RNG(1), 500, 1.0, 0.01)

    assert events[0].bar == 1
    assert events[-1].bar <= 498
    for earlier, later in pairwise(events):
        assert later.bar == earlier.bar + (5 if earlier.course is None else 6)


def test_kinds_and_courses_are_equally_likely() -> None:
    events = draw_events(RNG(1), 50_000, 1.0, 0.01)

    kinds = Counter(event.kind for event in events)
    courses = Counter(event.course for event in events if event.course)
    assert [count / len(events) for count in kinds.values()] == pytest.approx([1 / 3] * 3, abs=0.02)
    assert [count / courses.total() for count in courses.values()] == pytest.approx([1 / 3] * 3, abs=0.02)
    assert all(0.04 <= abs(event.size) <= 0.08 for event in events if event.course)
    assert all((event.size < 0) == (event.kind == "flash_crash") for event in events if event.course)


def test_a_rate_of_zero_changes_nothing() -> None:
    bars = generated(50)

    injected = inject(bars, RNG(1), 0.0, 0.01)

    assert (injected.bars, injected.events, set(injected.slippage)) == (bars, (), {1.0})


@given(st.integers(0, 300))
def test_an_event_runs_its_course_and_touches_nothing_before_it(seed: int) -> None:
    bars = of_closes(*[100.0] * 9, reach=1.0)
    injected = inject(bars, RNG(seed), 1.0, 0.01)
    event = injected.events[0]
    closes = injected.bars.closes

    check(injected.bars, "injected")
    assert event.bar == 1
    assert injected.bars.closes[0] == 100
    if event.course is None:
        assert closes[:6] == (100,) * 6
        assert injected.bars.volumes[:7] == (1000, *[pytest.approx(100)] * 5, injected.bars.volumes[6])
        assert injected.slippage[:6] == (1, 5, 5, 5, 5, 5)
        return
    after = {"reverts": 0.0, "stays": event.size, "continues": 2 * event.size}[event.course]
    assert 2 <= event.settles <= 6
    for t in range(1, 7):
        expected = event.size if t < event.settles else after
        assert math.log(closes[t] / 100) == pytest.approx(expected, abs=1e-12)
    assert injected.slippage[:7] == (1,) * 7


def test_a_shock_is_a_jump_at_the_open_so_that_no_stop_fills_on_the_way() -> None:
    bars = of_closes(*[100.0] * 9, reach=5.0)
    injected = inject(bars, RNG(2), 1.0, 0.004)
    event = injected.events[0]
    assert event.course is not None

    factor = math.exp(event.size)
    shown = injected.bars
    assert [shown.opens[1], shown.highs[1], shown.lows[1], shown.closes[1]] == pytest.approx(
        [100 * factor, 105 * factor, 95 * factor, 100 * factor]
    )


def test_fading_2600_shocks_has_no_edge() -> None:
    """Against the shock at the next open, out at the close of the fifth bar after it."""
    bars = generated(24_000)
    injected = inject(bars, RNG(1), 1.0, close_returns_sd(bars))
    shocks = [event for event in injected.events if event.course and event.bar + 5 < len(bars)][:2600]

    returns = [
        (-1 if event.size > 0 else 1) * (injected.bars.closes[event.bar + 5] / injected.bars.opens[event.bar + 1] - 1)
        for event in shocks
    ]

    assert len(returns) == 2600
    assert abs(fmean(returns)) <= 2 * pstdev(returns) / math.sqrt(2600)
