"""Options Pricing: European and American values, implied volatility, put-call parity."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.contract.pricing import Kind, implied_volatility, price_option
from services.green_agent.benchmarks.options.market import MODEL, Market, cents, draw_market, strike_near
from services.green_agent.benchmarks.options.template import Category, Dimension, Template, amount
from services.green_agent.scoring.answers import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Vanilla:
    """One strike in one market."""

    market: Market
    strike: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Priced:
    """An option with its price; the volatility of the market is the one to find."""

    spot: float
    strike: float
    rate_pct: float
    dividend_pct: float
    days: int
    kind: Kind
    price: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Quotes of a call and a put with one strike and expiry."""

    spot: float
    strike: float
    rate_pct: float
    dividend_pct: float
    days: int
    call: float
    put: float


def _draw_bsm(rng: random.Random) -> Vanilla:
    market = draw_market(rng)
    return Vanilla(market=market, strike=strike_near(rng, market.spot, 0.85, 1.15))


def _bsm_key(params: Vanilla) -> Mapping[str, Value]:
    call = params.market.quote("call", params.strike).price
    put = params.market.quote("put", params.strike).price
    intrinsic = abs(params.market.spot - params.strike)
    inside = call if params.market.spot > params.strike else put
    return {"call_usd": call, "put_usd": put, "intrinsic_usd": intrinsic, "time_value_usd": inside - intrinsic}


def _draw_american(rng: random.Random) -> Vanilla:
    market = draw_market(rng, days=(90, 600), dividend_pct=(0.2, 1.8))
    return Vanilla(market=market, strike=strike_near(rng, market.spot, 0.95, 1.2))


def _american_key(params: Vanilla) -> Mapping[str, Value]:
    market = params.market
    quote = price_option(
        kind="put",
        spot=market.spot,
        strike=params.strike,
        rate=market.rate_pct / 100,
        dividend_yield=market.dividend_pct / 100,
        volatility=market.volatility_pct / 100,
        days=market.days,
        style="american",
    )
    return {"american_put_usd": quote.price}


def _draw_priced(rng: random.Random) -> Priced:
    market = draw_market(rng)
    kind: Kind = rng.choice(("call", "put"))
    strike = strike_near(rng, market.spot, 0.92, 1.08)
    return Priced(
        spot=market.spot,
        strike=strike,
        rate_pct=market.rate_pct,
        dividend_pct=market.dividend_pct,
        days=market.days,
        kind=kind,
        price=cents(market.quote(kind, strike).price),
    )


def _implied_key(params: Priced) -> Mapping[str, Value]:
    found = implied_volatility(
        kind=params.kind,
        price=params.price,
        spot=params.spot,
        strike=params.strike,
        rate=params.rate_pct / 100,
        dividend_yield=params.dividend_pct / 100,
        days=params.days,
    )
    return {"implied_volatility_pct": 100 * found}


def _draw_pair(rng: random.Random) -> Pair:
    market = draw_market(rng)
    strike = strike_near(rng, market.spot, 0.93, 1.07)
    mispricing = rng.choice((-1, 1)) * rng.uniform(0.004, 0.02) * market.spot
    return Pair(
        spot=market.spot,
        strike=strike,
        rate_pct=market.rate_pct,
        dividend_pct=market.dividend_pct,
        days=market.days,
        call=cents(market.quote("call", strike).price + max(mispricing, 0.0)),
        put=cents(market.quote("put", strike).price + max(-mispricing, 0.0)),
    )


def _parity_key(params: Pair) -> Mapping[str, Value]:
    years = params.days / 365
    stock = params.spot * math.exp(-params.dividend_pct / 100 * years)
    bond = params.strike * math.exp(-params.rate_pct / 100 * years)
    return {"parity_gap_usd": params.call - params.put - (stock - bond)}


BSM_DIVIDEND: Final = Template(
    name="bsm_dividend",
    category=Category.OPTIONS_PRICING,
    wordings=(
        (
            "A stock trades at {p.market.spot:.2f} USD and pays a dividend yield of {p.market.dividend_pct:g} % a year. Its"
            " volatility is {p.market.volatility_pct:g} % a year and the interest rate is {p.market.rate_pct:g} %. Value the"
            " call and the put with strike {p.strike:.2f} USD that expire in {p.market.days} days, and split the value of the"
            " one that is in the money into intrinsic value and time value."
        ),
        (
            "Price both options struck at {p.strike:.2f} USD with {p.market.days} days to expiry. The underlying share stands"
            " at {p.market.spot:.2f} USD, yields {p.market.dividend_pct:g} % and moves with {p.market.volatility_pct:g} %"
            " annual volatility; money costs {p.market.rate_pct:g} %. For whichever of the two is in the money also give"
            " intrinsic and time value."
        ),
        (
            "You quote a two-way market in {p.market.days}-day options, strike {p.strike:.2f} USD. Spot"
            " {p.market.spot:.2f} USD, interest rate {p.market.rate_pct:g} %, dividend yield {p.market.dividend_pct:g} %,"
            " volatility {p.market.volatility_pct:g} %. What are call and put worth, and how much of the in-the-money option"
            " is intrinsic and how much time value?"
        ),
    ),
    conventions=MODEL,
    asked=(
        amount("call_usd", "value of the call", Dimension.PNL),
        amount("put_usd", "value of the put", Dimension.PNL),
        amount("intrinsic_usd", "intrinsic value of the option that is in the money", Dimension.PNL, decimals=2),
        amount("time_value_usd", "value minus intrinsic value of that option", Dimension.PNL),
    ),
    draw=_draw_bsm,
    key=_bsm_key,
)

