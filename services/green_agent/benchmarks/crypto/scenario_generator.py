"""Markets of our own: regimes of trend, range and storm with jumps, gaps, volume and funding, from a seed. No download.

Finance specification 7.3. Every second market may be the inversion of the one before, so that a constant direction earns
nothing on average.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.contract.seeds import generator
from services.green_agent.benchmarks.crypto.bars import Bars, round8
from services.green_agent.benchmarks.crypto.transforms import inverted

WARMUP_BARS: Final = 100
SUB_STEPS: Final = 12
"""Steps of the log price inside a bar."""
START_MS: Final = 1_704_067_200_000
"""The first bar opens 2024-01-01T00:00:00Z; agents see another calendar."""
START_PRICE: Final = 100.0
MINUTE_MS: Final = 60_000
FUNDING_MS: Final = 8 * 3_600_000
MINUTES_A_YEAR: Final = 365 * 24 * 60

JUMP_CHANCE: Final = 0.004
JUMP_SDS: Final = 4.0
GAP_CHANCE: Final = 0.01
GAP_SDS: Final = 3.0
BASE_FUNDING: Final = 0.0001
FUNDING_BOUND: Final = 0.00375

RegimeName = Literal["bull", "bear", "range", "storm"]


class GeneratorConfig(BaseModel):
    """Which markets are made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seed: int | str | None = None
    """The run seed when null. Another seed gives other markets of the same kind."""
    count: int = Field(default=12, ge=1, le=100_000)
    """Scenarios."""
    bars: int = Field(default=500, ge=3, le=100_000)
    """Tradable bars of a scenario; 100 warm-up bars come before them."""
    bar_minutes: int = Field(default=60, ge=1, le=1440)
    """Length of a bar."""
    inverted_twins: bool = True
    """Scenario 2k + 1 is the inversion of scenario 2k."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """A state of the market."""

    drift: float
    """Of the log price, a year."""
    volatility: float
    """Of the log price, a year."""
    mean_bars: float
    """Mean of the exponential length."""
    following: tuple[tuple[RegimeName, float], ...]
    """Next regimes with their probabilities."""
    pull: float = 0.0
    """Share of the distance to the price at entry that is undone each bar."""


REGIMES: Final[dict[RegimeName, Regime]] = {
    "bull": Regime(
        drift=6.0, volatility=0.60, mean_bars=120, following=(("range", 0.6), ("storm", 0.25), ("bear", 0.15))
    ),
    "bear": Regime(
        drift=-6.0, volatility=0.70, mean_bars=90, following=(("range", 0.55), ("storm", 0.3), ("bull", 0.15))
    ),
    "range": Regime(
        drift=0.0, volatility=0.40, mean_bars=150, following=(("bull", 0.4), ("bear", 0.4), ("storm", 0.2)), pull=0.04
    ),
    "storm": Regime(
        drift=0.0, volatility=1.40, mean_bars=36, following=(("bear", 0.35), ("bull", 0.35), ("range", 0.3))
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Walk:
    """A generated market with what only its maker knows."""

    bars: Bars
    regimes: tuple[RegimeName, ...]
    """The regime of each bar."""


def generate(seed: int, index: int, config: GeneratorConfig) -> Bars:
    """Scenario `index` of `seed`: 100 warm-up bars and `config.bars` more, numbers with 8 significant digits."""
    if not config.inverted_twins:
        return walk(generator(seed, "crypto", "scenario", index), config).bars
    original = walk(generator(seed, "crypto", "scenario", index - index % 2), config).bars
    return round8(inverted(original)) if index % 2 else original


def walk(rng: random.Random, config: GeneratorConfig) -> Walk:
    """Draw one market."""
    regimes = _draw_regimes(rng, WARMUP_BARS + config.bars)
    bar_year = config.bar_minutes / MINUTES_A_YEAR
    columns = _Columns(bar_ms=config.bar_minutes * MINUTE_MS)
    level = entry = math.log(START_PRICE)
    for t, name in enumerate(regimes):
        if t and regimes[t - 1] != name:
            entry = level
        regime = REGIMES[name]
        path = _draw_bar(rng, regime, level=level, entry=entry, bar_year=bar_year)
        columns.add(rng, path, returned=path[-1] - level, sd=regime.volatility * math.sqrt(bar_year))
        level = path[-1]
    return Walk(bars=round8(columns.bars()), regimes=regimes)


def _draw_regimes(rng: random.Random, count: int) -> tuple[RegimeName, ...]:
    regimes: list[RegimeName] = []
    name = rng.choice(tuple(REGIMES))
    while len(regimes) < count:
        regimes += [name] * max(1, round(rng.expovariate(1 / REGIMES[name].mean_bars)))
        names, chances = zip(*REGIMES[name].following, strict=True)
        name = rng.choices(names, chances)[0]
    return tuple(regimes[:count])


def _draw_bar(rng: random.Random, regime: Regime, *, level: float, entry: float, bar_year: float) -> list[float]:
    """Log prices inside one bar, the open first and the close last."""
    sd = regime.volatility * math.sqrt(bar_year)
    if rng.random() < GAP_CHANCE:
        level += rng.gauss(0, GAP_SDS * sd)
    jump_at = rng.randrange(SUB_STEPS) if rng.random() < JUMP_CHANCE else -1
    drift, step_sd, pull = regime.drift * bar_year / SUB_STEPS, sd / math.sqrt(SUB_STEPS), regime.pull / SUB_STEPS
    gauss = rng.gauss
    path = [level]
    for step in range(SUB_STEPS):
        level += drift - pull * (level - entry) + gauss(0, step_sd)
        if step == jump_at:
            level += gauss(0, JUMP_SDS * sd)
        path.append(level)
    return path


class _Columns:
    """The columns of the market under way, with the state of funding and open interest."""

    def __init__(self, *, bar_ms: int) -> None:
        self._bar_ms = bar_ms
        self._rows: list[tuple[float, float, float, float, float, float, float]] = []
        self._funding = BASE_FUNDING
        self._since_funding = 0.0
        self._interest = 0.0

    def add(self, rng: random.Random, path: list[float], *, returned: float, sd: float) -> None:
        """Take in one bar by its log prices, its log return from close to close and the sd of such returns."""
        self._step_funding(rng)
        self._since_funding += returned
        self._interest = 0.98 * self._interest + rng.gauss(0, 0.01)
        volume = 1000 * math.exp(rng.gauss(0, 0.4) + 0.8 * abs(returned) / sd)
        prices = [math.exp(level) for level in (path[0], max(path), min(path), path[-1])]
        self._rows.append((prices[0], prices[1], prices[2], prices[3], volume, self._funding, self._interest))

    def _step_funding(self, rng: random.Random) -> None:
        """A new rate at every eighth UTC hour, drawn towards the return since the last one."""
        now = START_MS + len(self._rows) * self._bar_ms
        for _ in range(now // FUNDING_MS - (now - self._bar_ms) // FUNDING_MS):
            rate = BASE_FUNDING + 0.5 * (self._funding - BASE_FUNDING) + 0.02 * self._since_funding
            self._funding = max(-FUNDING_BOUND, min(FUNDING_BOUND, rate + rng.gauss(0, 0.00005)))
            self._since_funding = 0.0

    def bars(self) -> Bars:
        """All bars taken in."""
        opens, highs, lows, closes, volumes, funding, interest = zip(*self._rows, strict=True)
        return Bars(
            opens=opens,
            highs=highs,
            lows=lows,
            closes=closes,
            volumes=volumes,
            times_ms=tuple(START_MS + t * self._bar_ms for t in range(len(opens))),
            funding=funding,
            open_interest=tuple(1e6 * math.exp(level) for level in interest),
            cvd=(0.0,) * len(opens),
            bar_ms=self._bar_ms,
        )
