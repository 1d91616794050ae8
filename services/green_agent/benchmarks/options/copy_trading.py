"""Copy Trading: what a copied spread needs to pay, and whether a follower should copy it after his own slippage."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.green_agent.benchmarks.options.market import cents, draw_market, strike_near
from services.green_agent.benchmarks.options.template import (
    Category,
    Dimension,
    Template,
    amount,
    breakeven,
    probability,
    yes_or_no,
)
from services.green_agent.scoring.answers import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class CallSpread:
    """A call spread bought for a debit."""

    spot: float
    low: float
    high: float
    debit: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A spread that a follower buys at a worse price, with the leader's record."""

    low: float
    high: float
    debit: float
    slippage: float
    hit_rate_pct: float
    hurdle_pct: float


def kelly_fraction(*, win_probability: float, payoff: float) -> float:
    """Share of capital, 0..1, that maximises log growth when a win pays `payoff` times the stake; 0 without an edge."""
    return max(win_probability - (1 - win_probability) / payoff, 0.0)


def _draw_spread(rng: random.Random) -> CallSpread:
    market = draw_market(rng, spot=(120.0, 900.0), days=(20, 120))
    low = strike_near(rng, market.spot, 1.005, 1.04)
    high = strike_near(rng, market.spot, 1.06, 1.14)
    return CallSpread(
        spot=market.spot, low=low, high=high, debit=cents(market.premium("call", low) - market.premium("call", high))
    )


def _spread_key(params: CallSpread) -> Mapping[str, Value]:
    width = params.high - params.low
    even = params.low + params.debit
    return {
        "max_profit_usd": width - params.debit,
        "max_loss_per_contract_usd": 100 * params.debit,
        "breakeven_usd": even,
        "required_move_pct": 100 * (even / params.spot - 1),
        "breakeven_hit_rate_pct": 100 * params.debit / width,
    }


def _draw_copied(rng: random.Random) -> Copied:
    spread = _draw_spread(rng)
    width = spread.high - spread.low
    slippage = cents(spread.debit * rng.uniform(0.02, 0.06))
    even_rate = (spread.debit + slippage) / width
    return Copied(
        low=spread.low,
        high=spread.high,
        debit=spread.debit,
        slippage=slippage,
        hit_rate_pct=round(100 * min(even_rate * rng.uniform(1.05, 1.35), 0.93), 1),
        hurdle_pct=round(rng.uniform(8.0, 24.0), 1),
    )


def _copied_key(params: Copied) -> Mapping[str, Value]:
    cost = params.debit + params.slippage
    gain = params.high - params.low - cost
    rate = params.hit_rate_pct / 100
    expectancy = rate * gain - (1 - rate) * cost
    return {
        "follower_max_profit_usd": gain,
        "expectancy_usd": expectancy,
        "kelly_pct": 100 * kelly_fraction(win_probability=rate, payoff=gain / cost),
        "copy": expectancy > params.hurdle_pct / 100 * cost,
    }


def _draw_clear_copied(rng: random.Random) -> Copied:
    """A case that is not within a tenth of the hurdle."""
    while True:
        params = _draw_copied(rng)
        key = _copied_key(params)
        hurdle = params.hurdle_pct / 100 * (params.debit + params.slippage)
        if abs(float(key["expectancy_usd"]) - hurdle) > 0.1 * hurdle:
            return params


COPIED_SPREAD: Final = Template(
    name="copied_spread",
    category=Category.COPY_TRADING,
    wordings=(
        (
            "A trader whom you copy buys the {p.low:.2f}/{p.high:.2f} USD call spread for {p.debit:.2f} USD; the stock is at"
            " {p.spot:.2f} USD. What can the trade win and lose, how far must the stock go, and how often must such a trade win"
            " to break even?"
        ),
        (
            "Copy signal: bull call spread, strikes {p.low:.2f} and {p.high:.2f} USD, debit {p.debit:.2f} USD, spot"
            " {p.spot:.2f} USD. Work out its pay-off before you follow it."
        ),
        (
            "The account you follow has just paid {p.debit:.2f} USD for calls struck at {p.low:.2f} USD against sold calls"
            " struck at {p.high:.2f} USD, with the share trading at {p.spot:.2f} USD. Assess the trade at its price."
        ),
    ),
    conventions=(
        "The spread is held to expiry, without commissions; work per share unless told otherwise. One contract covers 100"
        " shares. The break-even hit rate is the share of trades that must end with the full profit if all others end with"
        " the full loss."
    ),
    asked=(
        amount("max_profit_usd", "largest possible profit per share", Dimension.PNL, decimals=2),
        amount(
            "max_loss_per_contract_usd",
            "largest possible loss of one contract, without sign",
            Dimension.RISK,
            unit="USD",
            decimals=2,
        ),
        breakeven("breakeven_usd", "break-even share price at expiry", Dimension.PNL),
        amount("required_move_pct", "rise from the spot to break-even", Dimension.PNL, unit="%", decimals=3),
        probability("breakeven_hit_rate_pct", "break-even hit rate"),
    ),
    draw=_draw_spread,
    key=_spread_key,
)

COPY_DECISION: Final = Template(
    name="copy_decision",
    category=Category.COPY_TRADING,
    wordings=(
        (
            "A leader buys the {p.low:.2f}/{p.high:.2f} USD call spread at {p.debit:.2f} USD. You would get it {p.slippage:.2f}"
            " USD worse. His spreads end with the full profit in {p.hit_rate_pct:g} % of cases and with the full loss"
            " otherwise. You copy a trade only if its expectancy exceeds {p.hurdle_pct:g} % of what you pay. Do you?"
        ),
        (
            "Followers pay {p.slippage:.2f} USD more than the leader's {p.debit:.2f} USD for a call spread with strikes"
            " {p.low:.2f} and {p.high:.2f} USD. Assume it wins fully with probability {p.hit_rate_pct:g} % and loses fully"
            " otherwise. The rule: copy when the follower's expectancy is above {p.hurdle_pct:g} % of the follower's cost."
        ),
        (
            "Should a follower copy this trade? Bull call spread {p.low:.2f}/{p.high:.2f} USD, leader's price {p.debit:.2f}"
            " USD, follower's slippage {p.slippage:.2f} USD, hit rate {p.hit_rate_pct:g} % (all or nothing), required"
            " expectancy more than {p.hurdle_pct:g} % of the price paid by the follower."
        ),
    ),
    conventions=(
        "Work per share from the follower's point of view, slippage included, without commissions. Kelly is the share of"
        " capital, in percent, that maximises expected log growth when the price paid is the stake."
    ),
    asked=(
        amount("follower_max_profit_usd", "follower's largest possible profit", Dimension.PNL, decimals=2),
        amount("expectancy_usd", "follower's expected profit", Dimension.PNL),
        amount("kelly_pct", "full Kelly stake", Dimension.RISK, unit="%", decimals=3, tolerance=0.01),
        yes_or_no("copy", "whether the rule says to copy", Dimension.STRATEGY),
    ),
    draw=_draw_clear_copied,
    key=_copied_key,
)

TEMPLATES: Final = (COPIED_SPREAD, COPY_DECISION)
