"""The simulator and the score against a second, plain implementation written from the specification alone (7.5 and 7.7)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.green_agent.benchmarks.crypto.bars import Bars
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.simulator import Decision
from tests.green_agent.benchmarks.crypto.markets import HOUR_MS, MIDNIGHT_MS, market, play

Bar = tuple[float, float, float, float]


@dataclass(kw_only=True, slots=True)
class Plain:
    """An account in the words of the specification: wallet, signed size, entry, stop, target."""

    bars: Bars
    config: EvaluationConfig
    slippage: Sequence[float]
    decisions: Mapping[int, Decision]
    wallet: float
    size: float = 0.0
    entry: float = 0.0
    stop: float | None = None
    target: float | None = None
    carried: float = 0.0
    """Entry fees and funding of the open position."""
    nets: list[float] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    broke: bool = False
    counts: dict[str, int] = field(
        default_factory=lambda: {"fills": 0, "clipped": 0, "invalid_stop": 0, "cancelled": 0, "liquidations": 0}
    )

    def run(self) -> None:
        bars, last = self.bars, len(self.bars) - 1
        pending: Decision | None = self.decisions.get(0)
        self.curve = [self.wallet]
        for t in range(1, last + 1):
            if not self.broke:
                self.fund(t)
                if self.at_open(t):
                    if pending is not None and (pending.action == "CLOSE" or pending.size > 0):
                        self.counts["cancelled"] += pending.action != "HOLD"
                elif pending is not None:
                    self.obey(t, pending)
                self.inside(t)
            self.curve.append(max(0.0, self.worth(bars.closes[t])))
            asked = t % self.config.decision_interval == 0 and t <= last - 1
            pending = self.decisions.get(t) if asked else None
        if self.size:
            self.leave(self.size, bars.closes[last], last)
            self.curve[-1] = self.wallet

    def worth(self, price: float) -> float:
        return self.wallet + self.size * (price - self.entry)

    def fund(self, t: int) -> None:
        every = round(self.config.funding_interval_hours * HOUR_MS)
        if every == 0 or self.size == 0:
            return
        before, now = self.bars.times_ms[t - 1], self.bars.times_ms[t]
        due = [moment for moment in range(before - before % every, now + 1, every) if before < moment <= now]
        for _ in due:
            paid = self.size * self.bars.opens[t] * self.bars.funding[t - 1]
            self.wallet -= paid
            self.carried += paid

    def ruin(self) -> float | None:
        """The price at which the position is liquidated."""
        m = self.config.maintenance_margin
        if self.size > 0:
            price = (self.size * self.entry - self.wallet) / (self.size * (1 - m))
            return price if price > 0 else None
        q = -self.size
        return (self.wallet + q * self.entry) / (q * (1 + m)) if q else None

    def at_open(self, t: int) -> bool:
        if self.size == 0:
            return False
        opened, ruin, stop, target = self.bars.opens[t], self.ruin(), self.stop, self.target
        if self.size > 0:
            by_stop = stop is not None and opened <= stop
            by_ruin = ruin is not None and opened <= ruin
            by_target = target is not None and opened >= target
            stop_first = by_stop and (ruin is None or (stop or 0) >= ruin)
        else:
            by_stop = stop is not None and opened >= stop
            by_ruin = ruin is not None and opened >= ruin
            by_target = target is not None and opened <= target
            stop_first = by_stop and (ruin is None or (stop or 0) <= ruin)
        if by_stop or by_ruin:
            self.leave(self.size, opened, t, liquidated=not stop_first)
            return True
        if by_target:
            self.leave(self.size, opened, t)
            return True
        return False

    def inside(self, t: int) -> None:
        if self.size == 0:
            return
        long = self.size > 0
        low, high, opened = self.bars.lows[t], self.bars.highs[t], self.bars.opens[t]
        reached = [
            (level, name)
            for level, name in ((self.stop, "stop"), (self.ruin(), "ruin"))
            if level is not None and (low <= level if long else high >= level)
        ]
        if reached:
            best = max if long else min
            level = best(level for level, _ in reached)
            by_stop = (level, "stop") in reached
            # A position that is under water as it opens cannot leave at a better price than the open.
            base = min(level, opened) if long else max(level, opened)
            self.leave(self.size, base, t, liquidated=not by_stop)
        elif self.target is not None and (high >= self.target if long else low <= self.target):
            self.leave(self.size, self.target, t)

    def obey(self, t: int, decision: Decision) -> None:
        opened, slip = self.bars.opens[t], self.slippage[t]
        if decision.action == "CLOSE":
            if self.size:
                self.leave(self.size, opened, t)
            return
        fill = opened
        if decision.action in {"BUY", "SELL"}:
            if decision.size == 0:
                return
            side = 1 if decision.action == "BUY" else -1
            fill = opened * (1 + side * slip)
            self.order(t, side, decision.size, fill)
        if self.size == 0:
            return
        for name, level, way in (("stop", decision.stop_loss, -1), ("target", decision.take_profit, 1)):
            if level is None:
                continue
            above = way * (1 if self.size > 0 else -1) > 0
            good = level > max(opened, fill) if above else level < min(opened, fill)
            if not good:
                self.counts["invalid_stop"] += 1
            elif name == "stop":
                self.stop = level
            else:
                self.target = level

    def order(self, t: int, side: int, size: float, fill: float) -> None:
        held = self.size
        if held * side < 0:
            reduced = min(size, abs(held))
            self.leave(math.copysign(reduced, held), self.bars.opens[t], t)
            size -= reduced
        if size == 0 or self.broke:
            return
        leverage, fee = self.config.max_leverage, self.config.trading_fee
        room = (leverage * self.worth(fill) / fill - abs(self.size)) / (1 + leverage * fee)
        if size > room:
            self.counts["clipped"] += 1
            size = max(0.0, room)
        if size == 0:
            return
        self.entry = (abs(self.size) * self.entry + size * fill) / (abs(self.size) + size)
        self.size += side * size
        self.wallet -= fee * fill * size
        self.carried += fee * fill * size
        self.counts["fills"] += 1

    def leave(self, part: float, base: float, t: int, *, liquidated: bool = False) -> None:
        """Close the signed `part` of the position."""
        fill = base * (1 - math.copysign(self.slippage[t], part))
        rate = self.config.trading_fee + (self.config.liquidation_fee if liquidated else 0.0)
        gross, fee = part * (fill - self.entry), rate * fill * abs(part)
        carried = self.carried * part / self.size
        self.nets.append(gross - fee - carried)
        self.wallet += gross - fee
        self.carried -= carried
        self.size = 0.0 if part == self.size else self.size - part
        self.counts["fills"] += 1
        self.counts["liquidations"] += liquidated
        if self.size == 0:
            self.stop = self.target = None
            self.carried = self.entry = 0.0
            if self.wallet <= 0:
                self.wallet, self.broke = 0.0, True


levels = st.none() | st.floats(20, 500)
decisions = st.builds(
    Decision,
    action=st.sampled_from(("BUY", "SELL", "BUY", "SELL", "HOLD", "CLOSE")),
    size=st.floats(0.01, 400) | st.just(0.0),
    stop_loss=levels,
    take_profit=levels,
)
configs = st.builds(
    EvaluationConfig,
    max_leverage=st.floats(0.5, 60),
    trading_fee=st.floats(0, 0.01),
    maintenance_margin=st.floats(0, 0.015),
    liquidation_fee=st.floats(0, 0.05),
    decision_interval=st.integers(1, 3),
    funding_interval_hours=st.sampled_from((0.0, 0.5, 1.0, 3.0, 8.0)),
)


@st.composite
def markets_with_funding(draw: st.DrawFn) -> Bars:
    """Up to 25 bars that gap and swing, some of them missing, with a funding rate a bar."""
    price, rows, times, now = 100.0, [], [], MIDNIGHT_MS + 6 * HOUR_MS
    swing = draw(st.sampled_from((0.01, 0.05, 0.3)))
    count = draw(st.integers(3, 25))
    for _ in range(count):
        gap, move, up, down = (draw(st.floats(-swing, swing)) for _ in range(4))
        opened = price * math.exp(gap)
        price = opened * math.exp(move)
        high, low = max(opened, price) * math.exp(abs(up)), min(opened, price) * math.exp(-abs(down))
        rows.append((opened, high, low, price))
        times.append(now)
        now += HOUR_MS * draw(st.sampled_from((1, 1, 1, 2, 9)))
    funding = tuple(draw(st.floats(-0.004, 0.004)) for _ in range(count))
    return replace(market(*rows), times_ms=tuple(times), funding=funding)


@settings(max_examples=400)
@given(
    bars=markets_with_funding(),
    orders=st.lists(decisions, min_size=25, max_size=25),
    config=configs,
    slippage=st.lists(st.floats(0, 0.01), min_size=25, max_size=25),
)
def test_both_simulators_keep_the_same_account(
    bars: Bars, orders: list[Decision], config: EvaluationConfig, slippage: list[float]
) -> None:
    slips = slippage[: len(bars)]
    plain = Plain(
        bars=bars, config=config, slippage=slips, decisions=dict(enumerate(orders)), wallet=config.initial_balance
    )
    plain.run()

    run = play(bars, lambda view: orders[view.bar], config, slippage=slips)

    assert run.equity == pytest.approx(plain.curve, rel=1e-9, abs=1e-6)
    assert [trade.net for trade in run.trades] == pytest.approx(plain.nets, rel=1e-9, abs=1e-6)
    told = {name: getattr(run, name) for name in plain.counts}
    assert (told, run.bankrupt) == (plain.counts, plain.broke)
