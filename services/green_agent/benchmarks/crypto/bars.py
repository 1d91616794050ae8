"""Price bars of one market: the data every other module of this benchmark reads. Nothing here draws or trades."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Final

MIN_BARS: Final = 3
SIGNIFICANT_DIGITS: Final = 8
PRICES: Final = (1e-15, 1e15)
"""Prices that are taken; beyond them squares and quotients of prices leave the range of floats."""
MOST: Final = {"volumes": 1e24, "open_interest": 1e24, "cvd": 1e24, "funding": 1.0}
"""Largest absolute value of the other columns."""
LONGEST_MS: Final = 1000 * 366 * 86_400_000
"""From the first bar to the last: the calendar that is shown has an end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bars:
    """Equally long columns, oldest bar first. Bar t opens at `times_ms[t]` (UTC) and lasts `bar_ms`."""

    opens: tuple[float, ...]
    highs: tuple[float, ...]
    lows: tuple[float, ...]
    closes: tuple[float, ...]
    volumes: tuple[float, ...]
    """Base units."""
    times_ms: tuple[int, ...]
    """Open times in milliseconds since 1970, UTC."""
    funding: tuple[float, ...]
    """Funding rate known at the close of the bar; a long pays a positive one."""
    open_interest: tuple[float, ...]
    cvd: tuple[float, ...]
    """Cumulative volume delta."""
    bar_ms: int

    def __len__(self) -> int:
        return len(self.closes)

    def slice(self, start: int, stop: int) -> Bars:
        """Bars `start` to `stop - 1`."""
        return Bars(bar_ms=self.bar_ms, **{name: getattr(self, name)[start:stop] for name in COLUMNS})

    def joined(self, later: Bars) -> Bars:
        """These bars followed by `later`."""
        return Bars(bar_ms=self.bar_ms, **{name: getattr(self, name) + getattr(later, name) for name in COLUMNS})


COLUMNS: Final = tuple(field.name for field in fields(Bars) if field.name != "bar_ms")
FLOAT_COLUMNS: Final = tuple(name for name in COLUMNS if name != "times_ms")


def check(bars: Bars, name: str) -> None:
    """Refuse bars no market can have made: ValueError naming `name`, the bar and the fault."""
    lengths = {column: len(getattr(bars, column)) for column in COLUMNS}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{name}: columns of different length: {lengths}")
    if len(bars) < MIN_BARS:
        raise ValueError(f"{name}: {len(bars)} bars, at least {MIN_BARS} are needed")
    if bars.bar_ms <= 0:
        raise ValueError(f"{name}: bar length {bars.bar_ms} ms")
    for t in range(len(bars)):
        if fault := _fault(bars, t):
            raise ValueError(f"{name}: bar {t}: {fault}")


def _fault(bars: Bars, t: int) -> str:
    for column in FLOAT_COLUMNS:
        if not math.isfinite(getattr(bars, column)[t]):
            return f"{column} is {getattr(bars, column)[t]!r}"
    opened, high, low, close = bars.opens[t], bars.highs[t], bars.lows[t], bars.closes[t]
    if low <= 0:
        return f"low {low!r} is not above 0"
    if not low <= min(opened, close) <= max(opened, close) <= high:
        return f"open {opened!r} and close {close!r} do not lie between low {low!r} and high {high!r}"
    if bars.volumes[t] < 0:
        return f"volume {bars.volumes[t]!r} is negative"
    if t and bars.times_ms[t] <= bars.times_ms[t - 1]:
        return f"time {bars.times_ms[t]} does not come after {bars.times_ms[t - 1]}"
    return _excess(bars, t)


def _excess(bars: Bars, t: int) -> str:
    """Numbers of a bar that are so large or small that the arithmetic of an episode would break on them."""
    for name, price in (("low", bars.lows[t]), ("high", bars.highs[t])):
        if not PRICES[0] <= price <= PRICES[1]:
            return f"{name} {price:.8g} lies outside {PRICES[0]:g} to {PRICES[1]:g}"
    for column, most in MOST.items():
        value = getattr(bars, column)[t]
        if abs(value) > most:
            return f"{column} is {value!r}, at most {most:g}"
    if bars.times_ms[t] - bars.times_ms[0] > LONGEST_MS:
        return "comes more than 1000 years after the first"
    return ""


def aggregate(bars: Bars, stride: int) -> Bars:
    """Every `stride` bars as one: first open, highest high, lowest low, last close, summed volume.

    A rest of fewer than `stride` bars at the end is dropped. ValueError when stride is below 1 or no whole bar results.
    """
    whole = len(bars) // stride if stride >= 1 else 0
    if whole == 0:
        raise ValueError(f"stride {stride} leaves no whole bar of {len(bars)}")
    starts = range(0, whole * stride, stride)
    last = range(stride - 1, whole * stride, stride)
    return Bars(
        opens=bars.opens[: whole * stride : stride],
        highs=tuple(max(bars.highs[t : t + stride]) for t in starts),
        lows=tuple(min(bars.lows[t : t + stride]) for t in starts),
        closes=tuple(bars.closes[t] for t in last),
        volumes=tuple(math.fsum(bars.volumes[t : t + stride]) for t in starts),
        times_ms=bars.times_ms[: whole * stride : stride],
        funding=tuple(bars.funding[t] for t in last),
        open_interest=tuple(bars.open_interest[t] for t in last),
        cvd=tuple(bars.cvd[t] for t in last),
        bar_ms=bars.bar_ms * stride,
    )


def round8(bars: Bars) -> Bars:
    """Every number with 8 significant digits: what the agent is shown is exactly what the simulator runs on."""
    columns: dict[str, Any] = {name: tuple(map(significant, getattr(bars, name))) for name in FLOAT_COLUMNS}
    return replace(bars, **columns)


def significant(value: float) -> float:
    """`value` with 8 significant digits."""
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def scale(bars: Bars, price_factor: float, volume_factor: float = 1.0) -> Bars:
    """Prices times `price_factor`, money volume and open interest times `volume_factor`: base volume by their quotient.

    ValueError unless both factors are above 0 and finite.
    """
    if not (0 < price_factor < math.inf and 0 < volume_factor < math.inf):
        raise ValueError(f"factors must be above 0 and finite, got {price_factor!r} and {volume_factor!r}")
    base_factor = volume_factor / price_factor
    return replace(
        bars,
        opens=_times(bars.opens, price_factor),
        highs=_times(bars.highs, price_factor),
        lows=_times(bars.lows, price_factor),
        closes=_times(bars.closes, price_factor),
        volumes=_times(bars.volumes, base_factor),
        open_interest=_times(bars.open_interest, volume_factor),
        cvd=_times(bars.cvd, base_factor),
    )


def _times(column: Iterable[float], factor: float) -> tuple[float, ...]:
    return tuple(value * factor for value in column)
