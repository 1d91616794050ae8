"""The keys of the peer's option items a second time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.green_agent.benchmarks.options.file import FileItem
from services.green_agent.benchmarks.options.recompute import decimals_of, disagreements, recomputed
from tests.green_agent.benchmarks.options.file_items import row
from tests.support.closed_form import european
from tests.support.peer_files import OPTIONS, needs_peer_files


def published() -> dict[str, dict[str, JsonValue]]:
    return {one["question_id"]: one for one in json.loads(OPTIONS.read_text(encoding="utf-8"))["questions"]}


@needs_peer_files
def test_every_recomputable_item_but_one_agrees_with_its_key() -> None:
    checked, contradicted = [], {}
    for name, item in published().items():
        values, numbers = recomputed(item), FileItem.model_validate(item).numbers
        if values.keys() & numbers.keys():
            checked.append(name)
        if found := [one.key for one in disagreements(numbers, values)]:
            contradicted[name] = found

    assert checked == [
        "opt_pricing_001",
        "opt_pricing_002",
        "greeks_001",
        "greeks_002",
        "strategy_001",
        "strategy_002",
        "pnl_001",
        "risk_001",
        "risk_002",
        "copy_001",
    ]
    assert contradicted == {
        "risk_002": [
            "long_call_delta_exposure",
            "short_call_delta_exposure",
            "net_delta_exposure",
            "daily_vol_dollar",
            "var_95",
        ]
    }


@needs_peer_files
@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("opt_pricing_001", {"call_price": 3.2153, "put_price": 7.4771}),
        ("opt_pricing_002", {"theoretical_price": 25.1787, "discrepancy_pct": -26.525}),
        ("greeks_001", {"delta": 0.47394, "gamma": 0.012317, "theta": -0.32076, "vega": 0.23394}),
        ("greeks_002", {"net_delta": 0.75, "hedge_shares": -75}),
        ("strategy_001", {"max_profit": 8, "max_loss": 12, "breakeven_lower": 4412, "breakeven_upper": 4588}),
        ("vol_001", {"iv_minus_hv": 7}),
        (
            "risk_002",
            {"net_delta_shares": 235, "net_delta_exposure": 89300, "daily_vol_dollar": 1607.40, "var_95": 2643.94},
        ),
        ("copy_001", {"required_move_pct": 2.912, "risk_reward_ratio": 1.1739}),
        ("race_001", {"monthly_compound_rate": 46.7799}),
    ],
)
def test_the_values_are_those_of_the_specification(item: str, expected: dict[str, float]) -> None:
    values = recomputed(published()[item])

    # Half of the last digit the specification prints.
    assert {key: values[key] for key in expected} == pytest.approx(expected, rel=2e-4)


def test_a_put_is_priced_as_a_put() -> None:
    asked = {"spot_price": 90, "strike": 100, "rate": 0.03, "volatility": 0.3, "days_to_expiry": 50}
    values = recomputed({**asked, "question": "What is this put worth?"})

    assert (
        values["theoretical_price"]
        == values["put_price"]
        == pytest.approx(
            european("put", spot=90, strike=100, rate=0.03, dividend=0, volatility=0.3, days=50).price, abs=1e-9
        )
    )


@pytest.mark.parametrize(
    "change",
    [
        {"spread_strikes": [100]},
        {"debit": "2.0"},
        {"debit": None},
        {"debit": -2.0},
        {"question": "A 100/105 put spread"},
        {"spot_price": 0},
    ],
)
def test_parameters_that_are_missing_or_wrong_leave_an_item_unchecked(change: dict[str, JsonValue]) -> None:
    assert recomputed(row(**change)) == {}


def test_legs_with_an_open_end_have_no_extremes() -> None:
    legs: JsonValue = [{"action": "sell", "type": "call", "strike": 100, "price": 2}]

    assert recomputed(row(ground_truth={"legs": legs}, debit=None)) == {}


@given(
    strikes=st.lists(st.integers(10, 500), min_size=4, max_size=4, unique=True).map(sorted),
    price=st.floats(0.5, 9).map(lambda value: round(value, 2)),
)
def test_a_condor_breaks_even_where_its_payoff_is_nothing(strikes: list[int], price: float) -> None:
    sides = [("buy", "put", 1.0), ("sell", "put", 1.0 + price), ("sell", "call", 1.0 + price), ("buy", "call", 1.0)]
    legs: JsonValue = [
        {"action": action, "type": kind, "strike": strike, "price": paid}
        for (action, kind, paid), strike in zip(sides, strikes, strict=True)
    ]
    values = recomputed({"ground_truth": {"legs": legs}})

    assert values["max_profit"] == pytest.approx(2 * price)
    wings = max(strikes[1] - strikes[0], strikes[3] - strikes[2])
    assert values["max_loss"] == pytest.approx(max(wings - 2 * price, -2 * price))
    if min(strikes[1] - strikes[0], strikes[3] - strikes[2]) > 2 * price:
        assert values["breakeven_lower"] == pytest.approx(strikes[1] - 2 * price)
        assert values["breakeven_upper"] == pytest.approx(strikes[2] + 2 * price)


def test_a_key_may_differ_by_one_per_cent_or_half_its_last_digit() -> None:
    values = {"gamma": 0.012317, "price": 100.0, "size": 2.0}

    assert not list(disagreements({"gamma": 0.012, "price": 101.0, "size": 2}, values))
    assert [one.key for one in disagreements({"gamma": 0.013, "price": 101.1, "size": 3}, values)] == [
        "gamma",
        "price",
        "size",
    ]


@pytest.mark.parametrize(("value", "decimals"), [(0.012, 3), (750.0, 0), (-26.5, 1), (1e-7, 7), (0.1 + 0.2, 17)])
def test_decimals_are_counted_as_printed(value: float, decimals: int) -> None:
    assert decimals_of(value) == decimals
