"""Risk tools. Expected values: finance specification 6.1 and 6.3, else worked by hand beside the test."""

from __future__ import annotations

import math

import pytest

from services.purple_agent.tools.base import ToolError
from services.purple_agent.tools.options import BookArguments, Position, book_greeks
from services.purple_agent.tools.risk import (
    AttributionArguments,
    Exposure,
    MetricsArguments,
    StressArguments,
    VarArguments,
    attribute,
    risk_metrics,
    stress_test,
    value_at_risk,
)

CALL = Position(type="call", strike=100, quantity=2, spot=100, days_to_expiry=30, volatility=0.2)


def test_profit_is_split_by_greek_and_the_rest_is_unexplained() -> None:
    parts = attribute(
        AttributionArguments(
            delta=0.45,
            gamma=0.03,
            theta_per_day=-0.08,
            vega_per_point=0.15,
            spot_move=4,
            volatility_move_points=2,
            days=3,
            actual_pnl=1.70,
        )
    )

    assert parts.delta_pnl == pytest.approx(1.80)
    assert parts.gamma_pnl == pytest.approx(0.24)
    assert parts.theta_pnl == pytest.approx(-0.24)
    assert parts.vega_pnl == pytest.approx(0.30)
    assert parts.unexplained == pytest.approx(-0.40)


def test_parametric_var_of_an_exposure_uses_the_exact_quantile() -> None:
    found = value_at_risk(VarArguments(position=Exposure(exposure=89_300, daily_volatility=0.018)))

    assert found.value_at_risk == pytest.approx(2643.94, abs=0.005)
    assert found.z == pytest.approx(1.644854, abs=5e-7)


def test_var_grows_with_the_root_of_the_horizon() -> None:
    day, month = (
        value_at_risk(VarArguments(returns=(0.01, -0.02, 0.03), horizon_days=days)).value_at_risk for days in (1, 25)
    )

    assert month == pytest.approx(5 * day)


def test_historical_var_is_the_interpolated_quantile() -> None:
    # Sorted: -0.05 -0.02 0.003 0.01 0.02; the 5 % place is 0.2 of the way from the first to the second: -0.044.
    found = value_at_risk(VarArguments(returns=(0.01, -0.02, 0.003, -0.05, 0.02), method="historical"))

    assert found.value_at_risk == pytest.approx(4400)
    assert found.z is None


@pytest.mark.parametrize("position", [None, Exposure(exposure=1, daily_volatility=0.1)])
def test_var_needs_exactly_one_source(position: Exposure | None) -> None:
    returns = None if position is None else (0.1, 0.2)

    with pytest.raises(ToolError, match="either returns or position"):
        value_at_risk(VarArguments(returns=returns, position=position))


def test_risk_metrics_of_three_periods_match_the_arithmetic() -> None:
    found = risk_metrics(MetricsArguments(returns=(0.1, -0.5, 0.2), periods_per_year=4))

    # mean -1/15; deviations 1/6, -13/30, 4/15: variance (25 + 169 + 64) / 900 / 2; downside sqrt(0.25 / 3).
    deviation = math.sqrt(258 / 900 / 2)
    assert found.total_return == pytest.approx(-0.34)
    assert found.max_drawdown == pytest.approx(0.5)
    assert found.annual_volatility == pytest.approx(2 * deviation)
    assert found.sharpe == pytest.approx(-1 / 15 / deviation * 2)
    assert found.sortino == pytest.approx(-1 / 15 / math.sqrt(0.25 / 3) * 2)


def test_ratios_of_a_series_that_never_varies_are_undefined_rather_than_zero() -> None:
    found = risk_metrics(MetricsArguments(returns=(0.0, 0.0, 0.0)))

    assert (found.sharpe, found.sortino, found.max_drawdown) == (None, None, 0)


def test_no_shock_changes_nothing_and_the_worst_case_is_the_smallest_profit() -> None:
    found = stress_test(StressArguments(positions=(CALL,), spot_shocks=(-0.2, 0.0, 0.2), volatility_shocks=(0.0, 0.05)))

    by_shock = {(row.spot_shock, row.volatility_shock): row.profit for row in found.scenarios}
    assert by_shock[0.0, 0.0] == 0
    assert by_shock[0.0, 0.05] > 0
    assert found.worst_profit == by_shock[-0.2, 0.0] == min(by_shock.values())


def test_a_shock_that_leaves_no_volatility_is_refused() -> None:
    with pytest.raises(ToolError, match="leaves no volatility"):
        stress_test(StressArguments(positions=(CALL,), volatility_shocks=(-0.2,)))


def test_a_stress_test_too_large_to_finish_is_refused_before_it_starts() -> None:
    with pytest.raises(ToolError) as refused:
        stress_test(StressArguments(positions=(CALL,) * 100, spot_shocks=(0.1,) * 21))

    assert refused.value.kind == "too_large"


def test_hedge_shares_bring_the_delta_of_the_book_to_zero() -> None:
    bare = book_greeks(BookArguments(positions=(CALL,)))

    hedged = book_greeks(BookArguments(positions=(CALL,), shares=bare.hedge_shares))

    assert bare.delta == pytest.approx(200 * 0.53996, abs=0.01)
    assert hedged.delta == pytest.approx(0, abs=1e-9)
    assert hedged.gamma == bare.gamma
