"""Volatility Trading: realised against implied volatility, straddles, forward variance, hedged gamma."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from services.green_agent.benchmarks.options.market import SIGNS, cents, draw_market, strike_near
from services.green_agent.benchmarks.options.template import (
    Category,
    Dimension,
    Template,
    amount,
    breakeven,
    greek,
    label,
)
from services.green_agent.scoring.answers import Value

TRADING_DAYS: Final = 252


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Daily closes, oldest first, with the implied volatility and the rule of the desk."""

    closes: tuple[float, ...]
    implied_pct: float
    threshold_points: float

    @property
    def listed(self) -> str:
        """The closes as printed."""
        return ", ".join(f"{close:.2f}" for close in self.closes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Straddle:
    """A call and a put with one strike."""

    spot: float
    strike: float
    days: int
    call: float
    put: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TermStructure:
    """Implied volatilities of two expiries."""

    near_pct: float
    far_pct: float
    near_days: int
    far_days: int


@dataclass(frozen=True, kw_only=True, slots=True)
class HedgedGamma:
    """A delta-hedged book over some days; gamma in shares per USD, negative when short."""

    gamma_shares_per_usd: float
    spot: float
    implied_pct: float
    realised_pct: float
    days: int


def realised_volatility(closes: Sequence[float]) -> float:
    """Annual volatility (0.2 = 20 %): sample sd (n - 1) of the log returns times sqrt(252)."""
    returns = [math.log(after / before) for before, after in pairwise(closes)]
    return statistics.stdev(returns) * math.sqrt(TRADING_DAYS)


def forward_variance(params: TermStructure) -> float:
    """Annual variance between the two expiries implied by total variance being additive."""
    near = (params.near_pct / 100) ** 2 * params.near_days
    far = (params.far_pct / 100) ** 2 * params.far_days
    return (far - near) / (params.far_days - params.near_days)


def _draw_history(rng: random.Random) -> History:
    daily = rng.uniform(0.009, 0.034)
    closes = [cents(rng.uniform(60.0, 600.0))]
    for _ in range(rng.randint(10, 14)):
        closes.append(cents(closes[-1] * math.exp(rng.gauss(0.0, daily))))
    threshold = rng.choice((2.5, 3.5, 4.5))
    # Well inside or well outside the threshold, so that the rule's verdict never hangs on a rounding.
    gap = rng.choice((-1, 1)) * threshold * rng.choice((rng.uniform(0.2, 0.85), rng.uniform(1.2, 2.5)))
    implied = cents(100 * realised_volatility(closes) + gap)
    return History(closes=tuple(closes), implied_pct=implied, threshold_points=threshold)


def _history_key(params: History) -> Mapping[str, Value]:
    realised = 100 * realised_volatility(params.closes)
    premium = params.implied_pct - realised
    trade = "stand aside" if abs(premium) <= params.threshold_points else "sell" if premium > 0 else "buy"
    return {"realised_volatility_pct": realised, "iv_minus_hv_points": premium, "trade": trade}


def _draw_straddle(rng: random.Random) -> Straddle:
    market = draw_market(rng, days=(7, 90))
    strike = strike_near(rng, market.spot, 0.98, 1.02)
    return Straddle(
        spot=market.spot,
        strike=strike,
        days=market.days,
        call=market.premium("call", strike),
        put=market.premium("put", strike),
    )


def _straddle_key(params: Straddle) -> Mapping[str, Value]:
    cost = params.call + params.put
    return {
        "implied_move_pct": 100 * cost / params.spot,
        "lower_breakeven_usd": params.strike - cost,
        "upper_breakeven_usd": params.strike + cost,
    }


def _draw_term_structure(rng: random.Random) -> TermStructure:
    near_days = rng.randint(14, 90)
    near_pct = rng.uniform(14.0, 55.0)
    return TermStructure(
        near_pct=cents(near_pct),
        far_pct=cents(near_pct * rng.choice((rng.uniform(0.88, 0.96), rng.uniform(1.04, 1.15)))),
        near_days=near_days,
        far_days=near_days + rng.randint(30, 180),
    )


def _forward_key(params: TermStructure) -> Mapping[str, Value]:
    variance = forward_variance(params)
    volatility = math.sqrt(variance) if variance > 0 else math.nan
    return {"forward_variance": variance, "forward_volatility_pct": 100 * volatility}


def _draw_hedged_gamma(rng: random.Random) -> HedgedGamma:
    implied = rng.uniform(14.0, 50.0)
    return HedgedGamma(
        gamma_shares_per_usd=rng.choice((-1, 1)) * round(rng.uniform(20.0, 900.0), 1),
        spot=cents(rng.uniform(60.0, 600.0)),
        implied_pct=cents(implied),
        realised_pct=cents(implied * rng.choice((rng.uniform(0.6, 0.92), rng.uniform(1.08, 1.5)))),
        days=rng.randint(5, 40),
    )


def _gamma_key(params: HedgedGamma) -> Mapping[str, Value]:
    scale = 0.5 * params.gamma_shares_per_usd * params.spot**2 * params.days / 365
    gain = scale * (params.realised_pct / 100) ** 2
    cost = scale * (params.implied_pct / 100) ** 2
    return {
        "gamma_pnl_usd": gain,
        "theta_pnl_usd": -cost,
        "hedged_pnl_usd": gain - cost,
        "winning_side": "long gamma" if params.realised_pct > params.implied_pct else "short gamma",
    }


REALISED_VOL: Final = Template(
    name="realised_vol",
    category=Category.VOLATILITY_TRADING,
    wordings=(
        (
            "Daily closes of a stock, oldest first: {p.listed} USD. Its options imply {p.implied_pct:g} % volatility. The desk"
            " sells volatility when implied exceeds realised by more than {p.threshold_points:g} points, buys it when realised"
            " exceeds implied by more than that, and stands aside otherwise."
        ),
        (
            "A stock closed at {p.listed} USD on consecutive days. Compare its realised volatility with the implied volatility"
            " of {p.implied_pct:g} % and follow this rule: a difference of more than {p.threshold_points:g} points is traded"
            " (sell volatility if implied is the higher, buy it if realised is), a smaller one is not."
        ),
        (
            "Options on a share trade at an implied volatility of {p.implied_pct:g} %. The share's last closes, the most recent"
            " at the end, are {p.listed} USD. Is volatility a sale, a purchase, or neither, if only gaps beyond"
            " {p.threshold_points:g} volatility points between implied and realised are traded?"
        ),
    ),
    conventions=(
        "Realised volatility is the sample standard deviation (divisor n - 1) of the daily log returns times sqrt(252)."
    ),
    asked=(
        greek("realised_volatility_pct", "annual realised volatility", unit="%", decimals=3),
        greek("iv_minus_hv_points", "implied minus realised volatility, with its sign", unit="points", decimals=3),
        label("trade", "what the rule says", Dimension.STRATEGY, "buy", "sell", "stand aside"),
    ),
    draw=_draw_history,
    key=_history_key,
)

STRADDLE_MOVE: Final = Template(
    name="straddle_move",
    category=Category.VOLATILITY_TRADING,
    wordings=(
        (
            "The {p.days}-day straddle struck at {p.strike:.2f} USD costs {p.call:.2f} USD for the call and {p.put:.2f} USD for"
            " the put. The stock is at {p.spot:.2f} USD. Which move does it imply, and where does its buyer break even?"
        ),
        (
            "With a share at {p.spot:.2f} USD, call and put with strike {p.strike:.2f} USD and {p.days} days to expiry trade at"
            " {p.call:.2f} and {p.put:.2f} USD. Give the implied move and the prices between which a buyer of both loses."
        ),
        (
            "An event falls into the life of {p.days}-day options. Strike {p.strike:.2f} USD: call {p.call:.2f} USD, put"
            " {p.put:.2f} USD; spot {p.spot:.2f} USD. What move does the market price, and beyond which prices at expiry does"
            " the straddle pay?"
        ),
    ),
    conventions="The implied move is the price of the straddle in percent of the spot; break-evens are at expiry.",
    asked=(
        amount("implied_move_pct", "implied move", Dimension.PNL, unit="%", decimals=3),
        breakeven("lower_breakeven_usd", "lower break-even share price", Dimension.PNL),
        breakeven("upper_breakeven_usd", "upper break-even share price", Dimension.PNL),
    ),
    draw=_draw_straddle,
    key=_straddle_key,
)

FORWARD_VARIANCE: Final = Template(
    name="forward_variance",
    category=Category.VOLATILITY_TRADING,
    wordings=(
        (
            "At-the-money implied volatility is {p.near_pct:g} % for {p.near_days} days and {p.far_pct:g} % for {p.far_days}"
            " days. Which variance and volatility does that imply for the time between the two expiries?"
        ),
        (
            "Options that expire in {p.near_days} days trade at {p.near_pct:g} % volatility, those that expire in {p.far_days}"
            " days at {p.far_pct:g} %. Find the forward variance and the forward volatility from the near to the far expiry."
        ),
        (
            "From a term structure of {p.near_pct:g} % ({p.near_days} days) and {p.far_pct:g} % ({p.far_days} days) derive the"
            " annual variance, and the volatility, of the period after the near expiry up to the far one."
        ),
    ),
    conventions="Total variance (volatility^2 x T, T = days / 365) is additive over time; volatilities are annual.",
    asked=(
        greek("forward_variance", "annual forward variance, a plain number", unit="per year"),
        greek("forward_volatility_pct", "annual forward volatility", unit="%", decimals=3),
    ),
    draw=_draw_term_structure,
    key=_forward_key,
)

GAMMA_PNL: Final = Template(
    name="gamma_pnl",
    category=Category.VOLATILITY_TRADING,
    wordings=(
        (
            "A delta-hedged book has a gamma of {p.gamma_shares_per_usd:g} shares per USD at a spot of {p.spot:.2f} USD. Over"
            " {p.days} days the stock realises {p.realised_pct:g} % volatility; the options were bought or sold at"
            " {p.implied_pct:g} %. What does the hedging bring?"
        ),
        (
            "Implied volatility was {p.implied_pct:g} %, realised volatility over the following {p.days} days"
            " {p.realised_pct:g} %. Estimate the result of a delta-hedged position with gamma {p.gamma_shares_per_usd:g} shares"
            " per USD, spot {p.spot:.2f} USD."
        ),
        (
            "You ran a hedged option book for {p.days} days: gamma {p.gamma_shares_per_usd:g} shares per USD, share price about"
            " {p.spot:.2f} USD, volatility realised {p.realised_pct:g} % against {p.implied_pct:g} % implied. Split the profit"
            " and loss into gamma and theta."
        ),
    ),
    conventions=(
        "Use the approximation P&L = 0.5 x gamma x spot^2 x (realised^2 - implied^2) x T with constant gamma and spot and"
        f" T = days / 365; the first term is the gamma part, the second the theta part. {SIGNS}"
    ),
    asked=(
        amount("gamma_pnl_usd", "gamma part", Dimension.PNL, unit="USD", decimals=2),
        amount("theta_pnl_usd", "theta part", Dimension.PNL, unit="USD", decimals=2),
        amount("hedged_pnl_usd", "profit or loss of the book", Dimension.PNL, unit="USD", decimals=2),
        label(
            "winning_side",
            "which side of gamma earned money in this period",
            Dimension.STRATEGY,
            "long gamma",
            "short gamma",
        ),
    ),
    draw=_draw_hedged_gamma,
    key=_gamma_key,
)

TEMPLATES: Final = (REALISED_VOL, STRADDLE_MOVE, FORWARD_VARIANCE, GAMMA_PNL)
