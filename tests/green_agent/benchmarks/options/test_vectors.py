"""The worked examples of the specification, through the keys of the templates."""

import pytest

from services.contract.pricing import price_option
from services.green_agent.benchmarks.options import (
    attribution,
    copy_trading,
    defense,
    greeks,
    pricing,
    race,
    risk,
    strategy,
    volatility,
)
from services.green_agent.benchmarks.options.market import Market

MARKET = Market(spot=120.0, rate_pct=4.5, dividend_pct=1.2, volatility_pct=32.0, days=60)


def test_options_pricing() -> None:
    key = pricing.BSM_DIVIDEND.key(pricing.Vanilla(market=MARKET, strike=125.0))

    assert key["call_usd"] == pytest.approx(4.381425, rel=1e-6)
    assert key["put_usd"] == pytest.approx(8.696658, rel=1e-6)
    assert key["intrinsic_usd"] == 5.0
    assert key["time_value_usd"] == pytest.approx(3.696658, rel=1e-6)


def test_american_put() -> None:
    key = pricing.AMERICAN_PUT.key(pricing.Vanilla(market=MARKET, strike=125.0))

    assert key["american_put_usd"] == pytest.approx(8.78040, rel=1e-3)


def test_implied_volatility() -> None:
    key = pricing.IMPLIED_VOL.key(
        pricing.Priced(spot=120.0, strike=125.0, rate_pct=4.5, dividend_pct=1.2, days=60, kind="call", price=4.381425)
    )

    assert key["implied_volatility_pct"] == pytest.approx(32.0, rel=1e-6)


def test_parity_gap_is_zero_for_model_prices_and_the_mispricing_otherwise() -> None:
    fair = pricing.Pair(
        spot=120.0,
        strike=125.0,
        rate_pct=4.5,
        dividend_pct=1.2,
        days=60,
        call=MARKET.quote("call", 125.0).price,
        put=MARKET.quote("put", 125.0).price + 0.75,
    )

    assert pricing.PARITY_GAP.key(fair)["parity_gap_usd"] == pytest.approx(-0.75, rel=1e-9)


def test_five_greeks() -> None:
    key = greeks.FIVE_GREEKS.key(greeks.Single(market=MARKET, kind="call", strike=125.0))

    assert list(key.values()) == pytest.approx([0.416808, 0.025027, -0.054534, 0.189571, 0.075017], abs=5e-7)


def test_the_hedge_sells_what_the_book_is_long() -> None:
    long_call = greeks.Holding(kind="call", strike=125.0, contracts=20)
    nothing = greeks.Holding(kind="put", strike=60.0, contracts=1)
    key = greeks.BOOK_GREEKS.key(greeks.Book(market=MARKET, first=long_call, second=nothing, third=nothing))

    assert (key["hedge_shares"], key["hedge_side"]) == (834, "sell")


def test_the_published_file_agrees_with_our_prices() -> None:
    """opt_pricing_001 and greeks_001 of the AgentBusters file, to the digits it prints."""
    call, put = (
        price_option(kind=kind, spot=175, strike=180, rate=0.05, dividend_yield=0.0, volatility=0.25, days=30)
        for kind in ("call", "put")
    )

    assert [call.price, put.price] == pytest.approx([3.2153, 7.4771], abs=5e-5)


def test_iron_condor() -> None:
    condor = strategy.Condor(
        market=Market(spot=4500.0, rate_pct=5.0, dividend_pct=0.0, volatility_pct=15.0, days=30),
        put_wing=4400.0,
        short_put=4420.0,
        short_call=4580.0,
        call_wing=4600.0,
        put_wing_premium=8.0,
        short_put_premium=12.0,
        short_call_premium=11.0,
        call_wing_premium=7.0,
    )

    assert strategy.CONDOR.key(condor) == {
        "net_premium_usd": 8.0,
        "max_profit_usd": 8.0,
        "max_loss_usd": 12.0,
        "lower_breakeven_usd": 4412.0,
        "upper_breakeven_usd": 4588.0,
        "profit_probability_pct": pytest.approx(34.974, abs=5e-4),
    }


def test_realised_volatility() -> None:
    closes = (100, 101.5, 100.7, 102.2, 101.1, 103, 102.4, 104.1, 103.3, 105, 104.2)
    key = volatility.REALISED_VOL.key(volatility.History(closes=closes, implied_pct=27.4056, threshold_points=3.5))

    assert key["realised_volatility_pct"] == pytest.approx(20.4056, abs=5e-5)
    assert key["iv_minus_hv_points"] == pytest.approx(7.0, abs=1e-4)
    assert key["trade"] == "sell"


