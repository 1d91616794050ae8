"""Reference prices of vanilla options, computed by QuantLib; green's answer keys and purple's tools share them.

Conventions (finance specification 6.2): continuously compounded rate and dividend yield, ACT/365 fixed with T = days / 365,
theta per calendar day, vega and rho per one point (0.01), all per share. QuantLib is imported on first use.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

Kind = Literal["call", "put"]
Style = Literal["european", "american"]

DAYS_PER_YEAR: Final = 365.0
HIGHEST_VOLATILITY: Final = 64.0

# Steps of the differences behind American Greeks: relative in the spot; absolute in volatility, rate and years, less where
# these are small. Away from the exercise boundary the engine is accurate to about 1e-7 of the price.
_SPOT_STEP: Final = 0.005
_POINT_STEP: Final = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionQuote:
    """Price and Greeks of one option on one share."""

    price: float
    delta: float
    gamma: float
    theta_per_day: float
    """Change of the price over one calendar day, usually negative."""
    vega_per_point: float
    """Change of the price when volatility rises by 0.01."""
    rho_per_point: float
    """Change of the price when the rate rises by 0.01."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Terms:
    """A checked option; `years` is T."""

    kind: Kind
    spot: float
    strike: float
    rate: float
    dividend_yield: float
    volatility: float
    years: float

    @property
    def discount(self) -> float:
        return math.exp(-self.rate * self.years)

    @property
    def forward(self) -> float:
        return self.spot * math.exp((self.rate - self.dividend_yield) * self.years)

    @property
    def intrinsic(self) -> float:
        """Worth of exercise now, below 0 out of the money."""
        return self.spot - self.strike if self.kind == "call" else self.strike - self.spot


def price_option(
    *,
    kind: Kind,
    spot: float,
    strike: float,
    rate: float,
    dividend_yield: float,
    volatility: float,
    days: float,
    style: Style = "european",
) -> OptionQuote:
    """Price and Greeks of a vanilla option under Black-Scholes-Merton.

    `rate`, `dividend_yield` and `volatility` are annual fractions (0.05 = 5 %). European options are priced in closed form,
    American ones by the fixed-point boundary method of Andersen, Lake and Offengenden (QuantLib `QdFpAmericanEngine`),
    their Greeks by central differences. Raises ValueError naming the argument that is no such number.
    """
    terms = _checked(
        kind=kind,
        spot=spot,
        strike=strike,
        rate=rate,
        dividend_yield=dividend_yield,
        volatility=volatility,
        days=days,
        style=style,
    )
    try:
        quote = _european_quote(terms) if style == "european" else _american_quote(terms)
    except (RuntimeError, ArithmeticError) as error:  # QuantLib raises the former
        raise ValueError(f"the arguments are too extreme to price ({error}), got {terms}") from error
    if not all(map(math.isfinite, (quote.price, quote.delta, quote.gamma, quote.theta_per_day))):
        raise ValueError(f"the arguments are too extreme to price, got {terms!r}")
    return quote


def implied_volatility(
    *,
    kind: Kind,
    price: float,
    spot: float,
    strike: float,
    rate: float,
    dividend_yield: float,
    days: float,
    style: Style = "european",
) -> float:
    """The volatility (0.2 = 20 %) at which the option is worth `price`, to about 1e-10.

    Raises ValueError naming the argument that is no such number, and for a price outside the no-arbitrage bounds, at which
    no volatility gives the price, or so close to them that the volatility cannot be told.
    """
    _positive("price", price)
    terms = _checked(
        kind=kind,
        spot=spot,
        strike=strike,
        rate=rate,
        dividend_yield=dividend_yield,
        volatility=1.0,
        days=days,
        style=style,
    )
    low, high = _bounds(terms, style)
    if not low < price < high:
        raise ValueError(f"price must lie between {low!r} and {high!r} (no arbitrage), got {price!r}")
    value = _european_price if style == "european" else _american_price
    try:
        return _solve(lambda volatility: value(_with(terms, volatility=volatility)) - price, price)
    except (RuntimeError, ArithmeticError) as error:
        raise ValueError(f"the arguments are too extreme to price ({error}), got {terms}") from error


def _checked(
    *,
    kind: Kind,
    spot: float,
    strike: float,
    rate: float,
    dividend_yield: float,
    volatility: float,
    days: float,
    style: Style,
) -> _Terms:
    if kind not in {"call", "put"}:
        raise ValueError(f"kind must be 'call' or 'put', got {kind!r}")
    if style not in {"european", "american"}:
        raise ValueError(f"style must be 'european' or 'american', got {style!r}")
    for name, value in (("spot", spot), ("strike", strike), ("volatility", volatility), ("days", days)):
        _positive(name, value)
    for name, value in (("rate", rate), ("dividend_yield", dividend_yield)):
        _finite(name, value)
        # Beyond e^300 the discount factor leaves the range in which products of it can be represented.
        if abs(value) * days / DAYS_PER_YEAR > 300:
            raise ValueError(f"{name} must be an annual fraction such as 0.05, got {value!r} over {days!r} days")
    if style == "american" and dividend_yield < 0:
        # Below zero there can be two exercise boundaries, which the engine does not treat.
        raise ValueError(f"dividend_yield must not be negative for an American option, got {dividend_yield!r}")
    return _Terms(
        kind=kind,
        spot=float(spot),
        strike=float(strike),
        rate=float(rate),
        dividend_yield=float(dividend_yield),
        volatility=float(volatility),
        years=days / DAYS_PER_YEAR,
    )


