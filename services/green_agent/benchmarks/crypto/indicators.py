"""EMA, RSI, MACD and ATR of a price path, one bar at a time and in constant work and memory a bar.

Finance specification 7.6. Averages begin with a simple mean; RSI and ATR are Wilder's (1978).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.green_agent.benchmarks.crypto.bars import Bars

PERIOD: Final = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class IndicatorValues:
    """Indicators after one bar; None before an indicator is defined."""

    ema_20: float | None
    ema_50: float | None
    rsi: float | None
    """0..100; 50 when the price has not moved."""
    macd: float | None
    """EMA 12 less EMA 26."""
    atr: float | None


class _Ema:
    """Exponential mean over `period` closes, seeded with the simple mean of the first `period`."""

    __slots__ = ("_count", "_decay", "_period", "_sum", "value")

    def __init__(self, period: int) -> None:
        self._period = period
        self._decay = 2 / (period + 1)
        self._count = 0
        self._sum = 0.0
        self.value: float | None = None

    def push(self, close: float) -> None:
        if self.value is not None:
            self.value += self._decay * (close - self.value)
            return
        self._count += 1
        self._sum += close
        if self._count == self._period:
            self.value = self._sum / self._period


class _Wilder:
    """Mean of the first 14 values, then (13 x old + new) / 14."""

    __slots__ = ("_count", "_sum", "value")

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self.value: float | None = None

    def push(self, new: float) -> None:
        if self.value is not None:
            self.value = ((PERIOD - 1) * self.value + new) / PERIOD
            return
        self._count += 1
        self._sum += new
        if self._count == PERIOD:
            self.value = self._sum / PERIOD


class Indicators:
    """The indicators of one path. Push the bars in order, warm-up first."""

    __slots__ = ("_atr", "_ema_12", "_ema_20", "_ema_26", "_ema_50", "_gain", "_last", "_loss")

    def __init__(self) -> None:
        self._ema_12, self._ema_20, self._ema_26, self._ema_50 = _Ema(12), _Ema(20), _Ema(26), _Ema(50)
        self._gain, self._loss, self._atr = _Wilder(), _Wilder(), _Wilder()
        self._last: float | None = None

    def push(self, *, high: float, low: float, close: float) -> None:
        """Take in one bar."""
        for ema in (self._ema_12, self._ema_20, self._ema_26, self._ema_50):
            ema.push(close)
        last, self._last = self._last, close
        if last is None:
            return
        change = close - last
        self._gain.push(max(change, 0.0))
        self._loss.push(max(-change, 0.0))
        self._atr.push(max(high, last) - min(low, last))

    def push_all(self, bars: Bars) -> None:
        """Take in every bar of `bars`."""
        for high, low, close in zip(bars.highs, bars.lows, bars.closes, strict=True):
            self.push(high=high, low=low, close=close)

    def values(self) -> IndicatorValues:
        """The indicators after the last bar taken in."""
        fast, slow = self._ema_12.value, self._ema_26.value
        return IndicatorValues(
            ema_20=self._ema_20.value,
            ema_50=self._ema_50.value,
            rsi=_rsi(self._gain.value, self._loss.value),
            macd=None if fast is None or slow is None else fast - slow,
            atr=self._atr.value,
        )


def _rsi(gain: float | None, loss: float | None) -> float | None:
    if gain is None or loss is None:
        return None
    if gain + loss == 0:
        return 50.0
    return 100 * gain / (gain + loss)
