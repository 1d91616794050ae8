"""What a firm or a project is worth: discounted cash flow, cost of capital, mergers, buyouts."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.green_agent.benchmarks.synthetic.figures import (
    Money,
    Number,
    Price,
    Rate,
    Share,
    Shares,
    Thousands,
    Years,
    hundredth,
    tenth,
)
from services.green_agent.benchmarks.synthetic.surroundings import Scene
from services.green_agent.benchmarks.synthetic.template import Template, asked, figure, percent
from services.green_agent.scoring.answers import Value


@dataclass(frozen=True, kw_only=True, slots=True)
class TwoStages:
    """Free cash flow to the firm that grows fast for some years and slowly ever after."""

    fcff: Money
    """Of the year just ended."""
    growth: Rate
    years: Years
    long_growth: Rate
    wacc: Rate
    debt: Money
    cash: Money
    shares: Shares


@dataclass(frozen=True, kw_only=True, slots=True)
class Relevered:
    """A change of capital structure."""

    beta: Number
    leverage: Number
    """Debt / equity now."""
    target_leverage: Number
    tax: Share
    risk_free: Rate
    premium: Rate
    debt_cost: Rate


@dataclass(frozen=True, kw_only=True, slots=True)
class Merger:
    """A takeover paid with cash borrowed and new shares."""

    income: Money
    shares: Shares
    price: Price
    target_income: Money
    cost: Money
    cash_share: Share
    interest: Rate
    tax: Share
    synergy: Money
    amortisation: Money


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """An investment written off in equal parts."""

    investment: Thousands
    years: Years
    rate: Rate
    tax: Share
    ebitda: Thousands
    working_capital: Thousands
    salvage: Thousands


@dataclass(frozen=True, kw_only=True, slots=True)
class Buyout:
    """A firm bought with debt, paid down and sold."""

    ebitda: Money
    entry_multiple: Number
    exit_multiple: Number
    debt_multiple: Number
    growth: Rate
    years: Years
    repaid: Money
    """A year."""


def _draw_two_stages(rng: random.Random) -> TwoStages:
    fcff = tenth(rng, 22, 640)
    return TwoStages(
        fcff=fcff,
        growth=tenth(rng, 6, 16),
        years=rng.randint(4, 9),
        long_growth=tenth(rng, 1.2, 3.4),
        wacc=tenth(rng, 7.6, 12.5),
        debt=tenth(rng, 2 * fcff, 6 * fcff),
        cash=tenth(rng, 0.3 * fcff, 1.6 * fcff),
        shares=tenth(rng, 14, 320),
    )


def _two_stages_key(params: TwoStages) -> Mapping[str, Value]:
    wacc, long_growth = params.wacc / 100, params.long_growth / 100
    flow, discount, explicit = params.fcff, 1.0, 0.0
    for _ in range(params.years):
        flow *= 1 + params.growth / 100
        discount /= 1 + wacc
        explicit += flow * discount
    terminal = flow * (1 + long_growth) / (wacc - long_growth) * discount
    value = explicit + terminal
    return {
        "pv_explicit_musd": explicit,
        "pv_terminal_musd": terminal,
        "ev_musd": value,
        "value_per_share_usd": (value - params.debt + params.cash) / params.shares,
    }


def _draw_relevered(rng: random.Random) -> Relevered:
    leverage = hundredth(rng, 0.25, 1.6)
    return Relevered(
        beta=hundredth(rng, 0.8, 1.9),
        leverage=leverage,
        target_leverage=round(leverage * rng.choice((rng.uniform(0.35, 0.75), rng.uniform(1.3, 2.0))), 2),
        tax=tenth(rng, 15, 34),
        risk_free=hundredth(rng, 1.6, 4.9),
        premium=hundredth(rng, 4.1, 6.9),
        debt_cost=hundredth(rng, 5.1, 8.9),
    )


def _relevered_key(params: Relevered) -> Mapping[str, Value]:
    kept = 1 - params.tax / 100
    unlevered = params.beta / (1 + kept * params.leverage)
    beta = unlevered * (1 + kept * params.target_leverage)
    equity_cost = params.risk_free + beta * params.premium
    equity_weight = 1 / (1 + params.target_leverage)
    return {
        "unlevered_beta": unlevered,
        "relevered_beta": beta,
        "cost_of_equity_pct": equity_cost,
        "wacc_pct": equity_weight * equity_cost + (1 - equity_weight) * params.debt_cost * kept,
    }


def _draw_merger(rng: random.Random) -> Merger:
    shares, eps = tenth(rng, 70, 700), rng.uniform(1.4, 6.5)
    income = round(shares * eps, 1)
    target_income = tenth(rng, 0.1 * income, 0.35 * income)
    cost = tenth(rng, 11 * target_income, 21 * target_income)
    return Merger(
        income=income,
        shares=shares,
        price=hundredth(rng, 12 * eps, 25 * eps),
        target_income=target_income,
        cost=cost,
        cash_share=rng.randrange(25, 85, 5),
        interest=hundredth(rng, 3.6, 7.8),
        tax=tenth(rng, 18, 31),
        synergy=tenth(rng, 0.01 * cost, 0.05 * cost),
        amortisation=tenth(rng, 0.008 * cost, 0.03 * cost),
    )


def _merger_key(params: Merger) -> Mapping[str, Value]:
    borrowed = params.cost * params.cash_share / 100
    new_shares = (params.cost - borrowed) / params.price
    before_tax = params.synergy - params.amortisation - borrowed * params.interest / 100
    income = params.income + params.target_income + before_tax * (1 - params.tax / 100)
    eps = income / (params.shares + new_shares)
    return {
        "new_shares_m": new_shares,
        "combined_income_musd": income,
        "combined_eps_usd": eps,
        "accretion_pct": 100 * (eps / (params.income / params.shares) - 1),
    }


def _draw_project(rng: random.Random) -> Project:
    investment = rng.randrange(400, 9_000, 10)
    return Project(
        investment=investment,
        years=rng.randint(4, 9),
        rate=hundredth(rng, 6.5, 13.5),
        tax=tenth(rng, 17, 33),
        ebitda=round(investment * rng.uniform(0.24, 0.46)),
        working_capital=round(investment * rng.uniform(0.04, 0.12)),
        salvage=round(investment * rng.uniform(0.05, 0.2)),
    )


def _project_key(params: Project) -> Mapping[str, Value]:
    tax, growth = params.tax / 100, 1 + params.rate / 100
    depreciation = params.investment / params.years
    yearly = params.ebitda - tax * (params.ebitda - depreciation)
    final = params.working_capital + params.salvage * (1 - tax)
    flows = [-params.investment - params.working_capital, *[yearly] * params.years]
    flows[-1] += final
    return {
        "yearly_cash_flow_usd": 1000 * yearly,
        "pv_tax_shield_usd": 1000 * sum(tax * depreciation / growth**year for year in range(1, params.years + 1)),
        "final_release_usd": 1000 * final,
        "npv_usd": 1000 * sum(flow / growth**year for year, flow in enumerate(flows)),
    }


def _draw_buyout(rng: random.Random) -> Buyout:
    ebitda = tenth(rng, 24, 480)
    entry = tenth(rng, 6.5, 11.5)
    debt = tenth(rng, 0.5 * entry, 0.68 * entry)
    return Buyout(
        ebitda=ebitda,
        entry_multiple=entry,
        exit_multiple=round(entry + rng.uniform(-1.2, 1.2), 1),
        debt_multiple=debt,
        growth=tenth(rng, 3.1, 9.5),
        years=rng.randint(3, 7),
        repaid=tenth(rng, 0.05 * debt * ebitda, 0.1 * debt * ebitda),
    )


def _buyout_key(params: Buyout) -> Mapping[str, Value]:
    debt = params.debt_multiple * params.ebitda
    entry_equity = params.entry_multiple * params.ebitda - debt
    exit_value = params.exit_multiple * params.ebitda * (1 + params.growth / 100) ** params.years
    exit_equity = exit_value - (debt - params.repaid * params.years)
    multiple = exit_equity / entry_equity
    return {
        "exit_value_musd": exit_value,
        "exit_equity_musd": exit_equity,
        "moic": multiple,
        "irr_pct": 100 * (multiple ** (1 / params.years) - 1),
    }


DCF: Final = Template(
    name="dcf_two_stage",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} generated a free cash flow to the firm of {fcff} in the year just ended. It is expected to grow by {growth}"
            " a year for {years} and by {long_growth} a year after that. The weighted cost of capital is {wacc}. There is debt"
            " of {debt}, cash of {cash} and a count of {shares} shares. What is the firm worth?"
        ),
        (
            "Value {firm} by discounted cash flow. Its cost of capital is {wacc}, its debt {debt}, its cash {cash}; {shares}"
            " shares are outstanding. Last year's free cash flow to the firm of {fcff} should rise by {growth} a year over the"
            " coming {years}. Thereafter assume growth of {long_growth} without end."
        ),
        (
            "A buyer wants to know what {firm} is worth at a cost of capital of {wacc}. Free cash flow to the firm was {fcff};"
            " plan {years} of growth at {growth} a year, then {long_growth} for ever. On the balance sheet stand {debt} of debt"
            " and {cash} of cash. The equity is divided into {shares} shares."
        ),
    ),
    conventions=(
        "Cash flows fall at year ends, the first one year from now and one growth step above the flow given; the terminal value"
        " follows from the growing perpetuity. Equity is the value of the firm less debt plus cash."
    ),
    asked=asked(
        figure("pv_explicit_musd", "present value of the years of fast growth", "million USD"),
        figure("pv_terminal_musd", "present value of all later years", "million USD"),
        figure("ev_musd", "value of the firm", "million USD"),
        figure("value_per_share_usd", "value of a share", "USD", decimals=3),
        easy=("ev_musd",),
        medium=("ev_musd", "value_per_share_usd"),
        hard=("pv_explicit_musd", "pv_terminal_musd", "ev_musd", "value_per_share_usd"),
    ),
    draw=_draw_two_stages,
    key=_two_stages_key,
)

WACC: Final = Template(
    name="wacc_relever",
    scene=Scene.FIRM,
    wordings=(
        (
            "The equity beta of {firm} is {beta} at a debt-to-equity ratio of {leverage}. The board wants to move that ratio to"
            " {target_leverage}. Profits are taxed at {tax}; the risk-free rate is {risk_free}, the equity risk premium"
            " {premium}, and debt will cost {debt_cost} before tax. What will capital cost?"
        ),
        (
            "{firm} plans to change its debt-to-equity ratio from {leverage} to {target_leverage}. Its beta today is {beta}."
            " Lenders ask for {debt_cost} at the new ratio, government paper yields {risk_free}, and shareholders expect"
            " {premium} above that on the market. At a tax rate of {tax}, find the new cost of capital."
        ),
        (
            "With a tax rate of {tax} and a debt-to-equity ratio of {leverage}, {firm} shows an equity beta of {beta}. Suppose"
            " the ratio becomes {target_leverage} and debt then yields {debt_cost}. Use a risk-free rate of {risk_free} and a"
            " market risk premium of {premium}. Derive beta and cost of capital after the change."
        ),
    ),
    conventions=(
        "Use Hamada's relation (levered beta = unlevered beta x (1 + (1 - tax) x debt / equity)), the capital asset pricing"
        " model, market weights at the new ratio and interest that is tax deductible. The cost of debt given is before tax."
    ),
    asked=asked(
        figure("unlevered_beta", "beta without debt", decimals=4),
        figure("relevered_beta", "equity beta at the new ratio", decimals=4),
        percent("cost_of_equity_pct", "cost of equity at the new ratio"),
        percent("wacc_pct", "weighted average cost of capital at the new ratio"),
        easy=("unlevered_beta", "relevered_beta"),
        medium=("relevered_beta", "cost_of_equity_pct", "wacc_pct"),
        hard=("unlevered_beta", "relevered_beta", "cost_of_equity_pct", "wacc_pct"),
    ),
    draw=_draw_relevered,
    key=_relevered_key,
)

MERGER: Final = Template(
    name="accretion_dilution",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} buys {other} for {cost}. It has a net income of {income} and {shares} shares, which trade at {price}; the"
            " target earns {target_income}. Cash makes up {cash_share} of the price and is borrowed at {interest}, the rest is"
            " paid in new shares. Synergies of {synergy} and amortisation of {amortisation} a year follow, both before tax; the"
            " tax rate is {tax}. What happens to earnings per share?"
        ),
        (
            "The board of {firm} weighs an offer of {cost} for {other}, whose net income is {target_income}. Of that price"
            " {cash_share} would be borrowed at {interest} and paid in cash; new shares at {price} would cover the remainder."
            " Before tax the deal adds {synergy} of synergies and {amortisation} of amortisation a year. {firm} itself earns"
            " {income} on {shares} shares and pays tax at {tax}. Is the deal accretive?"
        ),
        (
            "A merger model for {firm} and {other} starts from net incomes of {income} and {target_income}. {firm} has {shares}"
            " shares at {price} each and a tax rate of {tax}. The purchase price is {cost}: {cash_share} in cash, financed by a"
            " loan at {interest}, and shares for the remaining part. Yearly synergies are {synergy}, yearly amortisation is"
            " {amortisation}, both before tax. Find the effect on earnings per share."
        ),
    ),
    conventions=(
        "New shares are issued at the price given. Interest, synergies and amortisation are taxed at the tax rate; amortisation"
        " is deductible. Accretion is measured against the buyer's earnings per share before the deal; dilution is negative."
    ),
    asked=asked(
        figure("new_shares_m", "new shares", "million", decimals=4),
        figure("combined_income_musd", "net income of the combined firm", "million USD"),
        figure("combined_eps_usd", "earnings per share of the combined firm", "USD", decimals=4, tolerance=0.001),
        percent("accretion_pct", "accretion, with its sign"),
        easy=("combined_eps_usd",),
        medium=("combined_eps_usd", "accretion_pct"),
        hard=("new_shares_m", "combined_income_musd", "combined_eps_usd", "accretion_pct"),
    ),
    draw=_draw_merger,
    key=_merger_key,
)

PROJECT: Final = Template(
    name="npv_tax_shield",
    scene=Scene.FIRM,
    wordings=(
        (
            "{firm} can buy a plant for {investment}. It would earn {ebitda} a year before interest, tax and depreciation for"
            " {years}, and it ties up {working_capital} of working capital. At the end it can be sold for {salvage}. The tax"
            " rate is {tax}, the discount rate {rate}. Should the firm invest?"
        ),
        (
            "A project of {firm} needs {investment} for equipment and {working_capital} of working capital at once. Over"
            " {years} it brings an EBITDA of {ebitda} a year. When it is over, the equipment fetches {salvage}. With tax at"
            " {tax} and a cost of capital of {rate}, work out what the project is worth."
        ),
        (
            "At a cost of capital of {rate} and a tax rate of {tax}, {firm} examines a machine that lasts {years}. It costs"
            " {investment}; {working_capital} more is bound in working capital. Each year it yields {ebitda} before"
            " depreciation, interest and tax. Its scrap value is {salvage}. What is its net present value?"
        ),
    ),
    conventions=(
        "The asset is written off to zero in equal parts over its life; proceeds of its sale are taxed in full. Working capital"
        " is paid at the start and released in full at the end. Yearly flows fall at year ends; losses save tax at once."
    ),
    asked=asked(
        figure("yearly_cash_flow_usd", "yearly cash flow after tax, without the final release", "USD", decimals=0),
        figure("pv_tax_shield_usd", "present value of the tax saved by depreciation", "USD", decimals=0),
        figure(
            "final_release_usd", "working capital and proceeds after tax at the end, undiscounted", "USD", decimals=0
        ),
        figure("npv_usd", "net present value, with its sign", "USD", decimals=0),
        easy=("npv_usd",),
        medium=("yearly_cash_flow_usd", "npv_usd"),
        hard=("yearly_cash_flow_usd", "pv_tax_shield_usd", "final_release_usd", "npv_usd"),
    ),
    draw=_draw_project,
    key=_project_key,
)

BUYOUT: Final = Template(
    name="lbo_returns",
    scene=Scene.FIRM,
    wordings=(
        (
            "A fund buys {firm}, whose EBITDA is {ebitda}, at {entry_multiple} times EBITDA. Debt of {debt_multiple} times"
            " EBITDA pays part of it; {repaid} of it is paid back each year. EBITDA grows by {growth} a year, and after {years}"
            " the firm is sold at {exit_multiple} times EBITDA. What does the fund make?"
        ),
        (
            "Suppose {firm} is taken over for {entry_multiple} times its EBITDA of {ebitda}. Lenders provide {debt_multiple}"
            " times EBITDA. The new owner holds it for {years}, lets EBITDA grow by {growth} a year and repays {repaid} a year."
            " It exits at {exit_multiple} times the EBITDA of that time. Find the return on its equity."
        ),
        (
            "An exit at {exit_multiple} times EBITDA is planned {years} after the purchase of {firm}. The purchase is made at"
            " {entry_multiple} times an EBITDA of {ebitda}, with debt of {debt_multiple} times EBITDA. Growth is put at {growth}"
            " a year and debt falls by {repaid} a year. How well does the sponsor do?"
        ),
    ),
    conventions=(
        "The rest of the purchase price is equity; there are no fees, no cash is left in the firm and no dividends are paid."
        " Both multiples apply to the EBITDA of the year just ended."
    ),
    asked=asked(
        figure("exit_value_musd", "value of the firm at exit", "million USD"),
        figure("exit_equity_musd", "equity at exit", "million USD"),
        figure("moic", "equity at exit / equity invested, a plain ratio", decimals=4),
        percent("irr_pct", "internal rate of return of the equity a year"),
        easy=("moic",),
        medium=("moic", "irr_pct"),
        hard=("exit_value_musd", "exit_equity_musd", "moic", "irr_pct"),
    ),
    draw=_draw_buyout,
    key=_buyout_key,
)

TEMPLATES: Final = (DCF, WACC, MERGER, PROJECT, BUYOUT)
