"""Other markets made of one: noisy observation, injected shocks, rescaling, inversion, drawn from a given generator.

Finance specification 7.6.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final, Literal

from services.green_agent.benchmarks.crypto.bars import Bars, scale

NOISE_CLIP: Final = 4.0
"""Observation noise is cut at this many standard deviations."""
SHOCK_SIZE: Final = (4.0, 8.0)
"""Size of a shock in standard deviations of a baseline bar."""
EVENT_BARS: Final = 5
"""Bars a crisis lasts, and bars after a shock in one of which its course is settled."""
CRISIS_VOLUME: Final = 0.1
CRISIS_SLIPPAGE: Final = 5.0
KNOWN_TRANSFORMS: Final = "identity, scale_<a>_<b> (for example scale_1_1), invert_returns"

EventKind = Literal["flash_crash", "flash_pump", "liquidity_crisis"]
Course = Literal["reverts", "stays", "continues"]

KINDS: Final[tuple[EventKind, ...]] = ("flash_crash", "flash_pump", "liquidity_crisis")
COURSES: Final[tuple[Course, ...]] = ("reverts", "stays", "continues")
DRIFT: Final[dict[Course, float]] = {"reverts": -1.0, "stays": 0.0, "continues": 1.0}


def draw_slippage(rng: random.Random, count: int, bounds: tuple[float, float]) -> tuple[float, ...]:
    """One fraction a bar, uniform in `bounds`, drawn whether the bar trades or not."""
    return tuple(rng.uniform(*bounds) for _ in range(count))


def noise_factors(rng: random.Random, count: int, level: float) -> tuple[float, ...]:
    """One factor 1 + g a bar, g normal with standard deviation `level`, cut at 4 of them."""
    return tuple(1 + level * max(-NOISE_CLIP, min(NOISE_CLIP, rng.gauss(0, 1))) for _ in range(count))


def noisy(bars: Bars, factors: Sequence[float]) -> Bars:
    """The bars as they are shown: the prices of bar t times `factors[t]`, everything else as it is."""
    return replace(
        bars,
        opens=_each(bars.opens, factors),
        highs=_each(bars.highs, factors),
        lows=_each(bars.lows, factors),
        closes=_each(bars.closes, factors),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class MarketEvent:
    """One injected event."""

    bar: int
    """The bar it begins in."""
    kind: EventKind
    size: float = 0.0
    """Jump of the log price at the open of the bar; 0 for a liquidity crisis."""
    course: Course | None = None
    """What the price does later; None for a liquidity crisis."""
    settles: int = 0
    """The bar at whose open it does so; 0 for a liquidity crisis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Injected:
    """A market with events."""

    bars: Bars
    slippage: tuple[float, ...]
    """Factor on the slippage of each bar."""
    events: tuple[MarketEvent, ...]


def draw_events(rng: random.Random, count: int, rate: float, baseline_sd: float) -> tuple[MarketEvent, ...]:
    """Events for a market of `count` bars; none overlap, none falls in the first or the last bar."""
    events: list[MarketEvent] = []
    t = 1
    while t <= count - 2:
        if rng.random() >= rate:
            t += 1
            continue
        event = _draw_event(rng, t, baseline_sd)
        events.append(event)
        t += EVENT_BARS if event.course is None else EVENT_BARS + 1
    return tuple(events)


def _draw_event(rng: random.Random, bar: int, baseline_sd: float) -> MarketEvent:
    kind = rng.choice(KINDS)
    if kind == "liquidity_crisis":
        return MarketEvent(bar=bar, kind=kind)
    size = rng.uniform(*SHOCK_SIZE) * baseline_sd
    return MarketEvent(
        bar=bar,
        kind=kind,
        size=-size if kind == "flash_crash" else size,
        course=rng.choice(COURSES),
        settles=bar + rng.randint(1, EVENT_BARS),
    )


def inject(bars: Bars, rng: random.Random, rate: float, baseline_sd: float) -> Injected:
    """The bars with events, each begun with probability `rate` a bar outside a running one.

    After a shock the price reverts, stays or goes on by the same amount, one third each, so that no reaction has an edge. Shock
    and course are one jump each, at an open: a course that ran over several bars would tell itself in the first of them, and
    inside a bar a stop would fill at its price although the market moves on. (The specification spreads both; an agent that
    waited a bar and followed earned 78 that way, a blind trailing stop 62.)
    `baseline_sd` is the standard deviation of the close-to-close returns of the market without events.
    """
    events = draw_events(rng, len(bars), rate, baseline_sd)
    moves = [0.0] * len(bars)
    volumes = list(bars.volumes)
    slippage = [1.0] * len(bars)
    for event in events:
        if event.course is None:
            for t in range(event.bar, min(event.bar + EVENT_BARS, len(bars))):
                volumes[t] *= CRISIS_VOLUME
                slippage[t] = CRISIS_SLIPPAGE
            continue
        moves[event.bar] += event.size
        if event.settles < len(bars):
            moves[event.settles] += DRIFT[event.course] * event.size
    moved = _moved(replace(bars, volumes=tuple(volumes)), moves)
    return Injected(bars=moved, slippage=tuple(slippage), events=events)


def _moved(bars: Bars, moves: Sequence[float]) -> Bars:
    """The path with `moves[t]` added to the log price at the open of bar t, and kept from then on."""
    levels = accumulate(moves)
    factors = [math.exp(level) for level in levels]
    return noisy(bars, factors)


def inverted(bars: Bars) -> Bars:
    """The market in which every return is undone: each price p becomes A^2 / p, with A the first close.

    Prices stay above 0, no drift is added, and inverting twice gives the bars back. Funding and cvd change sign, the money
    volume stays.
    """
    square = bars.closes[0] ** 2
    closes = tuple(square / price for price in bars.closes)
    return replace(
        bars,
        opens=tuple(square / price for price in bars.opens),
        highs=tuple(square / price for price in bars.lows),
        lows=tuple(square / price for price in bars.highs),
        closes=closes,
        volumes=tuple(v * old / new for v, old, new in zip(bars.volumes, bars.closes, closes, strict=True)),
        funding=tuple(-rate for rate in bars.funding),
        cvd=tuple(-value for value in bars.cvd),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Transform:
    """One transform of the meta score, by its name in the suite."""

    name: str
    kind: Literal["identity", "scale", "invert"]
    factor: float = 1.0

    def apply(self, bars: Bars) -> Bars:
        """The transformed market."""
        if self.kind == "invert":
            return inverted(bars)
        return scale(bars, self.factor) if self.kind == "scale" else bars


def parse_transform(name: object) -> Transform:
    """`identity`, `invert_returns` or `scale_<a>_<b>` for a factor of a.b. ValueError naming these for anything else."""
    if name == "identity":
        return Transform(name="identity", kind="identity")
    if name == "invert_returns":
        return Transform(name="invert_returns", kind="invert")
    scaling = re.fullmatch(r"scale_(\d{1,4})_(\d{1,4})", name) if isinstance(name, str) else None
    if scaling is None or float(f"{scaling[1]}.{scaling[2]}") == 0:
        raise ValueError(f"unknown transform {name!r}; known: {KNOWN_TRANSFORMS}")
    return Transform(name=scaling[0], kind="scale", factor=float(f"{scaling[1]}.{scaling[2]}"))


def _each(column: Sequence[float], factors: Sequence[float]) -> tuple[float, ...]:
    return tuple(value * factor for value, factor in zip(column, factors, strict=True))
