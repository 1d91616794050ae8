"""Growth in another currency, break-even of a product mix, portfolios and loans."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.green_agent.benchmarks.synthetic.figures import (
    Euros,
    Months,
    Number,
    Price,
    Quote,
    Rate,
    Share,
    Thousands,
    Years,
    hundredth,
    tenth,
)
from services.green_agent.benchmarks.synthetic.surroundings import Scene
from services.green_agent.benchmarks.synthetic.template import Template, asked, figure, percent
from services.green_agent.scoring.answers import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignGrowth:
    """Sales of a subsidiary in EUR and the USD price of a EUR, then and now."""

    sales_before: Euros
    sales_after: Euros
    years: Years
    fx_before: Quote
    fx_after: Quote


@dataclass(frozen=True, kw_only=True, slots=True)
class ProductMix:
    """Three products sold in a fixed mix; their prices and variable costs a unit."""

    fixed_cost: Thousands
    share_a: Share
    share_b: Share
    share_c: Share
    price_a: Price
    cost_a: Price
    price_b: Price
    cost_b: Price
    price_c: Price
    cost_c: Price
    units: Number


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoAssets:
    """Two shares: standard deviations, their correlation and expected returns."""

    sd_a: Share
    sd_b: Share
    correlation: Number
    return_a: Rate
    return_b: Rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Loan:
    """A loan repaid in equal monthly payments."""

    principal: Thousands
    rate: Rate
    years: Years
    paid: Months


def _draw_growth(rng: random.Random) -> ForeignGrowth:
    years = rng.randint(3, 9)
    before, fx = tenth(rng, 45, 1_900), round(rng.uniform(0.9, 1.4), 4)
    growth, drift = rng.uniform(0.04, 0.17), rng.choice((-1, 1)) * rng.uniform(0.006, 0.03)
    return ForeignGrowth(
        sales_before=before,
        sales_after=round(before * (1 + growth) ** years, 1),
        years=years,
        fx_before=fx,
        fx_after=round(fx * (1 + drift) ** years, 4),
    )


def _growth_key(params: ForeignGrowth) -> Mapping[str, Value]:
    start = params.sales_before * params.fx_before
    end = params.sales_after * params.fx_after
    reported = 100 * ((end / start) ** (1 / params.years) - 1)
    local = 100 * ((params.sales_after / params.sales_before) ** (1 / params.years) - 1)
    return {
        "sales_before_musd": start,
        "sales_after_musd": end,
        "growth_local_pct": local,
        "growth_reported_pct": reported,
        "currency_effect_points": reported - local,
    }


def _draw_mix(rng: random.Random) -> ProductMix:
    share_a = rng.randrange(30, 60, 5)
    share_b = rng.randrange(15, 35, 5)
    prices = [hundredth(rng, low, high) for low, high in ((22, 60), (45, 90), (75, 190))]
    costs = [round(price * rng.uniform(0.5, 0.74), 2) for price in prices]
    shares = (share_a, share_b, 100 - share_a - share_b)
    margin = sum(share / 100 * (price - cost) for share, price, cost in zip(shares, prices, costs, strict=True))
    fixed = rng.randrange(300, 4_800, 10)
    return ProductMix(
        fixed_cost=fixed,
        share_a=shares[0],
        share_b=shares[1],
        share_c=shares[2],
        price_a=prices[0],
        cost_a=costs[0],
        price_b=prices[1],
        cost_b=costs[1],
        price_c=prices[2],
        cost_c=costs[2],
        units=round(1000 * fixed / margin * rng.uniform(1.25, 2.6), -2),
    )


def _mix_key(params: ProductMix) -> Mapping[str, Value]:
    sold = (
        (params.share_a, params.price_a, params.cost_a),
        (params.share_b, params.price_b, params.cost_b),
        (params.share_c, params.price_c, params.cost_c),
    )
    margin = sum(share / 100 * (price - cost) for share, price, cost in sold)
    price = sum(share / 100 * price for share, price, _ in sold)
    fixed = 1000 * params.fixed_cost
    return {
        "mean_margin_usd": margin,
        "break_even_units": fixed / margin,
        "break_even_sales_usd": fixed / margin * price,
        "operating_leverage": params.units * margin / (params.units * margin - fixed),
    }


def _draw_assets(rng: random.Random) -> TwoAssets:
    sd_a, sd_b = tenth(rng, 11, 27), tenth(rng, 18, 46)
    return TwoAssets(
        sd_a=sd_a,
        sd_b=sd_b,
        correlation=round(rng.uniform(-0.35, 0.8 * min(sd_a / sd_b, sd_b / sd_a)), 2),
        return_a=hundredth(rng, 3.2, 9.6),
        return_b=hundredth(rng, 5.1, 15.4),
    )


def _assets_key(params: TwoAssets) -> Mapping[str, Value]:
    covariance = params.correlation * params.sd_a * params.sd_b
    weight = (params.sd_b**2 - covariance) / (params.sd_a**2 + params.sd_b**2 - 2 * covariance)
    other = 1 - weight
    variance = (weight * params.sd_a) ** 2 + (other * params.sd_b) ** 2 + 2 * weight * other * covariance
    expected = weight * params.return_a + other * params.return_b
    return {
        "weight_pct": 100 * weight,
        "sd_pct": variance**0.5,
        "expected_return_pct": expected,
        "return_per_risk": expected / variance**0.5,
    }


def _draw_loan(rng: random.Random) -> Loan:
    years = rng.randint(8, 30)
    return Loan(
        principal=rng.randint(70, 980),
        rate=hundredth(rng, 2.4, 8.9),
        years=years,
        paid=rng.randrange(12, 9 * years, 6),
    )


def _loan_key(params: Loan) -> Mapping[str, Value]:
    principal, monthly = 1000 * params.principal, params.rate / 1200
    payment = principal * monthly / (1 - (1 + monthly) ** (-12 * params.years))
    grown = (1 + monthly) ** params.paid
    balance = principal * grown - payment * (grown - 1) / monthly
    return {
        "payment_usd": payment,
        "balance_usd": balance,
        "interest_paid_usd": payment * params.paid - (principal - balance),
    }


GROWTH: Final = Template(
    name="cagr_fx",
    scene=Scene.FIRM,
    wordings=(
        (
            "A subsidiary of {firm} in the euro area raised its sales from {sales_before} to {sales_after} within {years}. One"
            " EUR cost {fx_before} USD at the beginning and {fx_after} USD at the end. {firm} reports in USD; how fast did these"
            " sales grow for it?"
        ),
        (
            "{firm}, which reports in USD, sells in EUR abroad. The EUR went from {fx_before} USD to {fx_after} USD within"
            " {years}, while yearly sales abroad went from {sales_before} to {sales_after}. Find the compound growth rate its"
            " shareholders see."
        ),
        (
            "Over {years} the foreign sales of {firm} developed from {sales_before} to {sales_after}. Meanwhile the price of a"
            " EUR changed from {fx_before} USD to {fx_after} USD. Express the yearly growth of these sales in USD, the currency"
            " of the report."
        ),
    ),
    conventions=(
        "Sales of the first and the last year are converted at the rates given for them. Growth is compound growth a year over"
        " the whole time."
    ),
    asked=asked(
        figure("sales_before_musd", "sales at the beginning", "million USD"),
        figure("sales_after_musd", "sales at the end", "million USD"),
        percent("growth_local_pct", "growth a year in EUR"),
        percent("growth_reported_pct", "growth a year in USD"),
        figure(
            "currency_effect_points", "growth in USD less growth in EUR, with its sign", "percentage points", decimals=3
        ),
        easy=("growth_reported_pct",),
        medium=("growth_local_pct", "growth_reported_pct"),
        hard=(
            "sales_before_musd",
            "sales_after_musd",
            "growth_local_pct",
            "growth_reported_pct",
            "currency_effect_points",
        ),
    ),
    draw=_draw_growth,
    key=_growth_key,
)

MIX: Final = Template(
    name="break_even_mix",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} sells three products. Of all units {share_a} are product A (price {price_a}, variable cost {cost_a}),"
            " {share_b} product B (price {price_b}, variable cost {cost_b}) and {share_c} product C (price {price_c}, variable"
            " cost {cost_c}). Fixed costs are {fixed_cost} a year; the plan is to sell {units} units in all. Where does the firm"
            " break even?"
        ),
        (
            "Fixed costs of {firm} are {fixed_cost} a year and {units} units are to be sold. Product A costs {cost_a} to make"
            " and sells for {price_a}, product B {cost_b} and {price_b}, product C {cost_c} and {price_c}. They make up"
            " {share_a}, {share_b} and {share_c} of the units. How much must be sold to cover all costs?"
        ),
        (
            "The yearly plan of {firm} counts {units} units, of which {share_a} are A, {share_b} are B and {share_c} are C."
            " Prices are {price_a}, {price_b} and {price_c}; variable costs are {cost_a}, {cost_b} and {cost_c}, in the same"
            " order. Besides, there are fixed costs of {fixed_cost}. Find the break-even point of this mix."
        ),
    ),
    conventions=(
        "The mix of units stays as it is; units may be fractions. Operating leverage is contribution margin / operating profit at"
        " the planned units."
    ),
    asked=asked(
        figure("mean_margin_usd", "mean contribution margin of a unit", "USD", decimals=4),
        figure("break_even_units", "units of all products at break-even", "units"),
        figure("break_even_sales_usd", "sales at break-even", "USD", decimals=0),
        figure("operating_leverage", "degree of operating leverage, a plain ratio", decimals=4),
        easy=("break_even_units",),
        medium=("break_even_units", "break_even_sales_usd"),
        hard=("mean_margin_usd", "break_even_units", "break_even_sales_usd", "operating_leverage"),
    ),
    draw=_draw_mix,
    key=_mix_key,
)

ASSETS: Final = Template(
    name="min_variance",
    scene=Scene.MARKET,
    wordings=(
        (
            "Shares of {firm} have a standard deviation of {sd_a} a year and an expected return of {return_a}. Shares of {other}"
            " have {sd_b} and {return_b}. The correlation of their returns is {correlation}. Combine them so that the risk is as"
            " small as it can be."
        ),
        (
            "An investor holds nothing but shares of {firm} and {other}. Expected returns are {return_a} and {return_b}, standard"
            " deviations {sd_a} and {sd_b}, in that order. Their returns have a correlation of {correlation}. Which weights give"
            " the least variance?"
        ),
        (
            "Returns of {firm} and {other} are correlated with a coefficient of {correlation}. The first share is expected to"
            " return {return_a} with a standard deviation of {sd_a}. For the second the figures are {return_b} and {sd_b}. Find"
            " the portfolio of both with the lowest risk."
        ),
    ),
    conventions="The weights add up to one. All figures are yearly.",
    asked=asked(
        percent("weight_pct", "weight of the share named first"),
        percent("sd_pct", "standard deviation of the portfolio"),
        percent("expected_return_pct", "expected return of the portfolio"),
        figure("return_per_risk", "expected return / standard deviation, a plain ratio", decimals=4),
        easy=("weight_pct",),
        medium=("weight_pct", "sd_pct"),
        hard=("weight_pct", "sd_pct", "expected_return_pct", "return_per_risk"),
    ),
    draw=_draw_assets,
    key=_assets_key,
)

LOAN: Final = Template(
    name="loan_balance",
    scene=Scene.MARKET,
    wordings=(
        (
            "The owner of {firm} takes a loan of {principal} at {rate} a year. It is repaid over {years} in equal monthly"
            " payments. Find the payment, and what is still owed after {paid}."
        ),
        (
            "A warehouse of {firm} is financed with a loan that runs {years} and charges {rate} a year. The amount borrowed is"
            " {principal}; every month the same sum is paid. The firm wants to repay the rest after {paid}. How much is that?"
        ),
        (
            "{firm} has been paying back a loan in equal monthly payments for {paid}. At the start it was {principal}, to be"
            " repaid within {years}. The rate is fixed at {rate} a year. Where does the loan stand?"
        ),
    ),
    conventions="Interest is charged monthly at a twelfth of the annual rate; payments fall at the end of each month.",
    asked=asked(
        figure("payment_usd", "monthly payment", "USD"),
        figure("balance_usd", "balance right after the last payment made", "USD"),
        figure("interest_paid_usd", "interest paid up to then", "USD"),
        easy=("payment_usd",),
        medium=("payment_usd", "balance_usd"),
        hard=("payment_usd", "balance_usd", "interest_paid_usd"),
    ),
    draw=_draw_loan,
    key=_loan_key,
)

TEMPLATES: Final = (GROWTH, MIX, ASSETS, LOAN)
