"""The worked examples of the specification, through the keys of the templates."""

import pytest

from services.green_agent.benchmarks.synthetic import decisions, instruments, statements, valuation


def test_dupont() -> None:
    key = statements.DUPONT.key(
        statements.Dupont(net_income=90, pretax=120, ebit=150, sales=1200, assets=1500, equity=600)
    )

    assert key == pytest.approx(
        {
            "tax_burden": 0.75,
            "interest_burden": 0.8,
            "ebit_margin_pct": 12.5,
            "asset_turnover": 0.8,
            "equity_multiplier": 2.5,
            "roe_pct": 15.0,
        },
        rel=1e-6,
    )


def test_cagr_fx() -> None:
    key = decisions.GROWTH.key(
        decisions.ForeignGrowth(sales_before=420, sales_after=655, years=4, fx_before=1.10, fx_after=1.05)
    )

    assert key["growth_reported_pct"] == pytest.approx(10.457995, rel=1e-6)


def test_dcf_two_stage() -> None:
    key = valuation.DCF.key(
        valuation.TwoStages(fcff=80, growth=12, years=5, long_growth=3, wacc=9, debt=250, cash=60, shares=40)
    )

    assert key["ev_musd"] == pytest.approx(2007.282449, rel=1e-6)
    assert key["value_per_share_usd"] == pytest.approx(45.432061, rel=1e-6)


def test_wacc_relever() -> None:
    key = valuation.WACC.key(
        valuation.Relevered(beta=1.3, leverage=0.8, target_leverage=0.5, tax=25, risk_free=4, premium=5.5, debt_cost=6)
    )

    assert key["relevered_beta"] == pytest.approx(1.1171875, rel=1e-6)
    assert key["cost_of_equity_pct"] == pytest.approx(10.144531, rel=1e-6)
    assert key["wacc_pct"] == pytest.approx(8.263021, rel=1e-6)


def test_bond_duration() -> None:
    key = instruments.BOND.key(instruments.Bond(face=1000, coupon=5, bond_yield=6, years=7))

    assert key["price_usd"] == pytest.approx(943.519634, rel=1e-6)
    assert key["macaulay_years"] == pytest.approx(5.955575, rel=1e-6)
    assert key["modified_years"] == pytest.approx(5.782112, rel=1e-6)


def test_cip_arbitrage() -> None:
    key = instruments.CURRENCY.key(
        instruments.CurrencyForward(spot=1.10, forward=1.12, usd_rate=5, eur_rate=3, months=12, notional=1)
    )

    assert key["fair_forward"] == pytest.approx(1.121359, rel=1e-6)
    assert key["profit_usd"] == pytest.approx(1272.727273, rel=1e-6)
    assert key["forward_trade"] == "buy EUR forward"


def test_accretion_dilution() -> None:
    key = valuation.MERGER.key(
        valuation.Merger(
            income=500,
            shares=200,
            price=50,
            target_income=80,
            cost=1500,
            cash_share=60,
            interest=6,
            tax=25,
            synergy=40,
            amortisation=30,
        )
    )

    assert key["combined_eps_usd"] == pytest.approx(2.580189, rel=1e-6)
    assert key["accretion_pct"] == pytest.approx(3.207547, rel=1e-6)


def test_working_capital() -> None:
    key = statements.WORKING_CAPITAL.key(
        statements.WorkingCapital(sales=3650, cogs=2190, receivables=500, inventory=360, payables=240, target_dso=40)
    )

    assert key["cash_cycle_days"] == pytest.approx(70, rel=1e-6)
    assert key["cash_freed_musd"] == pytest.approx(100, rel=1e-6)


