"""Reading statements: returns, accruals, working capital, earnings per share, economic value added."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.green_agent.benchmarks.synthetic.figures import (
    Days,
    Money,
    Price,
    Rate,
    Share,
    Shares,
    hundredth,
    tenth,
)
from services.green_agent.benchmarks.synthetic.surroundings import Scene
from services.green_agent.benchmarks.synthetic.template import Template, asked, figure, percent
from services.green_agent.scoring.answers import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Dupont:
    """Figures of one year."""

    net_income: Money
    pretax: Money
    ebit: Money
    sales: Money
    assets: Money
    equity: Money


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkingCapital:
    """Figures of one year of 365 days, and the collection period wanted."""

    sales: Money
    cogs: Money
    receivables: Money
    inventory: Money
    payables: Money
    target_dso: Days


@dataclass(frozen=True, kw_only=True, slots=True)
class Accruals:
    """Income, cash and net operating assets of one year."""

    net_income: Money
    operating_cash: Money
    invested_cash: Money
    """Cash used in investing; the investing cash flow is its negative."""
    assets_before: Money
    assets_after: Money


@dataclass(frozen=True, kw_only=True, slots=True)
class DilutedShares:
    """Earnings, options in the money and a convertible bond."""

    net_income: Money
    shares: Shares
    options: Shares
    exercise: Price
    price: Price
    convertible: Money
    coupon: Rate
    conversion_shares: Shares
    tax: Share


@dataclass(frozen=True, kw_only=True, slots=True)
class EconomicValue:
    """Operating profit after tax on the capital that earned it."""

    nopat: Money
    capital: Money
    wacc: Rate


def _draw_dupont(rng: random.Random) -> Dupont:
    sales = tenth(rng, 320, 9_400)
    ebit = tenth(rng, 0.07 * sales, 0.24 * sales)
    pretax = tenth(rng, 0.62 * ebit, 0.94 * ebit)
    assets = tenth(rng, 0.7 * sales, 1.9 * sales)
    return Dupont(
        net_income=tenth(rng, 0.66 * pretax, 0.86 * pretax),
        pretax=pretax,
        ebit=ebit,
        sales=sales,
        assets=assets,
        equity=tenth(rng, 0.3 * assets, 0.7 * assets),
    )


def _dupont_key(params: Dupont) -> Mapping[str, Value]:
    tax_burden = params.net_income / params.pretax
    interest_burden = params.pretax / params.ebit
    margin = params.ebit / params.sales
    turnover = params.sales / params.assets
    multiplier = params.assets / params.equity
    return {
        "tax_burden": tax_burden,
        "interest_burden": interest_burden,
        "ebit_margin_pct": 100 * margin,
        "asset_turnover": turnover,
        "equity_multiplier": multiplier,
        "roe_pct": 100 * tax_burden * interest_burden * margin * turnover * multiplier,
    }


def _draw_working_capital(rng: random.Random) -> WorkingCapital:
    sales = tenth(rng, 400, 8_000)
    cogs = tenth(rng, 0.5 * sales, 0.75 * sales)
    days = rng.uniform(44, 88)
    return WorkingCapital(
        sales=sales,
        cogs=cogs,
        receivables=round(sales * days / 365, 1),
        inventory=tenth(rng, 0.1 * cogs, 0.28 * cogs),
        payables=tenth(rng, 0.06 * cogs, 0.15 * cogs),
        target_dso=int(days * rng.uniform(0.55, 0.88)),
    )


def _working_capital_key(params: WorkingCapital) -> Mapping[str, Value]:
    dso = 365 * params.receivables / params.sales
    dio = 365 * params.inventory / params.cogs
    dpo = 365 * params.payables / params.cogs
    return {
        "dso_days": dso,
        "dio_days": dio,
        "dpo_days": dpo,
        "cash_cycle_days": dso + dio - dpo,
        "cash_freed_musd": (dso - params.target_dso) * params.sales / 365,
    }


def _draw_accruals(rng: random.Random) -> Accruals:
    before = tenth(rng, 300, 6_000)
    income = tenth(rng, 0.07 * before, 0.22 * before)
    return Accruals(
        net_income=income,
        operating_cash=tenth(rng, 0.55 * income, 0.95 * income),
        invested_cash=tenth(rng, 0.03 * before, 0.14 * before),
        assets_before=before,
        assets_after=tenth(rng, 1.03 * before, 1.28 * before),
    )


def _accruals_key(params: Accruals) -> Mapping[str, Value]:
    base = (params.assets_before + params.assets_after) / 2
    balance_sheet = 100 * (params.assets_after - params.assets_before) / base
    cash_flow = 100 * (params.net_income - params.operating_cash + params.invested_cash) / base
    return {
        "average_noa_musd": base,
        "balance_sheet_accruals_pct": balance_sheet,
        "cash_flow_accruals_pct": cash_flow,
        "cash_to_income": params.operating_cash / params.net_income,
    }


def _draw_diluted(rng: random.Random) -> DilutedShares:
    shares = tenth(rng, 60, 900)
    basic = rng.uniform(1.3, 7.0)
    price = hundredth(rng, 11 * basic, 24 * basic)
    convertible = tenth(rng, 80, 900)
    coupon, tax = hundredth(rng, 2.1, 7.4), tenth(rng, 16, 34)
    interest = convertible * coupon / 100 * (1 - tax / 100)
    # What a converted share earns lies below or above the basic figure, so that not every bond dilutes.
    increment = basic * rng.choice((rng.uniform(0.25, 0.85), rng.uniform(0.25, 0.85), rng.uniform(1.15, 1.6)))
    return DilutedShares(
        net_income=round(basic * shares, 1),
        shares=shares,
        options=tenth(rng, 0.05 * shares, 0.16 * shares),
        exercise=hundredth(rng, 0.45 * price, 0.8 * price),
        price=price,
        convertible=convertible,
        coupon=coupon,
        conversion_shares=max(round(interest / increment, 1), 0.5),
        tax=tax,
    )


def _diluted_key(params: DilutedShares) -> Mapping[str, Value]:
    option_shares = params.options * (1 - params.exercise / params.price)
    interest = params.convertible * params.coupon / 100 * (1 - params.tax / 100)
    shares = params.shares + option_shares
    unconverted = params.net_income / shares
    converted = (params.net_income + interest) / (shares + params.conversion_shares)
    return {
        "basic_eps_usd": params.net_income / params.shares,
        "option_shares_m": option_shares,
        "earnings_per_converted_share_usd": interest / params.conversion_shares,
        "diluted_eps_usd": min(unconverted, converted),
    }


def _draw_economic_value(rng: random.Random) -> EconomicValue:
    wacc = hundredth(rng, 6.2, 12.8)
    capital = tenth(rng, 240, 7_500)
    spread = rng.choice((rng.uniform(1.2, 8.0), -rng.uniform(1.2, 4.5)))
    return EconomicValue(nopat=round(capital * (wacc + spread) / 100, 1), capital=capital, wacc=wacc)


def _economic_value_key(params: EconomicValue) -> Mapping[str, Value]:
    charge = params.capital * params.wacc / 100
    roic = 100 * params.nopat / params.capital
    return {
        "capital_charge_musd": charge,
        "roic_pct": roic,
        "eva_musd": params.nopat - charge,
        "spread_pct": roic - params.wacc,
    }


DUPONT: Final = Template(
    name="dupont",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} reports sales of {sales} and an operating profit (EBIT) of {ebit}. Profit before tax is {pretax}, net"
            " income {net_income}. Total assets are {assets}, shareholders' equity {equity}. Take its return on equity apart."
        ),
        (
            "An analyst looks at {firm}. The balance sheet shows equity of {equity} under total assets of {assets}. The income"
            " statement runs from sales of {sales} over EBIT of {ebit} and a pre-tax profit of {pretax} to a net income of"
            " {net_income}. What drives the return on equity?"
        ),
        (
            "From EBIT of {ebit}, {firm} keeps {pretax} before tax and {net_income} after it. Sales came to {sales}. The firm"
            " works with assets of {assets}, of which {equity} is equity. Explain its return on equity by the five factors of"
            " the DuPont scheme."
        ),
    ),
    conventions=(
        "Use the balances as given, no averages. Tax burden is net income / pre-tax profit, interest burden pre-tax profit /"
        " EBIT, asset turnover sales / assets, equity multiplier assets / equity."
    ),
    asked=asked(
        figure("tax_burden", "tax burden, a plain ratio", decimals=4),
        figure("interest_burden", "interest burden, a plain ratio", decimals=4),
        percent("ebit_margin_pct", "EBIT margin"),
        figure("asset_turnover", "asset turnover, a plain ratio", decimals=4),
        figure("equity_multiplier", "equity multiplier, a plain ratio", decimals=4),
        percent("roe_pct", "return on equity"),
        easy=("equity_multiplier", "roe_pct"),
        medium=("ebit_margin_pct", "asset_turnover", "roe_pct"),
        hard=("tax_burden", "interest_burden", "ebit_margin_pct", "asset_turnover", "equity_multiplier", "roe_pct"),
    ),
    draw=_draw_dupont,
    key=_dupont_key,
)

WORKING_CAPITAL: Final = Template(
    name="working_capital",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} sold goods for {sales} last year; they had cost {cogs}. At year end customers owe it {receivables}, stock is"
            " worth {inventory}, and it owes suppliers {payables}. Its treasurer wants customers to pay after {target_dso}. How"
            " long is cash tied up, and what would the shorter collection bring?"
        ),
        (
            "Trade receivables of {firm} are {receivables}, inventory is {inventory}, trade payables are {payables}. Sales of"
            " the year were {sales} and the cost of goods sold was {cogs}. Find the cash conversion cycle, and the cash released"
            " once receivables are collected after {target_dso}."
        ),
        (
            "The year of {firm} in short: sales {sales}, cost of goods sold {cogs}. It closed with receivables of {receivables},"
            " inventory of {inventory} and payables of {payables}. Work out its cash cycle and what a collection period of"
            " {target_dso} would set free."
        ),
    ),
    conventions=(
        "Use closing balances and a year of 365 days. Receivables are measured against sales, inventory and payables against"
        " the cost of goods sold. Cash freed comes from receivables alone, at unchanged sales."
    ),
    asked=asked(
        figure("dso_days", "days of sales in receivables", "days"),
        figure("dio_days", "days of cost in inventory", "days"),
        figure("dpo_days", "days of cost in payables", "days"),
        figure("cash_cycle_days", "cash conversion cycle", "days"),
        figure("cash_freed_musd", "cash freed by the shorter collection period", "million USD"),
        easy=("cash_cycle_days",),
        medium=("cash_cycle_days", "cash_freed_musd"),
        hard=("dso_days", "dio_days", "dpo_days", "cash_cycle_days", "cash_freed_musd"),
    ),
    draw=_draw_working_capital,
    key=_working_capital_key,
)

EARNINGS_QUALITY: Final = Template(
    name="earnings_quality",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} earned a net income of {net_income}. Operations brought in {operating_cash} of cash, investing used"
            " {invested_cash}. Net operating assets went from {assets_before} to {assets_after}. How much of its earnings is"
            " accruals?"
        ),
        (
            "The net operating assets of {firm} were {assets_before} at the start and {assets_after} at the end of the year. Its"
            " net income was {net_income}, its cash flow from operations {operating_cash}; it spent {invested_cash} in cash on"
            " investments. Judge the quality of these earnings."
        ),
        (
            "Cash from operations of {operating_cash} stands against a net income of {net_income} at {firm}. Cash used in"
            " investing was {invested_cash}. Over the year net operating assets moved from {assets_before} to {assets_after}."
            " Measure the accruals from the balance sheet and from the cash flow statement."
        ),
    ),
    conventions=(
        "Both accrual ratios are divided by the mean of opening and closing net operating assets. Balance-sheet accruals are"
        " the change of net operating assets; cash-flow accruals are net income less operating and less investing cash flow,"
        " where cash used counts negative."
    ),
    asked=asked(
        figure("average_noa_musd", "mean net operating assets", "million USD"),
        percent("balance_sheet_accruals_pct", "accrual ratio from the balance sheet"),
        percent("cash_flow_accruals_pct", "accrual ratio from the cash flow statement"),
        figure("cash_to_income", "operating cash flow / net income, a plain ratio", decimals=4),
        easy=("balance_sheet_accruals_pct", "cash_to_income"),
        medium=("balance_sheet_accruals_pct", "cash_flow_accruals_pct", "cash_to_income"),
        hard=("average_noa_musd", "balance_sheet_accruals_pct", "cash_flow_accruals_pct", "cash_to_income"),
    ),
    draw=_draw_accruals,
    key=_accruals_key,
)

DILUTED_EPS: Final = Template(
    name="diluted_eps",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} earned {net_income} with {shares} shares outstanding all year. There are {options} options with an exercise"
            " price of {exercise}; the share cost {price} on average. Convertible bonds of {convertible} with a coupon of"
            " {coupon} can be exchanged for {conversion_shares} shares; the tax rate is {tax}. Find the earnings per share."
        ),
        (
            "The net income of {firm} is {net_income}, its tax rate {tax}. It has {shares} shares outstanding. Holders of"
            " {convertible} of convertible bonds receive {coupon} of interest a year or may convert them into"
            " {conversion_shares} shares. Managers hold {options} options to buy at {exercise} while the share averaged {price}."
            " What does a share earn, before and after dilution?"
        ),
        (
            "At an average price of {price}, options on {options} shares of {firm} can be exercised at {exercise}. A convertible"
            " bond issue of {convertible} pays {coupon} and converts into {conversion_shares} shares. The firm made {net_income}"
            " after tax at a rate of {tax}; {shares} shares are outstanding. Report earnings per share."
        ),
    ),
    conventions=(
        "All instruments were outstanding the whole year; an option buys one share. Use the treasury stock method for options and"
        " the if-converted method for the bonds, with interest after tax; an instrument that does not dilute is left out of"
        " diluted earnings per share."
    ),
    asked=asked(
        figure("basic_eps_usd", "basic earnings per share", "USD", decimals=4, tolerance=0.001),
        figure("option_shares_m", "net new shares from the options", "million", decimals=4),
        figure(
            "earnings_per_converted_share_usd", "after-tax interest per share the bonds convert into", "USD", decimals=4
        ),
        figure("diluted_eps_usd", "diluted earnings per share", "USD", decimals=4, tolerance=0.001),
        easy=("basic_eps_usd", "diluted_eps_usd"),
        medium=("basic_eps_usd", "option_shares_m", "diluted_eps_usd"),
        hard=("basic_eps_usd", "option_shares_m", "earnings_per_converted_share_usd", "diluted_eps_usd"),
    ),
    draw=_draw_diluted,
    key=_diluted_key,
)

EVA_SPREAD: Final = Template(
    name="eva_spread",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} made an operating profit after tax of {nopat}. It did so on invested capital of {capital}, which costs"
            " {wacc} a year. How much value was created?"
        ),
        (
            "Owners and lenders of {firm} ask for {wacc} on the {capital} they have put in. The firm's operating profit after"
            " tax was {nopat}. Did it earn its cost of capital?"
        ),
        (
            "The weighted cost of capital of {firm} is {wacc}. With {capital} of invested capital it achieved an operating"
            " profit after tax of {nopat}. Compare what it earned with what its capital costs."
        ),
    ),
    conventions="Use invested capital as given. Value destroyed and a return below the cost of capital are negative.",
    asked=asked(
        figure("capital_charge_musd", "yearly charge for the capital", "million USD"),
        percent("roic_pct", "return on invested capital"),
        figure("eva_musd", "economic value added", "million USD"),
        percent("spread_pct", "return on invested capital less its cost, in percentage points"),
        easy=("eva_musd", "spread_pct"),
        medium=("roic_pct", "eva_musd", "spread_pct"),
        hard=("capital_charge_musd", "roic_pct", "eva_musd", "spread_pct"),
    ),
    draw=_draw_economic_value,
    key=_economic_value_key,
)

TEMPLATES: Final = (DUPONT, WORKING_CAPITAL, EARNINGS_QUALITY, DILUTED_EPS, EVA_SPREAD)
