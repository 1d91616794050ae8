"""Positions held to expiry, explored by brute force: the independent check of every multi-leg template."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from services.green_agent.benchmarks.options.market import Market


@dataclass(frozen=True, slots=True)
class Leg:
    """`quantity` options (negative: sold) at `premium`; kind `share` is the stock itself, bought at `premium`."""

    quantity: float
    kind: str
    strike: float
    premium: float

    def payoff(self, price: float) -> float:
        if self.kind == "share":
            return self.quantity * (price - self.premium)
        gain = price - self.strike if self.kind == "call" else self.strike - price
        return self.quantity * (max(gain, 0.0) - self.premium)


class Position:
    """Profit at expiry as a function of the share price: straight lines between the strikes."""

    def __init__(self, *legs: Leg) -> None:
        self.legs = legs
        strikes = sorted({leg.strike for leg in legs if leg.kind != "share"})
        self.knots: Sequence[float] = (0.0, *strikes, 3 * strikes[-1])

    def profit(self, price: float) -> float:
        return math.fsum(leg.payoff(price) for leg in self.legs)

    @property
    def net_premium(self) -> float:
        return -math.fsum(leg.quantity * leg.premium for leg in self.legs if leg.kind != "share")

    @property
    def best(self) -> float:
        return max(map(self.profit, self.knots))

    @property
    def worst(self) -> float:
        return min(map(self.profit, self.knots))

    @property
    def breakevens(self) -> list[float]:
        found = []
        for left, right in pairwise(self.knots):
            low, high = self.profit(left), self.profit(right)
            if (low < 0) != (high < 0):
                found.append(left + (right - left) * low / (low - high))
        return found

    def chance_of_profit(self, market: Market) -> float:
        """Sum of the probabilities of the stretches with a profit, by the complementary error function."""
        edges = [0.0, *self.breakevens, math.inf]
        total = 0.0
        for left, right in pairwise(edges):
            middle = (left + right) / 2 if right < math.inf else 2 * left + 1
            if self.profit(middle) > 0:
                total += below(market, right) - below(market, left)
        return total


def below(market: Market, price: float) -> float:
    """Risk-neutral probability that the share ends below `price`."""
    if price in {0.0, math.inf}:
        return float(price > 0)
    years = market.days / 365
    variance = (market.volatility_pct / 100) ** 2 * years
    forward = market.spot * math.exp((market.rate_pct - market.dividend_pct) / 100 * years)
    d2 = (math.log(forward / price) - variance / 2) / math.sqrt(variance)
    return 0.5 * math.erfc(d2 / math.sqrt(2))
