"""Bars: what is refused, how they are joined, aggregated, rounded and scaled."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.benchmarks.crypto.bars import Bars, aggregate, check, round8, scale
from tests.green_agent.benchmarks.crypto.markets import flat, market

GOOD = market((100, 112, 98, 110), (110, 111, 105, 106), (106, 120, 106, 119), (119, 119, 118, 118))


def test_good_bars_pass() -> None:
    check(GOOD, "window")

    assert len(GOOD) == 4


@pytest.mark.parametrize(
    ("bars", "fault"),
    [
        (replace(GOOD, lows=(98, 107, 106, 118)), "window: bar 1: open 110 and close 106 do not lie between low 107"),
        (replace(GOOD, highs=(112, 109, 120, 119)), "window: bar 1: open 110 and close 106 do not lie between low 105"),
        (replace(GOOD, lows=(98, 105, 0, 118)), "window: bar 2: low 0 is not above 0"),
        (replace(GOOD, closes=(110, float("nan"), 119, 118)), "window: bar 1: closes is nan"),
        (replace(GOOD, highs=(112, float("inf"), 120, 119)), "window: bar 1: highs is inf"),
        (replace(GOOD, volumes=(1, 1, 1, -1)), "window: bar 3: volume -1 is negative"),
        (replace(GOOD, times_ms=(1, 2, 2, 3)), "window: bar 2: time 2 does not come after 2"),
        (scale(GOOD, 1e-300), "window: bar 0: low 9.8e-299 lies outside 1e-15 to 1e+15"),
        (scale(GOOD, 1e160), "window: bar 0: low 9.8e+161 lies outside 1e-15 to 1e+15"),
        (replace(GOOD, volumes=(1, 1e308, 1, 1)), "window: bar 1: volumes is 1e+308, at most 1e+24"),
        (replace(GOOD, open_interest=(1, 1e308, 1, 1)), "window: bar 1: open_interest is 1e+308, at most 1e+24"),
        (replace(GOOD, funding=(0, 0, -1e300, 0)), "window: bar 2: funding is -1e+300, at most 1"),
        (replace(GOOD, times_ms=(1, 2, 3, 10**16)), "window: bar 3: comes more than 1000 years after the first"),
        (replace(GOOD, funding=(0.0,)), "window: columns of different length"),
        (GOOD.slice(0, 2), "window: 2 bars, at least 3 are needed"),
        (replace(GOOD, bar_ms=0), "window: bar length 0 ms"),
    ],
)
def test_bars_no_market_can_have_made_are_refused_by_name(bars: Bars, fault: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(fault)}"):
        check(bars, "window")


def test_a_stride_aggregates_instead_of_skipping() -> None:
    pairs = aggregate(replace(GOOD, volumes=(1, 2, 3, 4), funding=(0.1, 0.2, 0.3, 0.4)), 2)

    assert pairs.opens == (100.0, 106.0)
    assert pairs.highs == (112.0, 120.0)
    assert pairs.lows == (98.0, 106.0)
    assert pairs.closes == (106.0, 118.0)
    assert pairs.volumes == (3.0, 7.0)
    assert pairs.funding == (0.2, 0.4)
    assert pairs.times_ms == (GOOD.times_ms[0], GOOD.times_ms[2])
    assert pairs.bar_ms == 2 * GOOD.bar_ms


def test_a_rest_that_fills_no_bar_is_dropped() -> None:
    assert len(aggregate(GOOD, 3)) == 1
    assert aggregate(GOOD, 1) == GOOD


@pytest.mark.parametrize("stride", [0, -1, 5])
def test_a_stride_without_a_whole_bar_is_refused(stride: int) -> None:
    with pytest.raises(ValueError, match=f"stride {stride} leaves no whole bar of 4"):
        aggregate(GOOD, stride)


def test_slices_join_to_the_whole() -> None:
    assert GOOD.slice(0, 1).joined(GOOD.slice(1, 4)) == GOOD


def test_numbers_keep_eight_significant_digits() -> None:
    rounded = round8(market(flat(47123.456789), flat(0.00012345678949), flat(100)))

    assert rounded.closes == (47123.457, 0.00012345679, 100.0)
    assert rounded.times_ms == GOOD.times_ms[:3]


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3))
def test_rounding_leaves_bars_in_order(price: float, factor: float) -> None:
    bars = round8(scale(GOOD, price, factor))

    check(bars, "scaled")
    assert round8(bars) == bars


def test_scaling_moves_prices_one_way_and_base_volume_the_other() -> None:
    bars = scale(GOOD, 4.0, 2.0)

    assert bars.closes == (440.0, 424.0, 476.0, 472.0)
    assert bars.highs == (448.0, 444.0, 480.0, 476.0)
    assert bars.volumes == (500.0,) * 4
    assert bars.open_interest == (2e6,) * 4
    assert bars.funding == GOOD.funding


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_a_factor_that_is_no_factor_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="factors must be above 0 and finite"):
        scale(GOOD, factor)