def _positive(name: str, value: float) -> None:
    _finite(name, value)
    if value <= 0:
        raise ValueError(f"{name} must be positive, got {value!r}")


def _finite(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number, got {value!r}")  # noqa: TRY004 - one error type for all arguments
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise ValueError(f"{name} must be finite, got {str(value)[:40]}")


def _with(terms: _Terms, **changes: float) -> _Terms:
    fields = {name: getattr(terms, name) for name in _Terms.__dataclass_fields__}
    return _Terms(**{**fields, **changes})


def _quantlib() -> Any:
    """QuantLib, which ships no types."""
    import QuantLib  # noqa: PLC0415 - 0.3 s that no command line should pay for its help

    return QuantLib


def _european_quote(terms: _Terms) -> OptionQuote:
    black = _black(terms)
    return OptionQuote(
        price=black.value(),
        delta=black.delta(terms.spot),
        gamma=black.gamma(terms.spot),
        theta_per_day=black.theta(terms.spot, terms.years) / DAYS_PER_YEAR,
        vega_per_point=black.vega(terms.years) / 100,
        rho_per_point=black.rho(terms.years) / 100,
    )


def _european_price(terms: _Terms) -> float:
    return float(_black(terms).value())


def _black(terms: _Terms) -> Any:
    ql = _quantlib()

    right = ql.Option.Call if terms.kind == "call" else ql.Option.Put
    deviation = terms.volatility * math.sqrt(terms.years)
    payoff = ql.PlainVanillaPayoff(right, terms.strike)
    return ql.BlackCalculator(payoff, terms.forward, deviation, terms.discount)


def _american_quote(terms: _Terms) -> OptionQuote:
    price = _american_price(terms)
    step = terms.spot * _SPOT_STEP
    above = _american_price(_with(terms, spot=terms.spot + step))
    below = _american_price(_with(terms, spot=terms.spot - step))
    delta = (above - below) / (2 * step)
    gamma = (above - 2 * price + below) / step**2
    return OptionQuote(
        price=price,
        delta=delta,
        gamma=gamma,
        theta_per_day=-_slope(terms, "years") / DAYS_PER_YEAR,
        vega_per_point=_slope(terms, "volatility") / 100,
        rho_per_point=_slope(terms, "rate") / 100,
    )


def _slope(terms: _Terms, name: str) -> float:
    centre = getattr(terms, name)
    step = _POINT_STEP if name == "rate" else min(_POINT_STEP, centre / 100)
    above = _american_price(_with(terms, **{name: centre + step}))
    below = _american_price(_with(terms, **{name: centre - step}))
    return (above - below) / (2 * step)


# Pricing instruments register with QuantLib's global evaluation date, and that register is not safe across threads.
_instruments = threading.Lock()


def _american_price(terms: _Terms) -> float:
    """The price, with time scaled to one year: it depends on r T, q T and sigma^2 T alone, and dates are whole days."""
    ql = _quantlib()

    with _instruments:
        today, counter = ql.Date(1, 1, 2001), ql.Actual365Fixed()
        expiry = today + 365
        # Set once and never moved: instruments elsewhere in the process must not see a date that changes.
        if ql.Settings.instance().evaluationDate != today:
            ql.Settings.instance().evaluationDate = today

        def flat(value: float) -> object:
            return ql.YieldTermStructureHandle(ql.FlatForward(today, value * terms.years, counter))

        volatility = ql.BlackConstantVol(today, ql.NullCalendar(), terms.volatility * math.sqrt(terms.years), counter)
        process = ql.BlackScholesMertonProcess(
            ql.QuoteHandle(ql.SimpleQuote(terms.spot)),
            flat(terms.dividend_yield),
            flat(terms.rate),
            ql.BlackVolTermStructureHandle(volatility),
        )
        right = ql.Option.Call if terms.kind == "call" else ql.Option.Put
        option = ql.VanillaOption(ql.PlainVanillaPayoff(right, terms.strike), ql.AmericanExercise(today, expiry))
        option.setPricingEngine(ql.QdFpAmericanEngine(process, ql.QdFpAmericanEngine.accurateScheme()))
        return float(option.NPV())


def _bounds(terms: _Terms, style: Style) -> tuple[float, float]:
    """Value without volatility and with endless volatility."""
    spot = terms.spot * math.exp(-terms.dividend_yield * terms.years)
    strike = terms.strike * terms.discount
    low, high, now = (
        (spot - strike, spot, terms.spot) if terms.kind == "call" else (strike - spot, strike, terms.strike)
    )
    if style == "european":
        return max(low, 0.0), high
    return max(low, terms.intrinsic, 0.0), max(high, now)


def _solve(excess: Callable[[float], float], price: float) -> float:
    ql = _quantlib()

    low, high = 1e-4, 1.0
    while excess(high) < 0 and high < HIGHEST_VOLATILITY:
        high *= 2
    if excess(low) > 0 or excess(high) < 0:
        raise ValueError(f"price {price!r} is too close to a no-arbitrage bound to tell the volatility")
    return float(ql.Brent().solve(excess, 1e-12, (low + high) / 2, low, high))
