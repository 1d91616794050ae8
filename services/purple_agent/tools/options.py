"""Prices, implied volatility and Greeks of options. The formulas are those of `contract/pricing.py`, nowhere else's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from services.purple_agent.tools.base import Arguments, Result, Unit, formula

Money = Annotated[float, Field(gt=0, le=1e12)]
Days = Annotated[float, Field(gt=0, le=36_500)]
Volatility = Annotated[float, Field(gt=0, le=10)]
Rate = Annotated[float, Field(ge=-1, le=1)]
Kind = Literal["call", "put"]

CONTRACT_MULTIPLIER = 100


class OptionTerms(Arguments):
    """One option on one underlying."""

    spot_price: Money
    """Price of the underlying."""
    strike_price: Money
    days_to_expiry: Days
    """Calendar days."""
    option_type: Kind
    risk_free_rate: Rate = 0.05
    """Continuously compounded, as a fraction: 0.05 is 5 %."""
    dividend_yield: Rate = 0.0
    """Continuously compounded, as a fraction."""


class PriceArguments(OptionTerms):
    """The option to price."""

    volatility: Volatility
    """Annual, as a fraction: 0.25 is 25 %."""
    style: Literal["european", "american"] = "european"


class Quote(Result):
    """Price and sensitivities of one option, long one share's worth."""

    price: Annotated[float, Unit("currency per share")]
    delta: Annotated[float, Unit("per share")]
    gamma: Annotated[float, Unit("change of delta per 1 of spot")]
    theta_per_day: Annotated[float, Unit("currency per share and calendar day")]
    vega_per_point: Annotated[float, Unit("currency per share and volatility point (0.01)")]
    rho_per_point: Annotated[float, Unit("currency per share and rate point (0.01)")]


def price(arguments: PriceArguments) -> Quote:
    """Price and Greeks of one option."""
    from services.contract.pricing import price_option  # noqa: PLC0415 - QuantLib is loaded on first use

    quote = price_option(
        kind=arguments.option_type,
        spot=arguments.spot_price,
        strike=arguments.strike_price,
        rate=arguments.risk_free_rate,
        dividend_yield=arguments.dividend_yield,
        volatility=arguments.volatility,
        days=arguments.days_to_expiry,
        style=arguments.style,
    )
    return Quote(
        price=quote.price,
        delta=quote.delta,
        gamma=quote.gamma,
        theta_per_day=quote.theta_per_day,
        vega_per_point=quote.vega_per_point,
        rho_per_point=quote.rho_per_point,
    )


class ImpliedArguments(OptionTerms):
    """The option and the price paid for it."""

    price: Annotated[float, Field(gt=0)]
    """Price of the option per share."""


class Implied(Result):
    """The volatility a price implies."""

    implied_volatility: Annotated[float, Unit("annual, fraction: 0.25 is 25 %")]


def implied(arguments: ImpliedArguments) -> Implied:
    """The volatility at which a European option is worth the price given."""
    from services.contract.pricing import implied_volatility  # noqa: PLC0415 - QuantLib is loaded on first use

    return Implied(
        implied_volatility=implied_volatility(
            kind=arguments.option_type,
            price=arguments.price,
            spot=arguments.spot_price,
            strike=arguments.strike_price,
            rate=arguments.risk_free_rate,
            dividend_yield=arguments.dividend_yield,
            days=arguments.days_to_expiry,
        )
    )


class Position(Arguments):
    """A European option position."""

    type: Kind
    strike: Money
    quantity: Annotated[float, Field(ge=-1e9, le=1e9)]
    """Contracts; negative when short."""
    spot: Money
    """Price of the underlying."""
    days_to_expiry: Days
    volatility: Volatility
    """Annual, as a fraction."""


class BookArguments(Arguments):
    """A book of option positions."""

    positions: Annotated[tuple[Position, ...], Field(min_length=1, max_length=200)]
    risk_free_rate: Rate = 0.05
    dividend_yield: Rate = 0.0
    contract_multiplier: Annotated[float, Field(gt=0, le=1e6)] = CONTRACT_MULTIPLIER
    """Shares a contract."""
    shares: Annotated[float, Field(ge=-1e12, le=1e12)] = 0.0
    """Shares of the underlying held beside the options; negative when short."""


class BookGreeks(Result):
    """Sums over the whole book."""

    value: Annotated[float, Unit("currency, options only")]
    delta: Annotated[float, Unit("shares")]
    gamma: Annotated[float, Unit("shares per 1 of spot")]
    theta_per_day: Annotated[float, Unit("currency per calendar day")]
    vega_per_point: Annotated[float, Unit("currency per volatility point (0.01)")]
    rho_per_point: Annotated[float, Unit("currency per rate point (0.01)")]
    hedge_shares: Annotated[float, Unit("shares to trade for a delta of 0; negative = sell")]


def book_greeks(arguments: BookArguments) -> BookGreeks:
    """Greeks of a book in shares and currency, and the share trade that makes its delta 0."""
    quotes = [
        (position.quantity * arguments.contract_multiplier, quote_position(position, arguments))
        for position in arguments.positions
    ]

    def total(field: str) -> float:
        return sum(size * float(getattr(quote, field)) for size, quote in quotes)

    delta = total("delta") + arguments.shares
    return BookGreeks(
        value=total("price"),
        delta=delta,
        gamma=total("gamma"),
        theta_per_day=total("theta_per_day"),
        vega_per_point=total("vega_per_point"),
        rho_per_point=total("rho_per_point"),
        hedge_shares=-delta,
    )


def quote_position(position: Position, book: BookArguments) -> Quote:
    """Price and Greeks per share of one position."""
    return price(
        PriceArguments(
            spot_price=position.spot,
            strike_price=position.strike,
            days_to_expiry=position.days_to_expiry,
            volatility=position.volatility,
            option_type=position.type,
            risk_free_rate=book.risk_free_rate,
            dividend_yield=book.dividend_yield,
        )
    )


CALCULATE_OPTION_PRICE = formula(
    name="calculate_option_price",
    description="Price and Greeks of a European or American option.",
    arguments=PriceArguments,
    result=Quote,
    compute=price,
)
IMPLIED_VOLATILITY = formula(
    name="implied_volatility",
    description="The volatility at which a European option is worth the price given.",
    arguments=ImpliedArguments,
    result=Implied,
    compute=implied,
)
CALCULATE_PORTFOLIO_GREEKS = formula(
    name="calculate_portfolio_greeks",
    description="Value and Greeks of a book of European options, and the share trade that hedges its delta.",
    arguments=BookArguments,
    result=BookGreeks,
    compute=book_greeks,
)
