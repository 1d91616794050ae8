"""The episodes of a scenario: which ones are run, and the market each one plays. A pure function of window, config and seed.

Finance specification 7.6. Every participant and every repeat meets the same markets: no draw knows who plays.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.seeds import generator, rank
from services.green_agent.benchmarks.crypto.bars import Bars, aggregate, round8, scale
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.metrics import close_returns_sd
from services.green_agent.benchmarks.crypto.transforms import (
    MarketEvent,
    Transform,
    draw_slippage,
    inject,
    noise_factors,
    noisy,
    parse_transform,
)
from services.green_agent.benchmarks.crypto.wire import Market

BASELINE: Final = "baseline"
NOISY: Final = "noisy"
ADVERSARIAL: Final = "adversarial"
META: Final = "meta"
ALIAS: Final = "ASSET-1"
SHOWN_EPOCH_MS: Final = 946_684_800_000
"""2000-01-01T00:00:00Z, where the shown calendar begins."""
FIRST_CLOSE: Final = (20.0, 500.0)
MONEY_FACTOR: Final = (0.1, 10.0)
"""Ranges of the rescaling, log-uniform."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """The part of a scenario that is played, and the bars before it that feed indicators."""

    warm: Bars
    bars: Bars

    @property
    def joined(self) -> Bars:
        """Warm-up and episode in one."""
        return self.warm.joined(self.bars)

    def split(self, joined: Bars) -> Window:
        """Another market over the same bars, taken apart where this one is."""
        at = len(self.warm)
        return Window(warm=joined.slice(0, at), bars=joined.slice(at, len(joined)))


def cut(bars: Bars, *, stride: int, max_steps: int | None, warmup_bars: int) -> Window:
    """Aggregate by `stride`, then take warm-up and episode from the front. ValueError when no whole bar is left."""
    whole = aggregate(bars, stride) if stride > 1 else bars
    count = len(whole)
    steps = count - min(warmup_bars, count // 4) if max_steps is None else min(max_steps, count)
    warm = min(warmup_bars, count - steps)
    return Window(warm=whole.slice(0, warm), bars=whole.slice(warm, warm + steps))


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """What decides the episodes of a scenario."""

    scenario_id: str
    symbol: str
    window: Window
    config: EvaluationConfig
    seed: int
    """What slippage, noise, events and rescaling derive from."""
    reveal: bool = False

    def draw(self, purpose: str) -> random.Random:
        """The generator of one purpose; trial 0 always, so that repeats meet the same market."""
        return generator(self.seed, "crypto", self.scenario_id, 0, purpose)


@dataclass(frozen=True, kw_only=True, slots=True)
class Episode:
    """One market as it is traded and as it is shown."""

    key: str
    """baseline, noisy, adversarial or the name of a transform."""
    bars: Bars
    slippage: tuple[float, ...]
    market: Market
    config: EvaluationConfig
    baseline_sd: float
    """Standard deviation of the returns of the baseline market of the scenario."""
    events: tuple[MarketEvent, ...] = ()


def planned(config: EvaluationConfig) -> tuple[str, ...]:
    """Keys of the episodes that are run: kinds with weight, and each transform once. The identity is the baseline."""
    weights = config.score_weights.positive()
    keys: list[str] = [kind for kind in (BASELINE, NOISY, ADVERSARIAL) if kind in weights]
    if META in weights:
        keys += [meta_key(name) for name in config.meta_transforms]
    return tuple(dict.fromkeys(keys))


def meta_key(transform: str) -> str:
    """The episode that a transform of the meta score plays."""
    return BASELINE if parse_transform(transform).kind == "identity" else transform


def episodes(course: Course) -> tuple[Episode, ...]:
    """The episodes of a scenario, in the order of `planned`."""
    return tuple(_Maker(course).episode(key) for key in planned(course.config))


class _Maker:
    """Makes the episodes of one scenario out of its baseline market."""

    def __init__(self, course: Course) -> None:
        self._course = course
        window = course.window if course.reveal else _rescaled(course)
        self._window = window.split(round8(window.joined))
        self._sd = close_returns_sd(self._window.bars)
        self._slippage = draw_slippage(course.draw("slippage"), len(self._window.bars), course.config.slippage_range)
        keys = sorted(planned(course.config), key=lambda key: rank(course.seed, "label", f"{course.scenario_id}|{key}"))
        self._labels = {key: f"e{number}" for number, key in enumerate(keys, start=1)}

    def episode(self, key: str) -> Episode:
        """One of the planned episodes."""
        if key == BASELINE:
            return self._made(key, self._window)
        if key == NOISY:
            return self._noisy()
        if key == ADVERSARIAL:
            return self._adversarial()
        return self._made(key, _transformed(self._window, parse_transform(key)))

    def _noisy(self) -> Episode:
        course, joined = self._course, self._window.joined
        factors = noise_factors(course.draw("noise"), len(joined), course.config.price_noise_level)
        return self._made(NOISY, self._window, shown=self._window.split(round8(noisy(joined, factors))))

    def _adversarial(self) -> Episode:
        course, window = self._course, self._window
        rate = course.config.adversarial_injection_rate
        injected = inject(window.bars, course.draw("events"), rate, self._sd)
        slippage = [base * factor for base, factor in zip(self._slippage, injected.slippage, strict=True)]
        disturbed = Window(warm=window.warm, bars=round8(injected.bars))
        return self._made(ADVERSARIAL, disturbed, slippage=slippage, events=injected.events)

    def _made(
        self,
        key: str,
        window: Window,
        *,
        shown: Window | None = None,
        slippage: Sequence[float] | None = None,
        events: tuple[MarketEvent, ...] = (),
    ) -> Episode:
        course, seen = self._course, shown or window
        market = Market(
            label=self._labels[key],
            symbol=course.symbol if course.reveal else ALIAS,
            warm=seen.warm,
            shown=seen.bars,
            clock_ms=0 if course.reveal else SHOWN_EPOCH_MS - seen.bars.times_ms[0],
            funding_ms=course.config.funding_interval_ms,
        )
        return Episode(
            key=key,
            bars=window.bars,
            slippage=self._slippage if slippage is None else tuple(slippage),
            market=market,
            config=course.config,
            baseline_sd=self._sd,
            events=events,
        )


def _rescaled(course: Course) -> Window:
    """Prices and volumes times secret factors, so that a known market is not known by its numbers."""
    drawn = course.draw("rescale")
    first = _log_uniform(drawn, FIRST_CLOSE)
    money = _log_uniform(drawn, MONEY_FACTOR)
    window = course.window
    return window.split(scale(window.joined, first / window.bars.closes[0], money))


def _log_uniform(drawn: random.Random, bounds: tuple[float, float]) -> float:
    return math.exp(drawn.uniform(math.log(bounds[0]), math.log(bounds[1])))


def _transformed(window: Window, transform: Transform) -> Window:
    """The transformed market; an inverted one keeps the first close of the episode, not that of the warm-up."""
    joined = transform.apply(window.joined)
    if transform.kind == "invert" and len(window.warm):
        joined = scale(joined, window.bars.closes[0] / joined.closes[len(window.warm)])
    return window.split(round8(joined))