AMERICAN_PUT: Final = Template(
    name="american_put",
    category=Category.OPTIONS_PRICING,
    wordings=(
        (
            "Value an American put with strike {p.strike:.2f} USD and {p.market.days} days to expiry on a stock at"
            " {p.market.spot:.2f} USD. Volatility is {p.market.volatility_pct:g} % a year, the interest rate"
            " {p.market.rate_pct:g} %, the dividend yield {p.market.dividend_pct:g} %."
        ),
        (
            "A put that may be exercised on any day until it expires in {p.market.days} days has strike {p.strike:.2f} USD."
            " The share costs {p.market.spot:.2f} USD, yields {p.market.dividend_pct:g} % and has"
            " {p.market.volatility_pct:g} % annual volatility; the interest rate is {p.market.rate_pct:g} %. What is the put"
            " worth, the right to exercise early included?"
        ),
        (
            "Spot {p.market.spot:.2f} USD, strike {p.strike:.2f} USD, {p.market.days} days, volatility"
            " {p.market.volatility_pct:g} %, interest rate {p.market.rate_pct:g} %, dividend yield"
            " {p.market.dividend_pct:g} %: find the value of the American put."
        ),
    ),
    conventions=(
        "The put is American. Use Black-Scholes-Merton dynamics with the interest rate and the dividend yield"
        " continuously compounded, ACT/365 fixed, T = days / 365, and a converged lattice, grid or equivalent method."
    ),
    asked=(amount("american_put_usd", "value of the American put", Dimension.PNL),),
    draw=_draw_american,
    key=_american_key,
)

IMPLIED_VOL: Final = Template(
    name="implied_vol",
    category=Category.OPTIONS_PRICING,
    wordings=(
        (
            "A {p.kind} with strike {p.strike:.2f} USD and {p.days} days to expiry trades at {p.price:.2f} USD. The stock is at"
            " {p.spot:.2f} USD and yields {p.dividend_pct:g} %; the interest rate is {p.rate_pct:g} %. Which volatility does"
            " the price imply?"
        ),
        (
            "The market pays {p.price:.2f} USD for the {p.kind} struck at {p.strike:.2f} USD that expires in {p.days} days."
            " Given spot {p.spot:.2f} USD, interest rate {p.rate_pct:g} % and dividend yield {p.dividend_pct:g} %, back out the"
            " implied volatility."
        ),
        (
            "Find the annual volatility at which a {p.days}-day {p.kind}, strike {p.strike:.2f} USD, is worth exactly"
            " {p.price:.2f} USD, with the share at {p.spot:.2f} USD, dividend yield {p.dividend_pct:g} % and interest rate"
            " {p.rate_pct:g} %."
        ),
    ),
    conventions=MODEL,
    asked=(amount("implied_volatility_pct", "annual implied volatility", Dimension.GREEKS, unit="%", decimals=2),),
    draw=_draw_priced,
    key=_implied_key,
)

PARITY_GAP: Final = Template(
    name="parity_gap",
    category=Category.OPTIONS_PRICING,
    wordings=(
        (
            "Call and put with strike {p.strike:.2f} USD and {p.days} days to expiry are quoted at {p.call:.2f} USD and"
            " {p.put:.2f} USD. The stock costs {p.spot:.2f} USD and yields {p.dividend_pct:g} %; the interest rate is"
            " {p.rate_pct:g} %. By how much is put-call parity violated today?"
        ),
        (
            "Check put-call parity: spot {p.spot:.2f} USD, strike {p.strike:.2f} USD, {p.days} days, call {p.call:.2f} USD, put"
            " {p.put:.2f} USD, interest rate {p.rate_pct:g} %, dividend yield {p.dividend_pct:g} %. What is the gap in today's"
            " money?"
        ),
        (
            "On a share at {p.spot:.2f} USD (dividend yield {p.dividend_pct:g} %) a {p.days}-day call struck at"
            " {p.strike:.2f} USD costs {p.call:.2f} USD and the put of the same strike and expiry {p.put:.2f} USD. With an"
            " interest rate of {p.rate_pct:g} %, how far is the pair from put-call parity?"
        ),
    ),
    conventions=(
        "All options are European; rate and yield are continuously compounded, ACT/365 fixed, T = days / 365. The gap is"
        " call - put - (spot x exp(-yield x T) - strike x exp(-rate x T)), with its sign."
    ),
    asked=(amount("parity_gap_usd", "gap, with its sign", Dimension.PNL),),
    draw=_draw_pair,
    key=_parity_key,
)

TEMPLATES: Final = (BSM_DIVIDEND, AMERICAN_PUT, IMPLIED_VOL, PARITY_GAP)
