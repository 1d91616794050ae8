"""Greeks Analysis: the five Greeks of one option, and the Greeks of a book with its hedge."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.contract.pricing import Kind, OptionQuote
from services.green_agent.benchmarks.options.market import (
    CONTRACT,
    GREEKS,
    MODEL,
    SIGNS,
    Market,
    draw_market,
    strike_near,
)
from services.green_agent.benchmarks.options.template import Category, Dimension, Template, count, greek, label
from services.green_agent.scoring.answers import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Single:
    """One option in one market."""

    market: Market
    kind: Kind
    strike: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """Contracts of one option; short ones are negative."""

    kind: Kind
    strike: float
    contracts: int

    def __str__(self) -> str:
        side = "long" if self.contracts > 0 else "short"
        return f"{side} {abs(self.contracts)} {self.kind} contracts with strike {self.strike:.2f} USD"


@dataclass(frozen=True, kw_only=True, slots=True)
class Book:
    """Three options on one stock."""

    market: Market
    first: Holding
    second: Holding
    third: Holding

    @property
    def holdings(self) -> tuple[Holding, ...]:
        """All of them."""
        return self.first, self.second, self.third


def _draw_single(rng: random.Random) -> Single:
    market = draw_market(rng)
    return Single(market=market, kind=rng.choice(("call", "put")), strike=strike_near(rng, market.spot, 0.88, 1.12))


def _single_key(params: Single) -> Mapping[str, Value]:
    quote = params.market.quote(params.kind, params.strike)
    return {
        "delta": quote.delta,
        "gamma": quote.gamma,
        "theta_usd_per_day": quote.theta_per_day,
        "vega_usd_per_point": quote.vega_per_point,
        "rho_usd_per_point": quote.rho_per_point,
    }


def _draw_book(rng: random.Random) -> Book:
    market = draw_market(rng)

    def holding(low: float, high: float) -> Holding:
        return Holding(
            kind=rng.choice(("call", "put")),
            strike=strike_near(rng, market.spot, low, high),
            contracts=rng.choice((-1, 1)) * rng.randint(11, 60),
        )

    return Book(market=market, first=holding(0.88, 0.95), second=holding(0.97, 1.03), third=holding(1.05, 1.12))


def _book_key(params: Book) -> Mapping[str, Value]:
    delta = _total(params, "delta")
    return {
        "book_delta_shares": delta,
        "book_gamma_shares_per_usd": _total(params, "gamma"),
        "book_theta_usd_per_day": _total(params, "theta_per_day"),
        "book_vega_usd_per_point": _total(params, "vega_per_point"),
        "hedge_shares": abs(round(delta)),
        "hedge_side": "sell" if delta > 0 else "buy",
    }


def _total(params: Book, greek_name: str) -> float:
    def of(quote: OptionQuote) -> float:
        return float(getattr(quote, greek_name))

    return sum(100 * h.contracts * of(params.market.quote(h.kind, h.strike)) for h in params.holdings)


def _draw_clear_book(rng: random.Random) -> Book:
    """A book whose hedge does not hang on the last digits of its delta."""
    while True:
        book = _draw_book(rng)
        if abs(_total(book, "delta") % 1 - 0.5) > 0.1:
            return book


FIVE_GREEKS: Final = Template(
    name="five_greeks",
    category=Category.GREEKS_ANALYSIS,
    wordings=(
        (
            "Give the five Greeks of a {p.kind} with strike {p.strike:.2f} USD and {p.market.days} days to expiry. The stock is"
            " at {p.market.spot:.2f} USD, its dividend yield {p.market.dividend_pct:g} %, its volatility"
            " {p.market.volatility_pct:g} % a year; the interest rate is {p.market.rate_pct:g} %."
        ),
        (
            "A desk holds one long {p.kind} on a share at {p.market.spot:.2f} USD: strike {p.strike:.2f} USD,"
            " {p.market.days} days left, volatility {p.market.volatility_pct:g} %, interest rate {p.market.rate_pct:g} %,"
            " dividend yield {p.market.dividend_pct:g} %. Compute delta, gamma, theta, vega and rho."
        ),
        (
            "How does the {p.market.days}-day {p.kind} struck at {p.strike:.2f} USD react to spot, time, volatility and rate?"
            " Spot is {p.market.spot:.2f} USD, volatility {p.market.volatility_pct:g} %, the dividend yield"
            " {p.market.dividend_pct:g} % and the interest rate {p.market.rate_pct:g} %."
        ),
    ),
    conventions=f"{MODEL} {GREEKS}",
    asked=(
        greek("delta", "delta of the long option", unit="per share"),
        greek("gamma", "gamma", unit="per share and USD"),
        greek("theta_usd_per_day", "theta", unit="USD per share and calendar day"),
        greek("vega_usd_per_point", "vega", unit="USD per share and volatility point"),
        greek("rho_usd_per_point", "rho", unit="USD per share and rate point"),
    ),
    draw=_draw_single,
    key=_single_key,
)

BOOK_GREEKS: Final = Template(
    name="book_greeks",
    category=Category.GREEKS_ANALYSIS,
    wordings=(
        (
            "A book on one stock is {p.first}, {p.second} and {p.third}, all expiring in {p.market.days} days. The stock trades"
            " at {p.market.spot:.2f} USD with volatility {p.market.volatility_pct:g} % and dividend yield"
            " {p.market.dividend_pct:g} %; the interest rate is {p.market.rate_pct:g} %. Give the Greeks of the whole book and"
            " the trade in shares that makes its delta zero."
        ),
        (
            "You take over these contracts, all with {p.market.days} days to expiry: {p.first}; {p.second}; {p.third}. Spot"
            " {p.market.spot:.2f} USD, volatility {p.market.volatility_pct:g} %, interest rate {p.market.rate_pct:g} %,"
            " dividend yield {p.market.dividend_pct:g} %. Total the Greeks of the position and say how many shares must be"
            " bought or sold to be delta neutral."
        ),
        (
            "Aggregate the risk of a position that is {p.first}, {p.second} and {p.third} ({p.market.days} days left on each)."
            " With the share at {p.market.spot:.2f} USD, an interest rate of {p.market.rate_pct:g} %, a dividend yield of"
            " {p.market.dividend_pct:g} % and {p.market.volatility_pct:g} % volatility for all strikes, what are the Greeks"
            " and what is the delta hedge in shares?"
        ),
    ),
    conventions=f"{MODEL} {GREEKS} {CONTRACT} {SIGNS}",
    asked=(
        greek("book_delta_shares", "delta of the book before the hedge", unit="shares", decimals=2),
        greek("book_gamma_shares_per_usd", "gamma of the book", unit="shares per USD", decimals=4),
        greek("book_theta_usd_per_day", "theta of the book", unit="USD per calendar day", decimals=2),
        greek("book_vega_usd_per_point", "vega of the book", unit="USD per volatility point", decimals=2),
        count(
            "hedge_shares",
            "size of the hedge, rounded to the nearest whole share, without sign",
            Dimension.RISK,
            unit="shares",
        ),
        label("hedge_side", "what to do with these shares", Dimension.RISK, "buy", "sell"),
    ),
    draw=_draw_clear_book,
    key=_book_key,
)

TEMPLATES: Final = (FIVE_GREEKS, BOOK_GREEKS)
