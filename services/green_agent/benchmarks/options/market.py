"""The setting many questions share: a stock, its volatility, the rate, and option prices in that setting."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

from services.contract.pricing import DAYS_PER_YEAR, Kind, OptionQuote, price_option

MODEL: Final = (
    "All options are European. Use Black-Scholes-Merton with the interest rate and the dividend yield continuously"
    " compounded, ACT/365 fixed, T = days / 365."
)
GREEKS: Final = (
    "Delta and gamma are per share; theta is per calendar day (annual theta / 365); vega and rho are per one"
    " percentage point (0.01)."
)
CONTRACT: Final = "One contract covers 100 shares."
SIGNS: Final = (
    "Long positions, gains and amounts received are positive; short positions, losses and amounts paid negative."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Market:
    """A stock and its options. Percentages are in percent, as printed."""

    spot: float
    rate_pct: float
    dividend_pct: float
    volatility_pct: float
    days: int

    @property
    def years(self) -> float:
        """T."""
        return self.days / DAYS_PER_YEAR

    def quote(self, kind: Kind, strike: float) -> OptionQuote:
        """European option in this market."""
        return price_option(
            kind=kind,
            spot=self.spot,
            strike=strike,
            rate=self.rate_pct / 100,
            dividend_yield=self.dividend_pct / 100,
            volatility=self.volatility_pct / 100,
            days=self.days,
        )

    def premium(self, kind: Kind, strike: float) -> float:
        """The price in whole cents, at least one."""
        return max(cents(self.quote(kind, strike).price), 0.01)

    def moved(self, *, spot: float, volatility_pct: float, days: int) -> Market:
        """The same stock later or under stress."""
        return replace(self, spot=spot, volatility_pct=volatility_pct, days=days)

    def chance_below(self, price: float) -> float:
        """Probability, 0..1, that the stock ends below `price` under the risk-neutral lognormal of this market."""
        volatility = self.volatility_pct / 100
        drift = (self.rate_pct - self.dividend_pct) / 100 - volatility**2 / 2
        forward_log = NormalDist(drift * self.years, volatility * self.years**0.5)
        return forward_log.cdf(math.log(price / self.spot)) if price > 0 else 0.0


def draw_market(
    rng: random.Random,
    *,
    spot: tuple[float, float] = (60.0, 600.0),
    days: tuple[int, int] = (20, 270),
    dividend_pct: tuple[float, float] = (0.4, 3.5),
) -> Market:
    """A plausible stock: volatility 14 to 58 %, rate 1.2 to 6.8 %. A dividend range of (0, 0) means none."""
    return Market(
        spot=cents(rng.uniform(*spot)),
        rate_pct=cents(rng.uniform(1.2, 6.8)),
        dividend_pct=cents(rng.uniform(*dividend_pct)),
        volatility_pct=cents(rng.uniform(14.0, 58.0)),
        days=rng.randint(*days),
    )


def cents(value: float) -> float:
    """Two decimals, as printed."""
    return round(value, 2)


def strike_near(rng: random.Random, spot: float, low: float, high: float) -> float:
    """A strike between `low` and `high` times the spot, on a grid of 0.50 below 200 and of 1 above."""
    grid = 0.5 if spot < 200 else 1.0
    return round(rng.uniform(low, high) * spot / grid) * grid
