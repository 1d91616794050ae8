"""What an agent without skill can still earn, and what it cannot, as docs/benchmarks/crypto.md states it: who changes one changes
the other.
"""

import math
import random
from collections.abc import Callable
from functools import cache
from statistics import fmean, median

import pytest

from services.green_agent.benchmarks.crypto.episodes import Episode, episodes
from services.green_agent.benchmarks.crypto.metrics import episode_score
from services.green_agent.benchmarks.crypto.simulator import Decision, Simulation, View
from tests.green_agent.benchmarks.crypto.markets import CLOSE, Agent, buy, sell
from tests.green_agent.benchmarks.crypto.test_calibration import Market, held, mean_score, turn
from tests.green_agent.benchmarks.crypto.trials import benchmark

pytestmark = pytest.mark.slow

SLIPPAGE = [0.0002, 0.001]


@cache
def of_kind(kind: str) -> tuple[Episode, ...]:
    """One episode of `kind` in each of 60 markets."""
    made = benchmark(
        generator={"count": 60, "bars": 500}, evaluation={"slippage_range": SLIPPAGE, "score_weights": {kind: 1}}
    )
    return tuple(episodes(task.course)[0] for task in made.tasks())


def mean_in(kind: str, make: Callable[[Episode, int], Agent]) -> float:
    """Mean score of an agent over the episodes of a kind."""
    scores = []
    for number, episode in enumerate(of_kind(kind)):
        agent = make(episode, number)
        simulation = Simulation(episode.bars, episode.config, slippage=episode.slippage, warm=episode.market.warm)
        while (view := simulation.advance()) is not None:
            decision = agent(view)
            if decision is not None:
                simulation.decide(decision)
        scores.append(episode_score(simulation.result(), episode.bars, episode.baseline_sd, episode.config).score)
    return fmean(scores)


def typical(episode: Episode, bar: int) -> float:
    """Standard deviation of recent bars, unmoved by a few large ones."""
    bars = episode.market.warm.joined(episode.bars)
    now = len(episode.market.warm) + bar
    moves = [abs(math.log(bars.closes[t] / bars.opens[t])) for t in range(now - 60, now + 1)]
    return 1.48 * median(moves)


def stops_when_ahead(market: Market) -> Agent:
    """Nearly all it may hold on the side of a coin, sold for good at 5 % more than it began with."""
    rng = random.Random(market.seed)

    def agent(view: View) -> Decision | None:
        if view.step == 0:
            return turn(view, market.bars.closes[0], rng.choice((-2.9, 2.9)))
        return CLOSE if view.account.positions and view.account.equity >= 10_500 else None

    return agent


def follows_shocks(episode: Episode, _number: int) -> Agent:
    """Waits one bar after a large one, goes the way of that bar for three bars."""
    shock = -9

    def agent(view: View) -> Decision | None:
        nonlocal shock
        t, bars = view.bar, episode.bars
        move, usual = math.log(bars.closes[t] / bars.opens[t]), typical(episode, t)
        if abs(move) > 3 * usual and t > shock + 5:
            shock = t
        elif t == shock + 1 and abs(move) > 0.5 * usual:
            size = view.account.equity / bars.closes[t]
            return buy(size) if move > 0 else sell(size)
        return CLOSE if t == shock + 4 and view.account.positions else None

    return agent


def trails_a_stop(episode: Episode, number: int) -> Agent:
    """Always on one side, half of the time the long one, with a stop 1.5 deviations of a bar behind each close."""
    side = (1, -1)[number // 2 % 2]

    def agent(view: View) -> Decision:
        price = episode.bars.closes[view.bar]
        stop = price * (1 - side * 1.5 * typical(episode, view.bar))
        if held(view):
            return Decision(action="HOLD", stop_loss=stop)
        size = view.account.equity / price
        return buy(size, stop=stop) if side > 0 else sell(size, stop=stop)

    return agent


def test_a_coin_that_stops_when_it_is_ahead_earns_57_and_not_50() -> None:
    assert mean_score(stops_when_ahead) == pytest.approx(57, abs=3)


def test_following_a_shock_from_the_second_bar_on_has_no_edge() -> None:
    assert mean_in("adversarial", follows_shocks) < 50
    assert mean_in("baseline", follows_shocks) < 50


def test_a_trailing_stop_gains_nothing_from_shocks() -> None:
    assert mean_in("adversarial", trails_a_stop) < 46
    assert mean_in("baseline", trails_a_stop) == pytest.approx(42, abs=6)