def test_break_even_mix() -> None:
    key = decisions.MIX.key(
        decisions.ProductMix(
            fixed_cost=900,
            share_a=50,
            share_b=30,
            share_c=20,
            price_a=40,
            cost_a=24,
            price_b=60,
            cost_b=33,
            price_c=100,
            cost_c=70,
            units=90_000,
        )
    )

    assert key["break_even_units"] == pytest.approx(40_723.9819, rel=1e-6)
    assert key["break_even_sales_usd"] == pytest.approx(2_361_990.9502, rel=1e-6)
    assert key["operating_leverage"] == pytest.approx(1.826446, rel=1e-6)


def test_npv_tax_shield() -> None:
    key = valuation.PROJECT.key(
        valuation.Project(investment=1000, years=5, rate=10, tax=25, ebitda=320, working_capital=80, salvage=150)
    )

    assert key["npv_usd"] == pytest.approx(138_855.5178, rel=1e-6)


def test_earnings_quality() -> None:
    key = statements.EARNINGS_QUALITY.key(
        statements.Accruals(net_income=120, operating_cash=90, invested_cash=70, assets_before=800, assets_after=890)
    )

    assert key["balance_sheet_accruals_pct"] == pytest.approx(10.650888, rel=1e-6)
    assert key["cash_flow_accruals_pct"] == pytest.approx(11.834320, rel=1e-6)
    assert key["cash_to_income"] == 0.75


def test_parity_arbitrage() -> None:
    key = instruments.PARITY.key(
        instruments.Parity(call=9.2, put=6.1, spot=102, strike=100, rate=4, months=9, dividend=1, dividend_months=3)
    )

    assert key["gap_usd"] == pytest.approx(-0.865397, rel=1e-6)
    assert key["locked_profit_usd"] == pytest.approx(0.891752, rel=1e-6)
    assert key["trade"] == "buy synthetic, short stock"


def test_diluted_eps() -> None:
    key = statements.DILUTED_EPS.key(
        statements.DilutedShares(
            net_income=240,
            shares=100,
            options=12,
            exercise=30,
            price=48,
            convertible=300,
            coupon=5,
            conversion_shares=6,
            tax=25,
        )
    )

    assert key["basic_eps_usd"] == pytest.approx(2.40, rel=1e-6)
    assert key["diluted_eps_usd"] == pytest.approx(2.273756, rel=1e-6)


def test_curve_forwards() -> None:
    key = instruments.CURVE.key(instruments.Curve(one=3, two=3.5, three=4, coupon=5))

    assert key["price_usd"] == pytest.approx(102.866540, rel=1e-6)
    assert key["forward_third_year_pct"] == pytest.approx(5.007258, rel=1e-6)
    assert key["par_rate_pct"] == pytest.approx(3.973810, rel=1e-6)


def test_eva_spread() -> None:
    key = statements.EVA_SPREAD.key(statements.EconomicValue(nopat=210, capital=1500, wacc=9.5))

    assert key["eva_musd"] == pytest.approx(67.5, rel=1e-6)
    assert key["spread_pct"] == pytest.approx(4.5, rel=1e-6)


def test_min_variance() -> None:
    key = decisions.ASSETS.key(decisions.TwoAssets(sd_a=20, sd_b=30, correlation=0.25, return_a=6, return_b=9))

    assert key["weight_pct"] == pytest.approx(75.0, rel=1e-6)
    assert key["sd_pct"] == pytest.approx(18.371173, rel=1e-6)


def test_loan_balance() -> None:
    key = decisions.LOAN.key(decisions.Loan(principal=250, rate=6, years=30, paid=60))

    assert key["payment_usd"] == pytest.approx(1498.876313, rel=1e-6)
    assert key["balance_usd"] == pytest.approx(232_635.8921, rel=1e-6)


def test_lbo_returns() -> None:
    key = valuation.BUYOUT.key(
        valuation.Buyout(ebitda=100, entry_multiple=8, exit_multiple=8, debt_multiple=5, growth=6, years=5, repaid=40)
    )

    assert key["moic"] == pytest.approx(2.568602, rel=1e-6)
    assert key["irr_pct"] == pytest.approx(20.764517, rel=1e-6)
