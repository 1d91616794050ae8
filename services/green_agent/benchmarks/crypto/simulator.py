"""One episode of trading on fixed bars: a pure function of bars, costs and decisions, advanced from decision to decision.

Finance specification 7.5. A decision made at the close of a bar is filled at the open of the next one, so nothing of the
future is tradable. Every price is the true path; an agent may be shown another one (noisy episodes).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from services.green_agent.benchmarks.crypto.bars import Bars
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.indicators import Indicators, IndicatorValues
from services.green_agent.benchmarks.crypto.ledger import Event, Exit, Ledger, Trade

Action = Literal["BUY", "SELL", "HOLD", "CLOSE"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What the agent wants at the next open. ValueError for a size or a level no order can have."""

    action: Action
    size: float = 0.0
    """Base units, 0 or more; read for BUY and SELL."""
    stop_loss: float | None = None
    """Price of the resting stop; None leaves the old one."""
    take_profit: float | None = None
    """Price of the resting target; None leaves the old one."""

    def __post_init__(self) -> None:
        if not 0 <= self.size < math.inf:
            raise ValueError(f"size must be 0 or more and finite, got {self.size!r}")
        for name, level in (("stop_loss", self.stop_loss), ("take_profit", self.take_profit)):
            if level is not None and not 0 < level < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, got {level!r}")


