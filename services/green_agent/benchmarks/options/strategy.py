"""Strategy Construction: what multi-leg positions cost, can win and lose, where they break even and how often they win."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from services.contract.pricing import Kind
from services.green_agent.benchmarks.options.market import Market, draw_market, strike_near
from services.green_agent.benchmarks.options.template import (
    Asked,
    Category,
    Dimension,
    Template,
    amount,
    breakeven,
    probability,
)
from services.green_agent.scoring.answers import Value

CONVENTIONS: Final = (
    "All options are European, expire on the same day and are held to expiry; work per share, without commissions. The net"
    " premium is positive when it is received and negative when it is paid. The probability of profit assumes a lognormal"
    " share price at expiry with ln(price) normal, mean ln(spot) + (rate - yield - volatility^2 / 2) x T and variance"
    " volatility^2 x T; rate and yield are continuously compounded, ACT/365 fixed, T = days / 365."
)
SETTING: Final = (
    " Spot {p.market.spot:.2f} USD, volatility {p.market.volatility_pct:g} %, interest rate {p.market.rate_pct:g} %,"
    " dividend yield {p.market.dividend_pct:g} %, {p.market.days} days to expiry."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Vertical:
    """Two options of one kind: `low` and `high` strikes, one bought and one sold."""

    market: Market
    kind: Kind
    view: Literal["bull", "bear"]
    low: float
    high: float
    low_premium: float
    high_premium: float

    @property
    def low_trade(self) -> str:
        """What is done with the lower strike; a bull buys it, with calls and puts alike."""
        return "buy" if self.view == "bull" else "sell"

    @property
    def high_trade(self) -> str:
        """What is done with the higher strike."""
        return "sell" if self.view == "bull" else "buy"


@dataclass(frozen=True, kw_only=True, slots=True)
class Condor:
    """A put spread and a call spread, both sold: put wing < short put < short call < call wing."""

    market: Market
    put_wing: float
    short_put: float
    short_call: float
    call_wing: float
    put_wing_premium: float
    short_put_premium: float
    short_call_premium: float
    call_wing_premium: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Butterfly:
    """Calls at three evenly spaced strikes: one bought, two sold, one bought."""

    market: Market
    low: float
    middle: float
    high: float
    low_premium: float
    middle_premium: float
    high_premium: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Collar:
    """Shares bought at the spot with a put bought below and a call sold above."""

    market: Market
    put: float
    call: float
    put_premium: float
    call_premium: float


@dataclass(frozen=True, kw_only=True, slots=True)
class PutRatio:
    """One put bought at the higher strike, two sold at the lower."""

    market: Market
    low: float
    high: float
    low_premium: float
    high_premium: float


def _draw_vertical(rng: random.Random) -> Vertical:
    market = draw_market(rng)
    kind: Kind = rng.choice(("call", "put"))
    low = strike_near(rng, market.spot, 0.88, 0.99)
    high = strike_near(rng, market.spot, 1.01, 1.12)
    return Vertical(
        market=market,
        kind=kind,
        view=rng.choice(("bull", "bear")),
        low=low,
        high=high,
        low_premium=market.premium(kind, low),
        high_premium=market.premium(kind, high),
    )


def _vertical_key(params: Vertical) -> Mapping[str, Value]:
    width = params.high - params.low
    paid_for_bull = params.low_premium - params.high_premium
    net = -paid_for_bull if params.view == "bull" else paid_for_bull
    # Either the premium is received and is all that can be won, or it is paid and is all that can be lost.
    profit, loss = (net, width - net) if net > 0 else (width + net, -net)
    even = params.low + paid_for_bull if params.kind == "call" else params.high + paid_for_bull
    below = params.market.chance_below(even)
    return {
        "net_premium_usd": net,
        "max_profit_usd": profit,
        "max_loss_usd": loss,
        "breakeven_usd": even,
        "profit_probability_pct": 100 * (1 - below if params.view == "bull" else below),
    }


def _draw_condor(rng: random.Random) -> Condor:
    market = draw_market(rng, days=(20, 90))
    short_put = strike_near(rng, market.spot, 0.90, 0.97)
    short_call = strike_near(rng, market.spot, 1.03, 1.10)
    width = strike_near(rng, market.spot, 0.04, 0.09)
    return Condor(
        market=market,
        put_wing=short_put - width,
        short_put=short_put,
        short_call=short_call,
        call_wing=short_call + width,
        put_wing_premium=market.premium("put", short_put - width),
        short_put_premium=market.premium("put", short_put),
        short_call_premium=market.premium("call", short_call),
        call_wing_premium=market.premium("call", short_call + width),
    )


def _condor_key(params: Condor) -> Mapping[str, Value]:
    sold = params.short_put_premium + params.short_call_premium
    net = sold - params.put_wing_premium - params.call_wing_premium
    lower, upper = params.short_put - net, params.short_call + net
    return {
        "net_premium_usd": net,
        "max_profit_usd": net,
        "max_loss_usd": params.call_wing - params.short_call - net,
        "lower_breakeven_usd": lower,
        "upper_breakeven_usd": upper,
        "profit_probability_pct": 100 * (params.market.chance_below(upper) - params.market.chance_below(lower)),
    }


def _draw_butterfly(rng: random.Random) -> Butterfly:
    market = draw_market(rng, days=(20, 120))
    middle = strike_near(rng, market.spot, 0.95, 1.05)
    width = strike_near(rng, market.spot, 0.06, 0.14)
    return Butterfly(
        market=market,
        low=middle - width,
        middle=middle,
        high=middle + width,
        low_premium=market.premium("call", middle - width),
        middle_premium=market.premium("call", middle),
        high_premium=market.premium("call", middle + width),
    )


def _butterfly_key(params: Butterfly) -> Mapping[str, Value]:
    net = 2 * params.middle_premium - params.low_premium - params.high_premium
    lower, upper = params.low - net, params.high + net
    return {
        "net_premium_usd": net,
        "max_profit_usd": params.middle - params.low + net,
        "max_loss_usd": -net,
        "lower_breakeven_usd": lower,
        "upper_breakeven_usd": upper,
        "profit_probability_pct": 100 * (params.market.chance_below(upper) - params.market.chance_below(lower)),
    }


def _draw_collar(rng: random.Random) -> Collar:
    market = draw_market(rng)
    put = strike_near(rng, market.spot, 0.85, 0.96)
    call = strike_near(rng, market.spot, 1.04, 1.18)
    return Collar(
        market=market,
        put=put,
        call=call,
        put_premium=market.premium("put", put),
        call_premium=market.premium("call", call),
    )


def _collar_key(params: Collar) -> Mapping[str, Value]:
    net = params.call_premium - params.put_premium
    cost = params.market.spot - net
    return {
        "net_premium_usd": net,
        "max_profit_usd": params.call - cost,
        "max_loss_usd": cost - params.put,
        "breakeven_usd": cost,
        "profit_probability_pct": 100 * (1 - params.market.chance_below(cost)),
    }


def _draw_put_ratio(rng: random.Random) -> PutRatio:
    market = draw_market(rng, days=(30, 120))
    high = strike_near(rng, market.spot, 0.99, 1.06)
    low = strike_near(rng, market.spot, 0.82, 0.89)
    return PutRatio(
        market=market,
        low=low,
        high=high,
        low_premium=market.premium("put", low),
        high_premium=market.premium("put", high),
    )


def _put_ratio_key(params: PutRatio) -> Mapping[str, Value]:
    net = 2 * params.low_premium - params.high_premium
    width = params.high - params.low
    # With a debit (net < 0) the position breaks even twice; with a credit only the lower point exists, and the draw is
    # refused because the upper one is then no number.
    upper = params.high + net if net < 0 else float("nan")
    lower = params.low - (width + net)
    below_upper = params.market.chance_below(upper) if net < 0 else float("nan")
    return {
        "net_premium_usd": net,
        "max_profit_usd": width + net,
        "max_loss_per_contract_usd": 100 * lower,
        "lower_breakeven_usd": lower,
        "upper_breakeven_usd": upper,
        "profit_probability_pct": 100 * (below_upper - params.market.chance_below(lower)),
    }


def _asked(*middle: Asked) -> tuple[Asked, ...]:
    return (
        amount("net_premium_usd", "net premium, with its sign", Dimension.STRATEGY, decimals=2),
        amount("max_profit_usd", "largest possible profit", Dimension.STRATEGY, decimals=2),
        *middle,
        probability("profit_probability_pct", "probability of a profit at expiry"),
    )


_MAX_LOSS = amount("max_loss_usd", "largest possible loss, without sign", Dimension.STRATEGY, decimals=2)
_BREAKEVEN = breakeven("breakeven_usd", "share price at which the position breaks even", Dimension.STRATEGY)
_LOWER = breakeven("lower_breakeven_usd", "lower break-even share price", Dimension.STRATEGY)
_UPPER = breakeven("upper_breakeven_usd", "upper break-even share price", Dimension.STRATEGY)

VERTICAL: Final = Template(
    name="vertical",
    category=Category.STRATEGY_CONSTRUCTION,
    wordings=(
        "Build a vertical spread with {p.kind}s: {p.low_trade} the {p.low:.2f} USD strike at {p.low_premium:.2f} USD and"
        " {p.high_trade} the {p.high:.2f} USD strike at {p.high_premium:.2f} USD." + SETTING,
        "A client wants a {p.view} {p.kind} spread. The {p.kind} struck at {p.low:.2f} USD trades at {p.low_premium:.2f}"
        " USD ({p.low_trade} it) and the one struck at {p.high:.2f} USD at {p.high_premium:.2f} USD ({p.high_trade} it)."
        " Describe the position." + SETTING,
        "You {p.high_trade} one {p.kind} with strike {p.high:.2f} USD for {p.high_premium:.2f} USD and {p.low_trade} one"
        " {p.kind} with strike {p.low:.2f} USD for {p.low_premium:.2f} USD. What can this vertical win and lose?"
        + SETTING,
    ),
    conventions=CONVENTIONS,
    asked=_asked(_MAX_LOSS, _BREAKEVEN),
    draw=_draw_vertical,
    key=_vertical_key,
)

CONDOR: Final = Template(
    name="iron_condor",
    category=Category.STRATEGY_CONSTRUCTION,
    wordings=(
        "Sell an iron condor: buy the {p.put_wing:.2f} USD put at {p.put_wing_premium:.2f} USD, sell the"
        " {p.short_put:.2f} USD put at {p.short_put_premium:.2f} USD, sell the {p.short_call:.2f} USD call at"
        " {p.short_call_premium:.2f} USD and buy the {p.call_wing:.2f} USD call at {p.call_wing_premium:.2f} USD."
        + SETTING,
        "An iron condor consists of a sold put at {p.short_put:.2f} USD ({p.short_put_premium:.2f} USD received), a sold"
        " call at {p.short_call:.2f} USD ({p.short_call_premium:.2f} USD received) and bought wings: the put at"
        " {p.put_wing:.2f} USD for {p.put_wing_premium:.2f} USD, the call at {p.call_wing:.2f} USD for"
        " {p.call_wing_premium:.2f} USD. Work it out." + SETTING,
        "You expect the stock to stay between {p.short_put:.2f} and {p.short_call:.2f} USD and sell that put and that call"
        " for {p.short_put_premium:.2f} and {p.short_call_premium:.2f} USD. To cap the risk you buy the put struck at"
        " {p.put_wing:.2f} USD for {p.put_wing_premium:.2f} USD and the call struck at {p.call_wing:.2f} USD for"
        " {p.call_wing_premium:.2f} USD." + SETTING,
    ),
    conventions=CONVENTIONS,
    asked=_asked(_MAX_LOSS, _LOWER, _UPPER),
    draw=_draw_condor,
    key=_condor_key,
)

BUTTERFLY: Final = Template(
    name="butterfly",
    category=Category.STRATEGY_CONSTRUCTION,
    wordings=(
        "Buy a call butterfly: one call at {p.low:.2f} USD for {p.low_premium:.2f} USD, minus two at {p.middle:.2f} USD for"
        " {p.middle_premium:.2f} USD each, plus one at {p.high:.2f} USD for {p.high_premium:.2f} USD." + SETTING,
        "Calls with strikes {p.low:.2f}, {p.middle:.2f} and {p.high:.2f} USD trade at {p.low_premium:.2f},"
        " {p.middle_premium:.2f} and {p.high_premium:.2f} USD. You go long the outer two once and short the middle one"
        " twice. Describe the butterfly." + SETTING,
        "A trader who expects the stock near {p.middle:.2f} USD sells two calls there at {p.middle_premium:.2f} USD each"
        " and buys one call at {p.low:.2f} USD ({p.low_premium:.2f} USD) and one at {p.high:.2f} USD"
        " ({p.high_premium:.2f} USD)." + SETTING,
    ),
    conventions=CONVENTIONS,
    asked=_asked(_MAX_LOSS, _LOWER, _UPPER),
    draw=_draw_butterfly,
    key=_butterfly_key,
)

COLLAR: Final = Template(
    name="collar",
    category=Category.STRATEGY_CONSTRUCTION,
    wordings=(
        "Buy the stock at the spot price and collar it: buy the {p.put:.2f} USD put for {p.put_premium:.2f} USD and sell"
        " the {p.call:.2f} USD call for {p.call_premium:.2f} USD." + SETTING,
        "An investor buys shares today at the spot price, protects them with the put struck at {p.put:.2f} USD, which costs"
        " {p.put_premium:.2f} USD, and finances it with the call struck at {p.call:.2f} USD, which brings"
        " {p.call_premium:.2f} USD." + SETTING,
        "For each share bought at the spot a put ({p.put:.2f} USD strike, price {p.put_premium:.2f} USD) is bought and a"
        " call ({p.call:.2f} USD strike, price {p.call_premium:.2f} USD) is written. What does the collar promise at"
        " expiry?" + SETTING,
    ),
    conventions=f"{CONVENTIONS} Profit and loss include the share but no dividends and no interest.",
    asked=_asked(_MAX_LOSS, _BREAKEVEN),
    draw=_draw_collar,
    key=_collar_key,
)

PUT_RATIO: Final = Template(
    name="put_ratio",
    category=Category.STRATEGY_CONSTRUCTION,
    wordings=(
        "Build a put ratio spread: buy one put with strike {p.high:.2f} USD for {p.high_premium:.2f} USD and sell two puts"
        " with strike {p.low:.2f} USD for {p.low_premium:.2f} USD each." + SETTING,
        "You are long one {p.high:.2f} USD put, bought at {p.high_premium:.2f} USD, and short two {p.low:.2f} USD puts,"
        " sold at {p.low_premium:.2f} USD each. Describe the ratio spread." + SETTING,
        "Two puts struck at {p.low:.2f} USD are written at {p.low_premium:.2f} USD each against one bought put struck at"
        " {p.high:.2f} USD that costs {p.high_premium:.2f} USD. Where does this one-by-two spread win, and what does it"
        " lose if the share becomes worthless?" + SETTING,
    ),
    conventions=CONVENTIONS,
    asked=_asked(
        amount(
            "max_loss_per_contract_usd",
            "largest possible loss of one spread in contracts of 100 shares, without sign",
            Dimension.STRATEGY,
            unit="USD",
            decimals=2,
        ),
        _LOWER,
        _UPPER,
    ),
    draw=_draw_put_ratio,
    key=_put_ratio_key,
)

TEMPLATES: Final = (VERTICAL, CONDOR, BUTTERFLY, COLLAR, PUT_RATIO)
