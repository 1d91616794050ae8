"""Black-Scholes-Merton and a binomial tree written down once more, on the standard library, to check the product against."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True, slots=True)
class ClosedForm:
    """Price and Greeks of a European option, per share; theta per day, vega and rho per point."""

    price: float
    delta: float
    gamma: float
    theta: float
    vega: float
    rho: float


def european(
    kind: str, *, spot: float, strike: float, rate: float, dividend: float, volatility: float, days: float
) -> ClosedForm:
    """Textbook formulas, all arguments as fractions."""
    sign = 1 if kind == "call" else -1
    years = days / 365
    deviation = volatility * math.sqrt(years)
    d1 = (math.log(spot / strike) + (rate - dividend + volatility**2 / 2) * years) / deviation
    d2 = d1 - deviation
    stock, bond = spot * math.exp(-dividend * years), strike * math.exp(-rate * years)
    n1, n2 = NORMAL.cdf(sign * d1), NORMAL.cdf(sign * d2)
    decay = -stock * NORMAL.pdf(d1) * volatility / (2 * math.sqrt(years))
    return ClosedForm(
        price=sign * (stock * n1 - bond * n2),
        delta=sign * stock / spot * n1,
        gamma=stock * NORMAL.pdf(d1) / (spot**2 * deviation),
        theta=(decay + sign * (dividend * stock * n1 - rate * bond * n2)) / 365,
        vega=stock * NORMAL.pdf(d1) * math.sqrt(years) / 100,
        rho=sign * bond * years * n2 / 100,
    )


def american_put_tree(
    *, spot: float, strike: float, rate: float, dividend: float, volatility: float, days: float, steps: int = 1001
) -> float:
    """Cox-Ross-Rubinstein."""
    step = days / 365 / steps
    up = math.exp(volatility * math.sqrt(step))
    chance = (math.exp((rate - dividend) * step) - 1 / up) / (up - 1 / up)
    discount = math.exp(-rate * step)
    prices = spot * up ** (2.0 * np.arange(steps + 1) - steps)
    values = np.maximum(strike - prices, 0.0)
    for level in range(steps, 0, -1):
        prices = prices[:level] * up
        values = np.maximum(
            discount * (chance * values[1 : level + 1] + (1 - chance) * values[:level]), strike - prices
        )
    return float(values[0])
