"""Strategies held to expiry. Expected values: finance specification 6.3 and arithmetic on the strikes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.purple_agent.tools.base import ToolError
from services.purple_agent.tools.payoff import Leg, StrategyArguments, analyze, payoff_of


def leg(type: str, side: str, strike: float, premium: float, *, quantity: float = 1, days: float | None = 30) -> Leg:  # noqa: A002 - the wire's word
    return Leg.model_validate(
        {
            "type": type,
            "side": side,
            "strike": strike,
            "premium": premium,
            "quantity": quantity,
            "days_to_expiry": None if type == "stock" else days,
        }
    )


CONDOR = (
    leg("put", "buy", 4400, 8),
    leg("put", "sell", 4420, 12),
    leg("call", "sell", 4580, 11),
    leg("call", "buy", 4600, 7),
)


def test_an_iron_condor_earns_its_credit_and_loses_the_wing_less_the_credit() -> None:
    found = analyze(StrategyArguments(legs=CONDOR, spot_price=4500, volatility=0.15))

    assert (found.net_premium, found.max_profit, found.max_loss) == (8, 8, 12)
    assert list(found.breakevens) == [4412, 4588]
    assert found.probability_of_profit == pytest.approx(0.34974, abs=5e-6)


def test_without_a_volatility_there_is_no_probability() -> None:
    found = analyze(StrategyArguments(legs=CONDOR, spot_price=4500))

    assert found.probability_of_profit is None


def test_a_naked_call_has_no_bound_on_its_loss() -> None:
    found = analyze(StrategyArguments(legs=(leg("call", "sell", 100, 3),), spot_price=100))

    assert (found.net_premium, found.max_profit, found.max_loss, found.breakevens) == (3, 3, None, (103,))


def test_a_long_put_earns_most_at_zero() -> None:
    found = analyze(StrategyArguments(legs=(leg("put", "buy", 100, 4),), spot_price=100))

    assert (found.net_premium, found.max_profit, found.max_loss, found.breakevens) == (-4, 96, 4, (96,))


def test_a_debit_spread_breaks_even_at_the_strike_plus_the_debit() -> None:
    spread = (leg("call", "buy", 185, 5.2), leg("call", "sell", 190, 2.9))

    found = analyze(StrategyArguments(legs=spread, spot_price=182))

    assert found.max_profit == pytest.approx(2.70)
    assert found.max_loss == pytest.approx(2.30)
    assert found.breakevens == pytest.approx((187.30,))


def test_a_collar_is_bounded_on_both_sides() -> None:
    collar = (leg("stock", "buy", 0, 100), leg("put", "buy", 95, 2), leg("call", "sell", 105, 2))

    found = analyze(StrategyArguments(legs=collar, spot_price=100))

    assert (found.net_premium, found.max_profit, found.max_loss, found.breakevens) == (0, 5, 5, (100,))


def test_a_free_butterfly_breaks_even_where_its_profit_begins_and_ends() -> None:
    free = (leg("call", "buy", 90, 12), leg("call", "sell", 100, 6, quantity=2), leg("call", "buy", 110, 0))

    found = analyze(StrategyArguments(legs=free, spot_price=100))

    assert (found.max_profit, found.max_loss) == (10, 0)
    assert found.breakevens == (90, 110)


def test_legs_of_different_expiries_are_refused_by_name() -> None:
    calendar = (leg("call", "sell", 100, 3, days=30), leg("call", "buy", 100, 5, days=60))

    with pytest.raises(ToolError, match="different days_to_expiry") as refused:
        analyze(StrategyArguments(legs=calendar, spot_price=100))

    assert refused.value.kind == "unsupported"


@given(
    strikes=st.lists(st.integers(50, 150), min_size=1, max_size=4),
    sides=st.lists(st.sampled_from(["buy", "sell"]), min_size=4, max_size=4),
    types=st.lists(st.sampled_from(["call", "put"]), min_size=4, max_size=4),
    premiums=st.lists(st.integers(0, 20), min_size=4, max_size=4),
    price=st.floats(0, 400),
)
def test_no_price_at_expiry_beats_the_extremes(
    strikes: list[int], sides: list[str], types: list[str], premiums: list[int], price: float
) -> None:
    legs = tuple(
        leg(kind, side, strike, premium)
        for strike, side, kind, premium in zip(strikes, sides, types, premiums, strict=False)
    )

    found = analyze(StrategyArguments(legs=legs, spot_price=100, volatility=0.3))
    profit = payoff_of(legs).at(price)

    assert found.max_profit is None or profit <= found.max_profit + 1e-6
    assert found.max_loss is None or -profit <= found.max_loss + 1e-6
    assert found.probability_of_profit is not None
    assert -1e-12 <= found.probability_of_profit <= 1 + 1e-12
    assert all(payoff_of(legs).at(point) == pytest.approx(0, abs=1e-6) for point in found.breakevens)
