"""Profit and loss at expiry of an options strategy: extremes, breakevens, probability of profit.

The profit is piecewise linear in the price at expiry, so its extremes lie at the strikes, at zero or at infinity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import Field

from services.purple_agent.tools.base import Arguments, Result, ToolError, Unit, formula
from services.purple_agent.tools.options import Days, Money, Rate, Volatility


class Leg(Arguments):
    """One leg; `stock` is the underlying itself, bought or sold at `premium`."""

    type: Literal["call", "put", "stock"]
    side: Literal["buy", "sell"]
    strike: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    """Left out for stock."""
    quantity: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    premium: Annotated[float, Field(ge=0, le=1e12)]
    """Per share."""
    days_to_expiry: Days | None = None
    """Calendar days; needed for the probability, and the same for every option leg."""


class StrategyArguments(Arguments):
    """The legs and the market they are judged in."""

    legs: Annotated[tuple[Leg, ...], Field(min_length=1, max_length=50)]
    spot_price: Money
    volatility: Volatility | None = None
    """Annual, as a fraction; without it there is no probability."""
    risk_free_rate: Rate = 0.05
    """Continuously compounded, as a fraction."""


class Strategy(Result):
    """A strategy held to expiry, per share of each leg's quantity of 1."""

    net_premium: Annotated[float, Unit("currency per share; positive = received, negative = paid; stock not counted")]
    max_profit: Annotated[float | None, Unit("currency per share; null = unbounded")]
    max_loss: Annotated[float | None, Unit("currency per share, positive for a loss; null = unbounded")]
    breakevens: Annotated[tuple[float, ...], Unit("price of the underlying at expiry, ascending")]
    probability_of_profit: Annotated[
        float | None, Unit("fraction, lognormal with the risk-free drift; null without volatility and days")
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class Payoff:
    """Profit at expiry as a function of the price, linear between `knots` and beyond the last with `last_slope`."""

    knots: tuple[float, ...]
    """Ascending, first 0."""
    profits: tuple[float, ...]
    """At the knots."""
    last_slope: float

    def at(self, price: float) -> float:
        """Profit when the underlying ends at `price`."""
        for (a, b), (low, high) in zip(pairwise(self.knots), pairwise(self.profits), strict=True):
            if price <= b:
                return low + (high - low) * (price - a) / (b - a)
        return self.profits[-1] + self.last_slope * (price - self.knots[-1])

    def breakevens(self) -> tuple[float, ...]:
        """Prices above 0 at which the profit changes sign, touches 0, or leaves a stretch of 0."""
        beyond = self.profits[-1] + self.last_slope
        around = zip((0.0, *self.profits), self.profits, (*self.profits[1:], beyond), self.knots, strict=False)
        roots = {knot for left, here, right, knot in around if knot > 0 and here == 0 and (left or right)}
        for (a, b), (low, high) in zip(pairwise(self.knots), pairwise(self.profits), strict=True):
            if low * high < 0:
                roots.add(a + (b - a) * low / (low - high))
        if self.profits[-1] * self.last_slope < 0:
            roots.add(self.knots[-1] - self.profits[-1] / self.last_slope)
        return tuple(sorted(roots))


def payoff_of(legs: Sequence[Leg]) -> Payoff:
    """Profit at expiry of `legs` together."""
    knots = tuple(sorted({0.0} | {leg.strike for leg in legs if leg.type != "stock"}))
    slope = sum(_sign(leg) * leg.quantity for leg in legs if leg.type != "put")
    profits = tuple(_clean(sum(_profit(leg, knot) for leg in legs)) for knot in knots)
    return Payoff(knots=knots, profits=profits, last_slope=slope)


def analyze(arguments: StrategyArguments) -> Strategy:
    """Extremes, breakevens and probability of profit of a strategy held to expiry."""
    days = _common_days(arguments.legs)
    payoff = payoff_of(arguments.legs)
    return Strategy(
        net_premium=-sum(_sign(leg) * leg.quantity * leg.premium for leg in arguments.legs if leg.type != "stock"),
        max_profit=None if payoff.last_slope > 0 else max(payoff.profits),
        max_loss=None if payoff.last_slope < 0 else -min(payoff.profits),
        breakevens=payoff.breakevens(),
        probability_of_profit=_probability(payoff, arguments, days),
    )


def _sign(leg: Leg) -> int:
    return 1 if leg.side == "buy" else -1


def _profit(leg: Leg, price: float) -> float:
    worth = {"call": max(price - leg.strike, 0.0), "put": max(leg.strike - price, 0.0), "stock": price}[leg.type]
    return _sign(leg) * leg.quantity * (worth - leg.premium)


def _clean(value: float) -> float:
    """`value` without the dust of binary fractions, so that a profit of zero is found as zero."""
    return round(value, 9)


def _common_days(legs: Sequence[Leg]) -> float | None:
    options = [leg for leg in legs if leg.type != "stock"]
    if any(leg.strike <= 0 for leg in options):
        raise ToolError("invalid_arguments", "every call and put needs a strike above 0")
    days = {leg.days_to_expiry for leg in options}
    if len(days) > 1:
        raise ToolError("unsupported", "legs with different days_to_expiry have no common profit at expiry")
    return next(iter(days), None)


def _probability(payoff: Payoff, arguments: StrategyArguments, days: float | None) -> float | None:
    """Chance of a profit above 0 when the price ends lognormal with drift r - sigma^2 / 2."""
    if days is None or arguments.volatility is None:
        return None
    years = days / 365
    spread = arguments.volatility * math.sqrt(years)
    centre = math.log(arguments.spot_price) + (arguments.risk_free_rate - arguments.volatility**2 / 2) * years
    ends = NormalDist(centre, spread)
    edges = sorted({0.0, *payoff.knots, *payoff.breakevens()})
    chances = [0.0 if edge == 0 else ends.cdf(math.log(edge)) for edge in edges] + [1.0]
    inside = [(a + b) / 2 for a, b in pairwise(edges)] + [edges[-1] + 1]
    return sum(high - low for (low, high), price in zip(pairwise(chances), inside, strict=True) if payoff.at(price) > 0)


ANALYZE_OPTIONS_STRATEGY = formula(
    name="analyze_options_strategy",
    description="Net premium, maximal profit and loss, breakevens and probability of profit of a strategy at expiry.",
    arguments=StrategyArguments,
    result=Strategy,
    compute=analyze,
)