def test_attribution() -> None:
    key = attribution.GREEKS_GIVEN.key(
        attribution.Attributed(
            contracts=1,
            delta=0.45,
            gamma=0.03,
            theta_per_day=-0.08,
            vega_per_point=0.15,
            price_before=5.0,
            price_after=6.7,
            spot_move=4.0,
            volatility_points=2.0,
            days=3,
        )
    )

    per_share = {name: float(value) / 100 for name, value in key.items()}
    assert per_share == pytest.approx(
        {
            "total_pnl_usd": 1.70,
            "delta_pnl_usd": 1.80,
            "gamma_pnl_usd": 0.24,
            "theta_pnl_usd": -0.24,
            "vega_pnl_usd": 0.30,
            "unexplained_pnl_usd": -0.40,
        }
    )


def test_position_size() -> None:
    key = risk.SIZING.key(risk.Sizing(width=10.0, credit=2.5, account_usd=100_000, risk_pct=2.0))

    assert key == {
        "max_loss_per_contract_usd": 750.0,
        "contracts": 2,
        "total_max_loss_usd": 1500.0,
        "total_credit_usd": 500.0,
    }


def test_a_budget_of_an_exact_number_of_contracts_buys_all_of_them() -> None:
    key = risk.SIZING.key(risk.Sizing(width=10.0, credit=2.5, account_usd=75_000, risk_pct=1.1))

    assert key["contracts"] == 1
    assert risk.SIZING.key(risk.Sizing(width=5.0, credit=1.5, account_usd=35_000, risk_pct=3.0))["contracts"] == 3


def test_value_at_risk() -> None:
    """risk_002 of the AgentBusters file as corrected: 235 shares net at 380 USD, z for 95 %."""
    key = risk.DELTA_VAR.key(
        risk.Exposure(
            shares=235,
            contracts=0,
            delta=0.5,
            spot=380.0,
            daily_volatility_pct=1.8,
            horizon_days=1,
            confidence_pct=95.0,
            z=1.644854,
        )
    )

    assert key["delta_exposure_usd"] == pytest.approx(89_300.0)
    assert key["daily_sd_usd"] == pytest.approx(1607.40)
    assert key["var_usd"] == pytest.approx(2643.94, abs=5e-3)


def test_copied_spread() -> None:
    key = copy_trading.COPIED_SPREAD.key(copy_trading.CallSpread(spot=182.0, low=185.0, high=190.0, debit=2.30))

    assert list(key.values()) == [
        pytest.approx(2.70),
        pytest.approx(230.0),
        pytest.approx(187.30),
        pytest.approx(2.912, abs=5e-4),
        pytest.approx(46.0),
    ]


def test_copy_decision_without_an_edge() -> None:
    key = copy_trading.COPY_DECISION.key(
        copy_trading.Copied(low=185.0, high=190.0, debit=2.30, slippage=0.0, hit_rate_pct=45.0, hurdle_pct=0.0)
    )

    assert key["expectancy_usd"] == pytest.approx(-0.05)
    assert key["kelly_pct"] == 0.0
    assert key["copy"] is False


def test_race() -> None:
    key = race.GROWTH.key(race.Growth(start_usd=100_000, months=12))

    assert key["multiple"] == pytest.approx(100.0)
    assert key["monthly_rate_pct"] == pytest.approx(46.7799, abs=5e-5)


def test_reaching_the_goal_before_ruin() -> None:
    key = race.RUIN.key(race.Walk(start=10, goal=50, win_pct=52.0))

    assert key["reach_probability_pct"] == pytest.approx(56.1118, abs=5e-5)


def test_rolled_strangle() -> None:
    key = defense.ROLL.key(
        defense.Rolled(
            contracts=1,
            put=85.0,
            call=115.0,
            credit=8.0,
            put_now=1.0,
            call_now=9.0,
            new_call=125.0,
            new_call_price=6.0,
        )
    )

    assert key == {
        "mark_to_market_usd": -200.0,
        "net_credit_usd": 5.0,
        "lower_breakeven_usd": 80.0,
        "upper_breakeven_usd": 130.0,
    }
