"""A second derivation of every key, by another road than the product takes. Nothing here is imported by the product."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from services.green_agent.benchmarks.synthetic import decisions, instruments, statements, valuation
from services.green_agent.scoring.answers import Value

Keys = Mapping[str, Value]


def dupont(p: statements.Dupont) -> Keys:
    tax, interest = p.pretax - p.net_income, p.ebit - p.pretax
    return {
        "tax_burden": 1 - tax / p.pretax,
        "interest_burden": 1 - interest / p.ebit,
        "ebit_margin_pct": 100 * (p.net_income + tax + interest) / p.sales,
        "asset_turnover": 1 / (p.assets / p.sales),
        "equity_multiplier": 1 + (p.assets - p.equity) / p.equity,
        "roe_pct": 100 * p.net_income / p.equity,
    }


def working_capital(p: statements.WorkingCapital) -> Keys:
    dso = 365 / (p.sales / p.receivables)
    dio = 365 / (p.cogs / p.inventory)
    dpo = 365 / (p.cogs / p.payables)
    return {
        "dso_days": dso,
        "dio_days": dio,
        "dpo_days": dpo,
        "cash_cycle_days": dso - dpo + dio,
        "cash_freed_musd": p.receivables - p.sales / (365 / p.target_dso),
    }


def earnings_quality(p: statements.Accruals) -> Keys:
    # Statements rebuilt: cash left over, then what of the income was not cash.
    free_cash = p.operating_cash - p.invested_cash
    return {
        "average_noa_musd": p.assets_before + (p.assets_after - p.assets_before) / 2,
        "balance_sheet_accruals_pct": 200
        * (p.assets_after / p.assets_before - 1)
        / (p.assets_after / p.assets_before + 1),
        "cash_flow_accruals_pct": 200 * (p.net_income - free_cash) / (p.assets_before + p.assets_after),
        "cash_to_income": 1 - (p.net_income - p.operating_cash) / p.net_income,
    }


def diluted_eps(p: statements.DilutedShares) -> Keys:
    bought_back = p.options * p.exercise / p.price
    saved = p.convertible * p.coupon / 100 * (100 - p.tax) / 100
    # (added income, added shares), from the most dilutive on, each taken only while it lowers the figure.
    instruments_by_effect = sorted(
        [(0.0, p.options - bought_back), (saved, p.conversion_shares)], key=lambda one: one[0] / one[1]
    )
    income, shares = p.net_income, p.shares
    for added_income, added_shares in instruments_by_effect:
        if added_income / added_shares < income / shares:
            income, shares = income + added_income, shares + added_shares
    return {
        "basic_eps_usd": p.net_income / p.shares,
        "option_shares_m": p.options - bought_back,
        "earnings_per_converted_share_usd": saved / p.conversion_shares,
        "diluted_eps_usd": income / shares,
    }


def eva_spread(p: statements.EconomicValue) -> Keys:
    spread = p.nopat / p.capital - p.wacc / 100
    return {
        "capital_charge_musd": p.nopat - spread * p.capital,
        "roic_pct": p.wacc + 100 * spread,
        "eva_musd": spread * p.capital,
        "spread_pct": 100 * spread,
    }


def dcf_two_stage(p: valuation.TwoStages) -> Keys:
    growth, wacc, slow = p.growth / 100, p.wacc / 100, p.long_growth / 100
    ratio = (1 + growth) / (1 + wacc)
    explicit = p.fcff * (p.years if ratio == 1 else ratio * (1 - ratio**p.years) / (1 - ratio))
    terminal = p.fcff * ratio**p.years * (1 + slow) / (wacc - slow)
    equity = explicit + terminal + p.cash - p.debt
    return {
        "pv_explicit_musd": explicit,
        "pv_terminal_musd": terminal,
        "ev_musd": equity - p.cash + p.debt,
        "value_per_share_usd": equity / p.shares,
    }


def wacc_relever(p: valuation.Relevered) -> Keys:
    def gearing(leverage: float) -> float:
        return 1 + leverage - leverage * p.tax / 100

    beta = p.beta * gearing(p.target_leverage) / gearing(p.leverage)
    cost_of_equity = p.risk_free + p.premium * beta
    debt_share = p.target_leverage / (1 + p.target_leverage)
    after_tax = p.debt_cost - p.debt_cost * p.tax / 100
    return {
        "unlevered_beta": p.beta / gearing(p.leverage),
        "relevered_beta": beta,
        "cost_of_equity_pct": cost_of_equity,
        "wacc_pct": cost_of_equity + debt_share * (after_tax - cost_of_equity),
    }


def accretion_dilution(p: valuation.Merger) -> Keys:
    cash = p.cost * p.cash_share / 100
    issued = p.cost * (100 - p.cash_share) / 100 / p.price
    lines = [p.synergy, -p.amortisation, -cash * p.interest / 100]
    net = p.income + p.target_income + sum(line - line * p.tax / 100 for line in lines)
    before, after = p.income / p.shares, net / (p.shares + issued)
    return {
        "new_shares_m": issued,
        "combined_income_musd": net,
        "combined_eps_usd": after,
        "accretion_pct": (after - before) / before * 100,
    }


def npv_tax_shield(p: valuation.Project) -> Keys:
    rate, kept = p.rate / 100, 1 - p.tax / 100
    last = (1 + rate) ** -p.years
    annuity = (1 - last) / rate
    shield = p.investment / p.years * p.tax / 100
    operations, release = p.ebitda * kept, p.working_capital + p.salvage * kept
    value = annuity * operations + annuity * shield + last * release - p.working_capital - p.investment
    return {
        "yearly_cash_flow_usd": 1000 * (operations + shield),
        "pv_tax_shield_usd": 1000 * annuity * shield,
        "final_release_usd": 1000 * release,
        "npv_usd": 1000 * value,
    }


def lbo_returns(p: valuation.Buyout) -> Keys:
    ebitda, debt = p.ebitda, p.debt_multiple * p.ebitda
    equity = p.ebitda * (p.entry_multiple - p.debt_multiple)
    for _ in range(p.years):
        ebitda += ebitda * p.growth / 100
        debt -= p.repaid
    sold = ebitda * p.exit_multiple
    gain = math.log(sold - debt) - math.log(equity)
    return {
        "exit_value_musd": sold,
        "exit_equity_musd": sold - debt,
        "moic": math.exp(gain),
        "irr_pct": 100 * math.expm1(gain / p.years),
    }


def bond_duration(p: instruments.Bond) -> Keys:
    flows = [(half / 2, p.face * p.coupon / 200) for half in range(1, 2 * p.years + 1)]
    flows[-1] = (p.years, flows[-1][1] + p.face)

    def price(yield_pct: float) -> float:
        return math.fsum(flow * (1 + yield_pct / 200) ** (-2 * time) for time, flow in flows)

    value, step = price(p.bond_yield), 1e-3
    weighted = sum(time * flow / (1 + p.bond_yield / 200) ** (2 * time) for time, flow in flows)
    slope = (price(p.bond_yield + step) - price(p.bond_yield - step)) / (2 * step)
    return {
        "price_usd": value,
        "macaulay_years": weighted / value,
        "modified_years": -100 * slope / value,
        "value_of_basis_point_usd": -slope / 100,
    }


def cip_arbitrage(p: instruments.CurrencyForward) -> Keys:
    years = p.months / 12
    usd_growth, eur_growth = 1 + p.usd_rate * years / 100, 1 + p.eur_rate * years / 100
    euros = p.notional * 1e6 / p.spot
    # Borrow EUR, hold USD, buy the EUR back forward; and the other way round.
    short_eur = p.notional * 1e6 * usd_growth - euros * eur_growth * p.forward
    long_eur = euros * eur_growth * p.forward - p.notional * 1e6 * usd_growth
    fair = math.exp(math.log(p.spot) + math.log1p(p.usd_rate * years / 100) - math.log1p(p.eur_rate * years / 100))
    return {
        "fair_forward": fair,
        "eur_at_maturity": euros * eur_growth,
        "profit_usd": euros * eur_growth * abs(fair - p.forward),
        "forward_trade": "buy EUR forward" if short_eur > long_eur else "sell EUR forward",
    }


def parity_arbitrage(p: instruments.Parity) -> Keys:
    growth = math.exp(p.rate / 100 * p.months / 12)
    dividend = p.dividend * math.exp(p.rate / 100 * (p.months - p.dividend_months) / 12)
    # Everything at expiry: hold the synthetic (call, short put, the strike in the bank) against a share sold short.
    synthetic = (p.call - p.put) * growth + p.strike
    share = p.spot * growth - dividend
    return {
        "fair_difference_usd": (share - p.strike) / growth,
        "gap_usd": (synthetic - share) / growth,
        "locked_profit_usd": max(synthetic, share) - min(synthetic, share),
        "trade": "sell synthetic, buy stock" if synthetic > share else "buy synthetic, short stock",
    }


def curve_forwards(p: instruments.Curve) -> Keys:
    one, two, three = (1 + rate / 100 for rate in (p.one, p.two, p.three))
    second, third = two**2 / one, three**3 / two**2
    chained = [1 / one, 1 / one / second, 1 / one / second / third]
    return {
        "price_usd": p.coupon / one + p.coupon / two**2 + (100 + p.coupon) / three**3,
        "forward_second_year_pct": 100 * (second - 1),
        "forward_third_year_pct": 100 * (third - 1),
        "par_rate_pct": (100 - 100 * chained[2]) / sum(chained),
    }


def cagr_fx(p: decisions.ForeignGrowth) -> Keys:
    local = (math.log(p.sales_after) - math.log(p.sales_before)) / p.years
    currency = (math.log(p.fx_after) - math.log(p.fx_before)) / p.years
    return {
        "sales_before_musd": p.sales_before / (1 / p.fx_before),
        "sales_after_musd": p.sales_after / (1 / p.fx_after),
        "growth_local_pct": 100 * math.expm1(local),
        "growth_reported_pct": 100 * math.expm1(local + currency),
        "currency_effect_points": 100 * math.exp(local) * math.expm1(currency),
    }


def break_even_mix(p: decisions.ProductMix) -> Keys:
    price = (p.share_a * p.price_a + p.share_b * p.price_b + p.share_c * p.price_c) / 100
    cost = (p.share_a * p.cost_a + p.share_b * p.cost_b + p.share_c * p.cost_c) / 100
    sales = 1000 * p.fixed_cost / (1 - cost / price)
    profit = p.units * price - p.units * cost - 1000 * p.fixed_cost
    return {
        "mean_margin_usd": price - cost,
        "break_even_units": sales / price,
        "break_even_sales_usd": sales,
        "operating_leverage": 1 + 1000 * p.fixed_cost / profit,
    }


def min_variance(p: decisions.TwoAssets) -> Keys:
    r, a, b = p.correlation, p.sd_a, p.sd_b
    spread = a**2 + b**2 - 2 * r * a * b
    sd = math.sqrt(a**2 * b**2 * (1 - r**2) / spread)
    # In the minimum each share has the covariance of the portfolio: its variance.
    weight = (sd**2 - r * a * b) / (a**2 - r * a * b)
    expected = p.return_b + weight * (p.return_a - p.return_b)
    return {
        "weight_pct": 100 * weight,
        "sd_pct": sd,
        "expected_return_pct": expected,
        "return_per_risk": expected / sd,
    }


def loan_balance(p: decisions.Loan) -> Keys:
    monthly, periods = p.rate / 1200, 12 * p.years
    discount = 1 / (1 + monthly)
    payment = 1000 * p.principal / math.fsum(discount**period for period in range(1, periods + 1))
    balance = math.fsum(payment * discount**period for period in range(1, periods - p.paid + 1))
    owed, interest = 1000.0 * p.principal, 0.0
    for _ in range(p.paid):
        interest += owed * monthly
        owed += owed * monthly - payment
    return {"payment_usd": payment, "balance_usd": balance, "interest_paid_usd": interest}


CHECKS: Mapping[str, Callable[[Any], Keys]] = {
    check.__name__: check
    for check in (
        dupont,
        working_capital,
        earnings_quality,
        diluted_eps,
        eva_spread,
        dcf_two_stage,
        wacc_relever,
        accretion_dilution,
        npv_tax_shield,
        lbo_returns,
        bond_duration,
        cip_arbitrage,
        parity_arbitrage,
        curve_forwards,
        cagr_fx,
        break_even_mix,
        min_variance,
        loan_balance,
    )
}
