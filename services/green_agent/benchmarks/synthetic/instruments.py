"""Bonds, currencies, curves and parity: prices, and what can be locked in when they disagree."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.green_agent.benchmarks.synthetic.figures import Money, Months, Price, Quote, Rate, Years, hundredth
from services.green_agent.benchmarks.synthetic.surroundings import Scene
from services.green_agent.benchmarks.synthetic.template import Template, asked, figure, label, percent
from services.green_agent.scoring.answers import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Bond:
    """A bond that pays half-yearly."""

    face: Price
    coupon: Rate
    bond_yield: Rate
    years: Years


@dataclass(frozen=True, kw_only=True, slots=True)
class CurrencyForward:
    """Spot and forward in USD per EUR and the interest rates of both."""

    spot: Quote
    forward: Quote
    usd_rate: Rate
    eur_rate: Rate
    months: Months
    notional: Money


@dataclass(frozen=True, kw_only=True, slots=True)
class Parity:
    """A call and a put with one strike on a share that pays one dividend."""

    call: Price
    put: Price
    spot: Price
    strike: Price
    rate: Rate
    months: Months
    dividend: Price
    dividend_months: Months


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """Spot rates for one, two and three years, and a bond of three years."""

    one: Rate
    two: Rate
    three: Rate
    coupon: Rate


def _draw_bond(rng: random.Random) -> Bond:
    coupon = hundredth(rng, 2.1, 8.8)
    return Bond(
        face=rng.choice((1_000, 2_000, 5_000, 10_000)),
        coupon=coupon,
        bond_yield=round(coupon + rng.choice((rng.uniform(0.4, 2.6), -rng.uniform(0.4, 1.4))), 2),
        years=rng.randint(3, 18),
    )


def _bond_key(params: Bond) -> Mapping[str, Value]:
    growth, periods = 1 + params.bond_yield / 200, 2 * params.years
    coupon = params.face * params.coupon / 200
    annuity = (1 - growth**-periods) / (growth - 1)
    price = coupon * annuity + params.face * growth**-periods
    # The annuity of times 1, 2, ..., n in closed form.
    times = (growth * annuity - periods * growth**-periods) / (growth - 1)
    macaulay = (coupon * times + params.face * periods * growth**-periods) / price / 2
    modified = macaulay / growth
    return {
        "price_usd": price,
        "macaulay_years": macaulay,
        "modified_years": modified,
        "value_of_basis_point_usd": price * modified / 10_000,
    }


def _draw_currency(rng: random.Random) -> CurrencyForward:
    spot = round(rng.uniform(1.02, 1.38), 4)
    usd, eur, months = hundredth(rng, 1.6, 6.4), hundredth(rng, 0.6, 5.4), rng.choice((6, 9, 12, 18))
    fair = spot * (1 + usd * months / 1200) / (1 + eur * months / 1200)
    return CurrencyForward(
        spot=spot,
        forward=round(fair * (1 + rng.choice((-1, 1)) * rng.uniform(0.0015, 0.012)), 4),
        usd_rate=usd,
        eur_rate=eur,
        months=months,
        notional=round(rng.uniform(1.1, 24), 1),
    )


def _currency_key(params: CurrencyForward) -> Mapping[str, Value]:
    usd_growth = 1 + params.usd_rate / 100 * params.months / 12
    eur_growth = 1 + params.eur_rate / 100 * params.months / 12
    fair = params.spot * usd_growth / eur_growth
    usd = 1e6 * params.notional
    euros = usd / params.spot * eur_growth
    return {
        "fair_forward": fair,
        "eur_at_maturity": euros,
        "profit_usd": abs(usd * usd_growth - euros * params.forward),
        "forward_trade": "buy EUR forward" if params.forward < fair else "sell EUR forward",
    }


def _draw_parity(rng: random.Random) -> Parity:
    spot = hundredth(rng, 60, 320)
    strike = round(spot * rng.uniform(0.93, 1.07))
    rate, months = hundredth(rng, 1.5, 6.5), rng.choice((6, 9, 12, 15))
    dividend = hundredth(rng, 0.003 * spot, 0.012 * spot)
    dividend_months = rng.randrange(3, months, 3)
    put = hundredth(rng, 0.05 * spot, 0.11 * spot)
    forward_value = _synthetic_value(
        spot=spot, strike=strike, rate=rate, months=months, dividend=dividend, dividend_months=dividend_months
    )
    gap = rng.choice((-1, 1)) * rng.uniform(0.003, 0.014) * spot
    return Parity(
        call=max(round(put + forward_value + gap, 2), 0.05),
        put=put,
        spot=spot,
        strike=strike,
        rate=rate,
        months=months,
        dividend=dividend,
        dividend_months=dividend_months,
    )


def _synthetic_value(
    *, spot: float, strike: float, rate: float, months: int, dividend: float, dividend_months: int
) -> float:
    """What a long call and a short put are worth together: the share without its dividend, less the strike."""
    paid = dividend * math.exp(-rate / 100 * dividend_months / 12)
    return spot - paid - strike * math.exp(-rate / 100 * months / 12)


def _parity_key(params: Parity) -> Mapping[str, Value]:
    fair = _synthetic_value(
        spot=params.spot,
        strike=params.strike,
        rate=params.rate,
        months=params.months,
        dividend=params.dividend,
        dividend_months=params.dividend_months,
    )
    gap = params.call - params.put - fair
    return {
        "fair_difference_usd": fair,
        "gap_usd": gap,
        "locked_profit_usd": abs(gap) * math.exp(params.rate / 100 * params.months / 12),
        "trade": "buy synthetic, short stock" if gap < 0 else "sell synthetic, buy stock",
    }


def _draw_curve(rng: random.Random) -> Curve:
    one = hundredth(rng, 1.2, 5.2)
    step = rng.choice((rng.uniform(0.15, 0.7), rng.uniform(0.15, 0.7), -rng.uniform(0.12, 0.35)))
    two = round(one + step, 2)
    three = round(two + step * rng.uniform(0.5, 1.1), 2)
    return Curve(one=one, two=two, three=three, coupon=hundredth(rng, max(three - 2, 0.6), three + 3))


def _curve_key(params: Curve) -> Mapping[str, Value]:
    first, second, third = (
        (1 + rate / 100) ** -years for years, rate in enumerate((params.one, params.two, params.three), start=1)
    )
    return {
        "price_usd": params.coupon * (first + second + third) + 100 * third,
        "forward_second_year_pct": 100 * (first / second - 1),
        "forward_third_year_pct": 100 * (second / third - 1),
        "par_rate_pct": 100 * (1 - third) / (first + second + third),
    }


BOND: Final = Template(
    name="bond_duration",
    scene=Scene.MARKET,
    wordings=(
        (
            "A bond of {firm} has a face value of {face}, a coupon of {coupon} a year and {years} left to run. It yields"
            " {bond_yield}. What does it cost, and how strongly does it react to its yield?"
        ),
        (
            "Investors ask for a yield of {bond_yield} on the debt of {firm}. One of its bonds, face value {face}, matures in"
            " exactly {years} and pays {coupon} a year. Value it and measure its interest rate risk."
        ),
        (
            "You hold a bond issued by {firm}. It pays a coupon of {coupon} a year on {face} for another {years} and returns its"
            " face value then. The market yield is {bond_yield}. Find price and duration."
        ),
    ),
    conventions=(
        "Coupons are paid half-yearly, the next one in half a year; the yield is an annual rate compounded half-yearly."
        " Durations are in years."
    ),
    asked=asked(
        figure("price_usd", "price of the bond", "USD", tolerance=0.001),
        figure("macaulay_years", "Macaulay duration", "years", decimals=4),
        figure("modified_years", "modified duration", "years", decimals=4),
        figure("value_of_basis_point_usd", "loss in price when the yield rises by one basis point", "USD", decimals=4),
        easy=("price_usd",),
        medium=("price_usd", "modified_years"),
        hard=("price_usd", "macaulay_years", "modified_years", "value_of_basis_point_usd"),
    ),
    draw=_draw_bond,
    key=_bond_key,
)

CURRENCY: Final = Template(
    name="cip_arbitrage",
    scene=Scene.MARKET,
    wordings=(
        (
            "The treasury of {firm} sees EUR at {spot} USD for today and at {forward} USD for delivery in {months}. Money for"
            " that time costs and earns {usd_rate} in USD and {eur_rate} in EUR. It may borrow {notional} or the same value in"
            " EUR. What can be locked in?"
        ),
        (
            "Interest for {months} is {eur_rate} a year in EUR and {usd_rate} a year in USD. One EUR costs {spot} USD now; banks"
            " quote {forward} USD for the forward. {firm} can trade an amount worth {notional} today. Is covered interest parity"
            " kept?"
        ),
        (
            "A dealer offers {firm} a forward on EUR over {months} at {forward} USD, with the spot rate at {spot} USD. The firm"
            " can lend and borrow at {usd_rate} in USD and at {eur_rate} in EUR, up to a value of {notional} today. How does it"
            " earn money without risk?"
        ),
    ),
    conventions=(
        "Rates are simple annual rates; the time is counted in months of a twelfth of a year. There are no costs. One loan worth"
        " the amount given at today's spot rate is taken, converted, invested and repaid."
    ),
    asked=asked(
        figure("fair_forward", "forward rate without arbitrage", "USD per EUR", decimals=5, tolerance=0.0001),
        figure("eur_at_maturity", "EUR repaid or received at maturity", "EUR", decimals=0),
        figure("profit_usd", "profit at maturity", "USD", decimals=0),
        label("forward_trade", "which forward contract is part of the trade", "buy EUR forward", "sell EUR forward"),
        easy=("fair_forward",),
        medium=("fair_forward", "profit_usd", "forward_trade"),
        hard=("fair_forward", "eur_at_maturity", "profit_usd", "forward_trade"),
    ),
    draw=_draw_currency,
    key=_currency_key,
)

PARITY: Final = Template(
    name="parity_arbitrage",
    scene=Scene.MARKET,
    wordings=(
        (
            "A share of {firm} costs {spot} and pays a dividend of {dividend} in {dividend_months}. European options with strike"
            " {strike} expire in {months}: the call costs {call}, the put {put}. The interest rate is {rate}. Is put-call parity"
            " kept, and if not, what can be locked in?"
        ),
        (
            "European calls on {firm} with a strike of {strike} trade at {call}, puts with the same strike at {put}. Both expire"
            " in {months}. The share stands at {spot}; its only dividend before then, {dividend}, is due in {dividend_months}."
            " Money costs {rate}. Look for a riskless profit."
        ),
        (
            "At an interest rate of {rate} and a share price of {spot}, a trader compares options on {firm}. Call and put struck"
            " at {strike} have {months} to go and cost {call} and {put}; neither can be exercised early. In {dividend_months}"
            " the share pays {dividend}. Do the prices fit together?"
        ),
    ),
    conventions=(
        "The rate is continuously compounded and the same for lending and borrowing; a month is a twelfth of a year. The"
        " synthetic is a long call with a short put. All amounts are per share."
    ),
    asked=asked(
        figure("fair_difference_usd", "call less put that parity asks for", "USD", decimals=4),
        figure(
            "gap_usd",
            "call less put, less what parity asks for that difference to be; with its sign",
            "USD",
            decimals=4,
        ),
        figure("locked_profit_usd", "profit at expiry that is locked in", "USD", decimals=4),
        label("trade", "which trade locks it in", "buy synthetic, short stock", "sell synthetic, buy stock"),
        easy=("gap_usd",),
        medium=("gap_usd", "locked_profit_usd", "trade"),
        hard=("fair_difference_usd", "gap_usd", "locked_profit_usd", "trade"),
    ),
    draw=_draw_parity,
    key=_parity_key,
)

CURVE: Final = Template(
    name="curve_forwards",
    scene=Scene.MARKET,
    wordings=(
        (
            "Spot rates are {one} for one year, {two} for two years and {three} for three years. {firm} has a three-year bond"
            " with a yearly coupon of {coupon}. What do these rates imply for the bond and for later years?"
        ),
        (
            "{firm} owes three yearly coupons of {coupon} and the face value after three years. Zero-coupon yields are {three}"
            " for that time, {two} for two years and {one} for one year. Use them to price the bond and to find the rates the"
            " curve contains."
        ),
        (
            "Discount the bond of {firm} with the spot curve: {one}, {two} and {three} for one, two and three years. The bond"
            " runs three years and its coupon is {coupon} a year. Which forward rates and which par rate belong to this curve?"
        ),
    ),
    conventions=(
        "All rates are annual and compounded yearly; coupons are paid yearly in percent of a face value of 100 USD. The forward"
        " rate of a year is the one-year rate for that year fixed today."
    ),
    asked=asked(
        figure("price_usd", "price of the bond for 100 USD of face value", "USD", decimals=4, tolerance=0.001),
        percent("forward_second_year_pct", "forward rate of the second year", decimals=4, tolerance=0.001),
        percent("forward_third_year_pct", "forward rate of the third year", decimals=4, tolerance=0.001),
        percent("par_rate_pct", "coupon of a three-year bond that is worth par", decimals=4, tolerance=0.001),
        easy=("forward_third_year_pct",),
        medium=("price_usd", "forward_third_year_pct", "par_rate_pct"),
        hard=("price_usd", "forward_second_year_pct", "forward_third_year_pct", "par_rate_pct"),
    ),
    draw=_draw_curve,
    key=_curve_key,
)

TEMPLATES: Final = (BOND, CURRENCY, PARITY, CURVE)
