"""What simple agents earn on 400 generated markets: the level of the scale, as the specification states it (7.3).

Agents know nothing of the code under test but its views. Sizes are multiples of equity. Scalping and churning are measured with
positions of 1 and 2 % of equity: with all of it their costs alone take them far lower.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import fmean

import pytest

from services.contract.seeds import generator
from services.green_agent.benchmarks.crypto.bars import Bars, round8
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.metrics import close_returns_sd, episode_score
from services.green_agent.benchmarks.crypto.scenario_generator import WARMUP_BARS, GeneratorConfig, walk
from services.green_agent.benchmarks.crypto.simulator import Decision, Simulation, View
from services.green_agent.benchmarks.crypto.transforms import draw_slippage, inverted
from tests.green_agent.benchmarks.crypto.markets import CLOSE, Agent, buy, sell

pytestmark = pytest.mark.slow

CONFIG = EvaluationConfig(slippage_range=(0.0002, 0.001))
SCENARIOS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Market:
    """A generated market with what an agent that knows too much would know."""

    warm: Bars
    bars: Bars
    trend: tuple[int, ...]
    """1 in a bull regime, -1 in a bear regime, else 0; a value a bar."""
    slippage: tuple[float, ...]
    seed: int


@cache
def markets() -> tuple[Market, ...]:
    """400 markets, every second one the inversion of the one before."""
    made: list[Market] = []
    for index in range(0, SCENARIOS, 2):
        original = walk(generator(1, "crypto", "scenario", index), GeneratorConfig())
        direction = [{"bull": 1, "bear": -1}.get(name, 0) for name in original.regimes]
        for twin, sign, bars in ((0, 1, original.bars), (1, -1, round8(inverted(original.bars)))):
            seed = index + twin
            made.append(
                Market(
                    warm=bars.slice(0, WARMUP_BARS),
                    bars=bars.slice(WARMUP_BARS, len(bars)),
                    trend=tuple(sign * value for value in direction[WARMUP_BARS:]),
                    slippage=draw_slippage(generator(1, seed, "slippage"), 500, CONFIG.slippage_range),
                    seed=seed,
                )
            )
    return tuple(made)


def mean_score(make: Callable[[Market], Agent]) -> float:
    """Mean score of one baseline episode in each market."""
    scores = []
    for market in markets():
        agent = make(market)
        simulation = Simulation(market.bars, CONFIG, slippage=market.slippage, warm=market.warm)
        while (view := simulation.advance()) is not None:
            decision = agent(view)
            if decision is not None:
                simulation.decide(decision)
        sd = close_returns_sd(market.bars)
        scores.append(episode_score(simulation.result(), market.bars, sd, CONFIG).score)
    return fmean(scores)


def held(view: View) -> float:
    """Signed size of the position."""
    return view.account.positions[0].size if view.account.positions else 0.0


def turn(view: View, price: float, exposure: float) -> Decision:
    """The order after which the position is worth `exposure` times equity."""
    change = exposure * view.account.equity / price - held(view)
    return buy(change) if change > 0 else sell(-change)


def buy_and_hold(market: Market) -> Agent:
    return lambda view: buy(10_000 / market.bars.closes[0]) if view.step == 0 else None


def three_times_long(market: Market) -> Agent:
    return lambda view: buy(view.account.max_buy) if view.step == 0 else None


def random_direction(market: Market) -> Agent:
    """Another side each day, or not, by coin."""
    rng = random.Random(market.seed)
    return lambda view: turn(view, market.bars.closes[view.bar], rng.choice((-1, 1))) if view.step % 24 == 0 else None


def crossover(market: Market) -> Agent:
    """Always on the side of the faster mean."""
    side = 0

    def agent(view: View) -> Decision | None:
        nonlocal side
        fast, slow = view.indicators.ema_20, view.indicators.ema_50
        assert fast is not None
        assert slow is not None
        wanted = 1 if fast > slow else -1
        if wanted == side:
            return None
        side = wanted
        return turn(view, market.bars.closes[view.bar], side)

    return agent


def scalping(exposure: float) -> Callable[[Market], Agent]:
    """Target 0.3 % above, stop 3 % below, again as soon as flat."""

    def make(market: Market) -> Agent:
        def agent(view: View) -> Decision | None:
            if view.account.positions:
                return None
            price = market.bars.closes[view.bar]
            return buy(exposure * view.account.equity / price, stop=0.97 * price, target=1.003 * price)

        return agent

    return make


def churning(exposure: float) -> Callable[[Market], Agent]:
    """Opens at one bar, closes at the next."""
    return lambda market: (
        lambda view: CLOSE if view.account.positions else turn(view, market.bars.closes[view.bar], exposure)
    )


def knows_the_regime(market: Market) -> Agent:
    def agent(view: View) -> Decision | None:
        side = market.trend[view.bar + 1]
        if side == 0:
            return CLOSE
        return turn(view, market.bars.closes[view.bar], side) if held(view) * side <= 0 else None

    return agent


def knows_the_next_bar(market: Market) -> Agent:
    def agent(view: View) -> Decision | None:
        side = 1 if market.bars.closes[view.bar + 1] > market.bars.opens[view.bar + 1] else -1
        return turn(view, market.bars.closes[view.bar], side) if held(view) * side <= 0 else None

    return agent


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (buy_and_hold, 48.6),
        (three_times_long, 48.2),
        (random_direction, 43.2),
        (crossover, 41.9),
        (scalping(0.02), 45.6),
        (churning(0.01), 46.1),
        (knows_the_regime, 70.6),
        (knows_the_next_bar, 99.6),
    ],
    ids=["buy-and-hold", "3x", "random", "crossover", "scalping", "churning", "regime", "next bar"],
)
def test_an_agent_earns_what_the_scale_says(make: Callable[[Market], Agent], expected: float) -> None:
    assert mean_score(make) == pytest.approx(expected, abs=4)


def test_scalping_with_all_of_the_account_is_punished() -> None:
    assert mean_score(scalping(1.0)) < 30
