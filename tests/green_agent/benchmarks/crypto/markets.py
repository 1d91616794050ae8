"""Small markets and drivers for tests of the simulator."""

from collections.abc import Callable, Sequence

from services.green_agent.benchmarks.crypto.bars import Bars
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.simulator import Decision, EpisodeRun, Simulation, View

HOUR_MS = 3_600_000
MIDNIGHT_MS = 1_704_067_200_000
"""2024-01-01T00:00:00Z."""

Bar = tuple[float, float, float, float]
Agent = Callable[[View], Decision | None]


def market(*rows: Bar, funding: float = 0.0, start_ms: int = MIDNIGHT_MS, bar_ms: int = HOUR_MS) -> Bars:
    """Bars of (open, high, low, close), an hour each."""
    return Bars(
        opens=tuple(row[0] for row in rows),
        highs=tuple(row[1] for row in rows),
        lows=tuple(row[2] for row in rows),
        closes=tuple(row[3] for row in rows),
        volumes=(1000.0,) * len(rows),
        times_ms=tuple(start_ms + t * bar_ms for t in range(len(rows))),
        funding=(funding,) * len(rows),
        open_interest=(1e6,) * len(rows),
        cvd=(0.0,) * len(rows),
        bar_ms=bar_ms,
    )


def flat(price: float = 100.0) -> Bar:
    """A bar in which nothing happens."""
    return (price, price, price, price)


def of_closes(*closes: float, reach: float = 0.0) -> Bars:
    """Bars that open at the close before, with highs and lows `reach` beyond open and close."""
    opens = (closes[0], *closes[:-1])
    return market(*((o, max(o, c) + reach, min(o, c) - reach, c) for o, c in zip(opens, closes, strict=True)))


def play(
    bars: Bars, agent: Agent, config: EvaluationConfig | None = None, *, slippage: Sequence[float] | float = 0.0
) -> EpisodeRun:
    """Run an episode; `agent` answers each view, None for HOLD."""
    each = (slippage,) * len(bars) if isinstance(slippage, float) else slippage
    simulation = Simulation(bars, config or EvaluationConfig(), slippage=each)
    while (view := simulation.advance()) is not None:
        decision = agent(view)
        if decision is not None:
            simulation.decide(decision)
    return simulation.result()


def orders(decisions: dict[int, Decision]) -> Agent:
    """An agent that decides `decisions[bar]` at the close of that bar and holds else."""
    return lambda view: decisions.get(view.bar)


def watched(seen: list[View], decisions: dict[int, Decision]) -> Agent:
    """The same agent, keeping in `seen` what it was shown."""

    def decide(view: View) -> Decision | None:
        seen.append(view)
        return decisions.get(view.bar)

    return decide


def buy(size: float, *, stop: float | None = None, target: float | None = None) -> Decision:
    """A BUY."""
    return Decision(action="BUY", size=size, stop_loss=stop, take_profit=target)


def sell(size: float, *, stop: float | None = None, target: float | None = None) -> Decision:
    """A SELL."""
    return Decision(action="SELL", size=size, stop_loss=stop, take_profit=target)


CLOSE = Decision(action="CLOSE")


def exits(run: EpisodeRun) -> list[tuple[str, float]]:
    """Kind and price of each closing fill."""
    return [(trade.kind, trade.exit_price) for trade in run.trades]
