"""Wallet and position of one episode: what each fill costs and earns, to the cent. It does not know the order of a bar.

Finance specification 7.5. Sizes are signed base units, positive when long; prices handed in are fill prices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig

Exit = Literal["close", "stop", "target", "liquidation", "final"]
Kind = Literal["open", "funding", "clipped", "cancelled", "invalid_stop"] | Exit

SAME_SIZE: Final = 1e-7
"""Sizes are shown with 8 digits, so an order this close to the position, relatively, means all of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something that happened to the account."""

    bar: int
    kind: Kind
    price: float
    """Fill price; the rejected level for `invalid_stop`."""
    size: float
    """Signed base units that changed hands; of the position for `funding`; refused ones for `clipped` and `cancelled`."""
    net: float | None = None
    """Money won or lost: the trade's net for an exit, the payment for `funding`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trade:
    """One closing fill."""

    bar: int
    kind: Exit
    size: float
    """Signed size of the part of the position that was closed."""
    entry_price: float
    exit_price: float
    net: float
    """Gross less exit fee, less the proportional share of entry fees and funding."""


class Ledger:
    """Wallet, position, resting levels and the running totals. Equity at a fill is never left negative."""

    __slots__ = (
        "_entry_fees",
        "_fee_rate",
        "_funding_paid",
        "_leverage",
        "_margin",
        "_penalty_rate",
        "bankrupt",
        "clipped",
        "entry",
        "events",
        "fees",
        "fills",
        "funding",
        "liquidations",
        "shortfall",
        "size",
        "stop",
        "target",
        "trades",
        "turnover",
        "wallet",
    )

    def __init__(self, config: EvaluationConfig) -> None:
        self._fee_rate = config.trading_fee
        self._leverage = config.max_leverage
        self._margin = config.maintenance_margin
        self._penalty_rate = config.liquidation_fee
        self._entry_fees = 0.0
        self._funding_paid = 0.0
        self.wallet = config.initial_balance
        self.size = 0.0
        self.entry = 0.0
        self.stop: float | None = None
        self.target: float | None = None
        self.trades: list[Trade] = []
        self.events: list[Event] = []
        self.fees = 0.0
        self.funding = 0.0
        self.turnover = 0.0
        self.shortfall = 0.0
        self.fills = 0
        self.clipped = 0
        self.liquidations = 0
        self.bankrupt = False

    def equity(self, price: float) -> float:
        """Worth of the account with the position marked at `price`."""
        return self.wallet + self.size * (price - self.entry)

    def liquidation_price(self) -> float | None:
        """Price at which equity is the maintenance margin; None without a position or when no price above 0 gets there."""
        if self.size > 0:
            price = (self.size * self.entry - self.wallet) / (self.size * (1 - self._margin))
            return price if price > 0 else None
        if self.size < 0:
            short = -self.size
            return (self.wallet + short * self.entry) / (short * (1 + self._margin))
        return None

    def room(self, price: float) -> float:
        """Base units that may be opened on the side of the position at fill price `price`; negative beyond the cap."""
        return (self._leverage * self.equity(price) / price - abs(self.size)) / (1 + self._leverage * self._fee_rate)

    def reach(self, side: int, price: float) -> float:
        """Largest order towards `side` (1 buy, -1 sell) that would fill whole at `price`, closing and reversing included."""
        against = -side * self.size
        if against <= 0:
            return max(self.room(price), 0.0)
        left = self.equity(price) - self._fee_rate * price * against
        return against + max(self._leverage * left / price / (1 + self._leverage * self._fee_rate), 0.0)

    def pay_funding(self, bar: int, price: float, rate: float) -> None:
        """Long pays a positive rate on its notional at `price`, short receives it."""
        paid = self.size * price * rate
        self.wallet -= paid
        self._funding_paid += paid
        self.funding += paid
        self.events.append(Event(bar=bar, kind="funding", price=price, size=self.size, net=-paid))

    def trade(self, bar: int, side: int, size: float, price: float) -> None:
        """Fill an order of `size` > 0 towards `side`: first against the position, the rest opens, clipped to the room."""
        against = -side * self.size
        if against > 0:
            whole = size >= against * (1 - SAME_SIZE)
            self.close(bar, "close", price, part=None if whole else size)
            size -= against
            if self.bankrupt or size <= against * SAME_SIZE:
                return
        self._open(bar, side, size, price)

    def _open(self, bar: int, side: int, size: float, price: float) -> None:
        room = max(self.room(price), 0.0)
        if size > room:
            self.clipped += 1
            self.events.append(Event(bar=bar, kind="clipped", price=price, size=side * (size - room)))
            size = room
        if size <= 0:
            return
        held = abs(self.size)
        fee = self._fee_rate * price * size
        self.entry = (held * self.entry + size * price) / (held + size)
        self.size += side * size
        self._entry_fees += fee
        self._charge(fee, price * size)
        self.events.append(Event(bar=bar, kind="open", price=price, size=side * size))

    def close(self, bar: int, kind: Exit, price: float, *, part: float | None = None) -> None:
        """Close `part` base units of the position, all of it when None. A wallet below 0 is lifted to 0: bankrupt."""
        held = abs(self.size)
        closed, share = (held, 1.0) if part is None else (part, part / held)
        signed = math.copysign(closed, self.size)
        notional = price * closed
        gross = signed * (price - self.entry)
        fee = self._fee_rate * notional
        if kind == "liquidation":
            fee += self._penalty_rate * notional
            self.liquidations += 1
        net = gross - fee - share * (self._entry_fees + self._funding_paid)
        self.trades.append(Trade(bar=bar, kind=kind, size=signed, entry_price=self.entry, exit_price=price, net=net))
        self.events.append(Event(bar=bar, kind=kind, price=price, size=-signed, net=net))
        self.wallet += gross
        self._charge(fee, notional)
        self._entry_fees *= 1 - share
        self._funding_paid *= 1 - share
        self.size -= signed
        if self.size == 0:
            self._flat()

    def _charge(self, fee: float, notional: float) -> None:
        self.wallet -= fee
        self.fees += fee
        self.turnover += notional
        self.fills += 1

    def _flat(self) -> None:
        self.size = self.entry = 0.0
        self.stop = self.target = None
        if self.wallet <= 0:
            self.shortfall -= self.wallet
            self.wallet = 0.0
            self.bankrupt = True
