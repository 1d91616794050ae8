"""Indicators against vectors computed by hand and against a plain recomputation from the start."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.benchmarks.crypto.indicators import Indicators, IndicatorValues
from tests.green_agent.benchmarks.crypto.markets import flat, market

WILDER = (44, 44.25, 44.5, 43.75, 44.5, 45.25, 45.75, 46, 45.5, 46.25, 46.5, 46.25, 46.75, 47, 46.5, 46.25, 46.75)


def indicators_of(closes: tuple[float, ...], reach: float) -> list[IndicatorValues]:
    """The indicators after each close, highs and lows `reach` around it."""
    indicators = Indicators()
    values = []
    for close in closes:
        indicators.push(high=close + reach, low=close - reach, close=close)
        values.append(indicators.values())
    return values


def test_a_straight_rise_gives_the_values_of_the_specification() -> None:
    after_60 = indicators_of(tuple(100.0 + i for i in range(60)), 1.0)[-1]

    assert after_60.ema_20 == pytest.approx(149.5)
    assert after_60.ema_50 == pytest.approx(134.5)
    assert after_60.rsi == 100.0
    assert after_60.macd == pytest.approx(7.0)
    assert after_60.atr == pytest.approx(2.0)


def test_wilders_averages_begin_at_the_fourteenth_change_and_then_roll() -> None:
    values = indicators_of(WILDER, 0.25)

    assert [value.rsi for value in values[:14]] == [None] * 14
    assert [value.atr for value in values[:14]] == [None] * 14
    assert [value.rsi for value in values[14:]] == pytest.approx([69.230769, 66.477273, 69.122383], rel=1e-6)
    assert [value.atr for value in values[14:]] == pytest.approx([0.714286, 0.698980, 0.702624], rel=1e-6)


def test_each_indicator_appears_at_its_own_bar() -> None:
    values = indicators_of(tuple(100.0 + i % 7 for i in range(60)), 1.0)

    first = {
        name: next(i for i, value in enumerate(values) if getattr(value, name) is not None)
        for name in ("rsi", "atr", "ema_20", "macd", "ema_50")
    }

    assert first == {"rsi": 14, "atr": 14, "ema_20": 19, "macd": 25, "ema_50": 49}


def test_a_price_that_never_moves_has_a_neutral_rsi_and_no_range() -> None:
    last = indicators_of((100.0,) * 60, 0.0)[-1]

    assert last == IndicatorValues(ema_20=100.0, ema_50=100.0, rsi=50.0, macd=0.0, atr=0.0)


def test_a_gap_counts_into_the_true_range() -> None:
    indicators = Indicators()
    indicators.push_all(market(flat(100), *[flat(110)] * 14))

    assert indicators.values().atr == pytest.approx(10 / 14)


@given(st.lists(st.floats(1, 1000), min_size=60, max_size=90))
def test_rolling_values_equal_a_recomputation_from_the_start(closes: list[float]) -> None:
    value = indicators_of(tuple(closes), 0.5)[-1]

    ema = sum(closes[:20]) / 20
    for close in closes[20:]:
        ema = ema * 19 / 21 + close * 2 / 21
    gains = [max(b - a, 0) for a, b in pairwise(closes)]
    losses = [max(a - b, 0) for a, b in pairwise(closes)]
    gain, loss = sum(gains[:14]) / 14, sum(losses[:14]) / 14
    for g, lost in zip(gains[14:], losses[14:], strict=True):
        gain, loss = (13 * gain + g) / 14, (13 * loss + lost) / 14

    assert value.ema_20 == pytest.approx(ema)
    assert value.rsi == pytest.approx(50.0 if gain + loss == 0 else 100 * gain / (gain + loss), abs=1e-6)