HOLD: Final = Decision(action="HOLD")


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """The open position as the agent sees it."""

    size: float
    """Signed base units."""
    entry_price: float
    stop_loss: float | None
    take_profit: float | None
    unrealised_pnl: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """The account as the agent sees it, marked at the close it is shown."""

    balance: float
    """Wallet, without the open position."""
    equity: float
    leverage: float
    """Notional over equity."""
    liquidation_price: float | None
    max_buy: float
    """Base units that could be bought at the shown close without slippage."""
    max_sell: float
    positions: tuple[Position, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """What is known when a decision is due, at the close of bar `bar`."""

    step: int
    """Number of this decision, from 0."""
    bar: int
    account: Account
    indicators: IndicatorValues
    """Of what is shown, warm-up included."""
    events: tuple[Event, ...]
    """Since the last decision."""
    steps_left: int
    """Decisions after this one, if the account lasts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpisodeRun:
    """A finished episode."""

    equity: tuple[float, ...]
    """One value a bar, 0 after bankruptcy."""
    trades: tuple[Trade, ...]
    events: tuple[Event, ...]
    decisions: int
    """Decisions that were asked for."""
    fills: int
    fees: float
    """Trading and liquidation fees."""
    funding: float
    """Paid less received."""
    turnover: float
    """Notional of all fills."""
    shortfall: float
    """Loss beyond the wallet, which nobody pays: final wallet = initial + sum of nets + shortfall."""
    clipped: int
    """Orders cut to the leverage cap."""
    invalid_stop: int
    """Stops and targets rejected for lying on the wrong side."""
    cancelled: int
    """Orders dropped because a resting order fired at the same open."""
    liquidations: int
    bankrupt: bool


class Simulation:
    """One episode, driven step by step: `advance` to a view, `decide`, again until `advance` returns None, then `result`.

    `slippage` has one fraction a bar, for every fill of that bar. `shown` is what the agent sees (the bars themselves when
    None), `warm` the shown bars before the first one, for the indicators alone. ValueError when lengths differ.
    """

    def __init__(
        self,
        bars: Bars,
        config: EvaluationConfig,
        *,
        slippage: Sequence[float],
        shown: Bars | None = None,
        warm: Bars | None = None,
    ) -> None:
        self._bars = bars
        self._shown = bars if shown is None else shown
        if not len(bars) == len(slippage) == len(self._shown):
            raise ValueError(f"{len(bars)} bars, {len(self._shown)} shown, {len(slippage)} values of slippage: differ")
        if len(bars) < 2:
            raise ValueError("an episode needs at least 2 bars, one to decide at and one to trade in")
        self._slippage = slippage
        self._interval = config.decision_interval
        self._funding_ms = config.funding_interval_ms
        self._ledger = Ledger(config)
        self._indicators = Indicators()
        if warm is not None:
            self._indicators.push_all(warm)
        self._equity: list[float] = []
        self._bar = -1
        self._steps = 0
        self._seen_events = 0
        self._due = False
        self._pending = HOLD
        self._invalid_stop = 0
        self._cancelled = 0
        self.finished = False

    @property
    def planned_decisions(self) -> int:
        """Decisions an episode asks for when the account lasts."""
        return (len(self._bars) - 2) // self._interval + 1

    def advance(self) -> View | None:
        """Run to the close at which the next decision is due; None once the episode is over.

        A decision that was due and not made counts as HOLD.
        """
        self._due = False
        last = len(self._bars) - 1
        while not self.finished:
            self._bar += 1
            self._run_bar(self._bar)
            if self._bar == last or self._ledger.bankrupt:
                self._finish(last)
            elif self._bar % self._interval == 0:
                return self._ask()
        return None

    def decide(self, decision: Decision) -> None:
        """Answer the view `advance` returned. ValueError when no decision is due."""
        if not self._due:
            raise ValueError("no decision is due")
        self._due = False
        self._pending = decision

    def result(self) -> EpisodeRun:
        """The finished episode. ValueError before its end."""
        if not self.finished:
            raise ValueError("the episode is not over")
        ledger = self._ledger
        return EpisodeRun(
            equity=tuple(self._equity),
            trades=tuple(ledger.trades),
            events=tuple(ledger.events),
            decisions=self._steps,
            fills=ledger.fills,
            fees=ledger.fees,
            funding=ledger.funding,
            turnover=ledger.turnover,
            shortfall=ledger.shortfall,
            clipped=ledger.clipped,
            invalid_stop=self._invalid_stop,
            cancelled=self._cancelled,
            liquidations=ledger.liquidations,
            bankrupt=ledger.bankrupt,
        )

    def _run_bar(self, t: int) -> None:
        decision, self._pending = self._pending, HOLD
        ledger, shown = self._ledger, self._shown
        fired = False
        if t and ledger.size:
            self._pay_funding(t)
            fired = self._fire_at_open(t)
        if fired:
            self._cancel(t, decision)
        elif t and decision is not HOLD:
            self._execute(t, decision)
        if t and ledger.size:
            self._fire_inside(t)
        self._equity.append(max(ledger.equity(self._bars.closes[t]), 0.0))
        self._indicators.push(high=shown.highs[t], low=shown.lows[t], close=shown.closes[t])

    def _pay_funding(self, t: int) -> None:
        if not self._funding_ms:
            return
        before, now = self._bars.times_ms[t - 1], self._bars.times_ms[t]
        payments = now // self._funding_ms - before // self._funding_ms
        if payments:
            self._ledger.pay_funding(t, self._bars.opens[t], payments * self._bars.funding[t - 1])

    def _adverse(self, side: int) -> tuple[float, Exit] | None:
        """The trigger on the losing side that comes first; on a tie the stop, which has no penalty."""
        stop, liquidation = self._ledger.stop, self._ledger.liquidation_price()
        if stop is not None and (liquidation is None or side * stop >= side * liquidation):
            return stop, "stop"
        return None if liquidation is None else (liquidation, "liquidation")

    def _fire_at_open(self, t: int) -> bool:
        """Resting orders the open has jumped over fill at the open."""
        side = 1 if self._ledger.size > 0 else -1
        opened, target = self._bars.opens[t], self._ledger.target
        adverse = self._adverse(side)
        if adverse is not None and side * opened <= side * adverse[0]:
            self._exit(t, adverse[1], opened)
            return True
        if target is not None and side * opened >= side * target:
            self._exit(t, "target", opened)
            return True
        return False

    def _fire_inside(self, t: int) -> None:
        """Resting orders inside the bar: the losing side first, since the bar does not tell which came first."""
        side = 1 if self._ledger.size > 0 else -1
        bars, target = self._bars, self._ledger.target
        worst, best = (bars.lows[t], bars.highs[t]) if side > 0 else (bars.highs[t], bars.lows[t])
        adverse = self._adverse(side)
        if adverse is not None and side * worst <= side * adverse[0]:
            # A position opened at this very open may already lie beyond its liquidation price: never better than the open.
            self._exit(t, adverse[1], side * min(side * adverse[0], side * bars.opens[t]))
        elif target is not None and side * best >= side * target:
            self._exit(t, "target", target)

    def _exit(self, t: int, kind: Exit, base: float) -> None:
        side = 1 if self._ledger.size > 0 else -1
        self._ledger.close(t, kind, base * (1 - side * self._slippage[t]))

    def _cancel(self, t: int, decision: Decision) -> None:
        if decision.action == "HOLD" or (decision.action != "CLOSE" and decision.size == 0):
            return
        self._cancelled += 1
        size = -decision.size if decision.action == "SELL" else decision.size
        self._ledger.events.append(Event(bar=t, kind="cancelled", price=self._bars.opens[t], size=size))

    def _execute(self, t: int, decision: Decision) -> None:
        ledger, opened = self._ledger, self._bars.opens[t]
        if decision.action == "CLOSE":
            if ledger.size:
                self._exit(t, "close", opened)
            return
        fill = opened
        if decision.action != "HOLD":
            if decision.size == 0:
                return
            side = 1 if decision.action == "BUY" else -1
            fill = opened * (1 + side * self._slippage[t])
            ledger.trade(t, side, decision.size, fill)
        if ledger.size:
            self._set_levels(t, decision, fill)

    def _set_levels(self, t: int, decision: Decision, fill: float) -> None:
        """Take the levels that lie on their side of both the open and the fill; the order stands either way."""
        ledger, opened = self._ledger, self._bars.opens[t]
        below, above = min(opened, fill), max(opened, fill)
        long = ledger.size > 0
        stop, target = decision.stop_loss, decision.take_profit
        if stop is not None:
            if (stop < below) if long else (stop > above):
                ledger.stop = stop
            else:
                self._reject(t, stop)
        if target is not None:
            if (target > above) if long else (target < below):
                ledger.target = target
            else:
                self._reject(t, target)

    def _reject(self, t: int, level: float) -> None:
        self._invalid_stop += 1
        self._ledger.events.append(Event(bar=t, kind="invalid_stop", price=level, size=0.0))

    def _finish(self, last: int) -> None:
        if self._ledger.size:
            self._exit(last, "final", self._bars.closes[last])
            self._equity[-1] = self._ledger.wallet
        self._equity.extend([0.0] * (last + 1 - len(self._equity)))
        self.finished = True

    def _ask(self) -> View:
        ledger = self._ledger
        events = tuple(ledger.events[self._seen_events :])
        self._seen_events = len(ledger.events)
        step, self._steps = self._steps, self._steps + 1
        self._due = True
        return View(
            step=step,
            bar=self._bar,
            account=self._account(self._shown.closes[self._bar]),
            indicators=self._indicators.values(),
            events=events,
            steps_left=self.planned_decisions - step - 1,
        )

    def _account(self, price: float) -> Account:
        ledger = self._ledger
        if not ledger.size:
            reach = ledger.reach(1, price)
            return Account(
                balance=ledger.wallet,
                equity=ledger.wallet,
                leverage=0.0,
                liquidation_price=None,
                max_buy=reach,
                max_sell=reach,
                positions=(),
            )
        equity = ledger.equity(price)
        position = Position(
            size=ledger.size,
            entry_price=ledger.entry,
            stop_loss=ledger.stop,
            take_profit=ledger.target,
            unrealised_pnl=ledger.size * (price - ledger.entry),
        )
        return Account(
            balance=ledger.wallet,
            equity=equity,
            leverage=abs(ledger.size) * price / equity if equity > 0 else 0.0,
            liquidation_price=ledger.liquidation_price(),
            max_buy=ledger.reach(1, price),
            max_sell=ledger.reach(-1, price),
            positions=(position,),
        )
