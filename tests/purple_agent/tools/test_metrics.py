import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.model_call import ToolCall
from services.purple_agent.tools.base import ToolError
from services.purple_agent.tools.metrics import (
    CALCULATE_FINANCIAL_METRIC,
    METRICS,
    MetricArguments,
    compute,
    internal_rate,
    present_value,
)
from services.purple_agent.tools.toolbox import Toolbox

BOND = {"face_value": 1000, "coupon_rate": 0.05, "yield": 0.06, "years": 7, "payments_per_year": 2}


@pytest.mark.parametrize(
    ("metric", "values", "expected"),
    [
        ("gross_margin", {"gross_profit": 40, "revenue": 160}, 0.25),
        ("operating_margin", {"operating_income": 20, "revenue": 160}, 0.125),
        ("net_margin", {"net_income": -8, "revenue": 160}, -0.05),
        ("ebitda_margin", {"ebitda": 32, "revenue": 160}, 0.2),
        ("roe", {"net_income": 90, "equity": 600}, 0.15),
        ("roa", {"net_income": 90, "assets": 1500}, 0.06),
        ("roic", {"operating_income": 280, "tax_rate": 0.25, "invested_capital": 1500}, 0.14),
        ("current_ratio", {"current_assets": 300, "current_liabilities": 200}, 1.5),
        ("quick_ratio", {"current_assets": 300, "inventory": 100, "current_liabilities": 200}, 1.0),
        ("debt_to_equity", {"debt": 250, "equity": 500}, 0.5),
        ("pe", {"price": 45, "earnings_per_share": 3}, 15.0),
        ("ev_to_ebitda", {"enterprise_value": 800, "ebitda": 100}, 8.0),
        ("cagr", {"start_value": 100, "end_value": 121, "years": 2}, 0.1),
        ("dso", {"receivables": 500, "revenue": 3650}, 50.0),
        ("dio", {"inventory": 360, "cost_of_goods_sold": 2190}, 60.0),
        ("dpo", {"payables": 240, "cost_of_goods_sold": 2190}, 40.0),
        ("ccc", {"dso": 50, "dio": 60, "dpo": 40}, 70.0),
        (
            "wacc",
            {"equity": 600, "debt": 400, "cost_of_equity": 0.1, "cost_of_debt": 0.05, "tax_rate": 0.2},
            0.076,
        ),
        ("bond_price", BOND, 943.519634),
        ("macaulay_duration", BOND, 5.955575),
        ("modified_duration", BOND, 5.782112),
    ],
)
def test_each_metric_gives_its_textbook_value(metric: str, values: dict[str, float], expected: float) -> None:
    assert compute(MetricArguments(metric=metric, values=values)).value == pytest.approx(expected, rel=1e-6)


def test_every_metric_of_the_table_is_in_the_description() -> None:
    assert [name for name in METRICS if f"{name}: " not in CALCULATE_FINANCIAL_METRIC.description] == []


def test_npv_counts_the_first_flow_at_once() -> None:
    found = compute(MetricArguments(metric="npv", values={"rate": 0.1}, cash_flows=(-100, 0, 121)))

    assert found.value == pytest.approx(0.0, abs=1e-9)


@given(rate=st.floats(-0.5, 3.0), first=st.floats(1, 1e6), flows=st.lists(st.floats(0.1, 1e5), min_size=1, max_size=20))
def test_irr_is_the_rate_at_which_the_flows_are_worth_nothing(rate: float, first: float, flows: list[float]) -> None:
    priced = [-present_value(rate, [0.0, *flows]), *flows]

    assert internal_rate(priced) == pytest.approx(rate, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("months", [36, 60, 360])
def test_irr_of_a_monthly_loan_is_its_rate(months: int) -> None:
    payment = 0.01 * 100_000 / (1 - 1.01**-months)

    assert internal_rate([-100_000, *[payment] * months]) == pytest.approx(0.01, rel=1e-9)


def test_npv_of_many_flows_at_a_high_rate_is_the_first_flow() -> None:
    assert present_value(1e6, [5.0, *[1.0] * 999]) == pytest.approx(5.000001)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "roe", "values": {"net_income": 1}}, "missing: equity"),
        ({"metric": "roe", "values": {"net_income": 1, "equity": 2, "assets": 3}}, "does not use assets"),
        ({"metric": "roe", "values": {"net_income": 1, "equity": 0}}, "equity is zero"),
        ({"metric": "gros_margin"}, "did you mean 'gross_margin'"),
        ({"metric": "irr", "cash_flows": [-1, 1e9]}, "irr is not between"),
        ({"metric": "bond_price", "values": BOND | {"years": 1e12}}, "is above 10000"),
        ({"metric": "irr", "cash_flows": [-1, 3, -2]}, "exactly one change of sign in the flows, found 2"),
        ({"metric": "npv", "values": {"rate": 0.1}}, "needs cash_flows"),
        ({"metric": "npv", "values": {"rate": -1.5}, "cash_flows": [1]}, "must be above -1"),
        ({"metric": "cagr", "values": {"start_value": -1, "end_value": 2, "years": 2}}, "values of one sign"),
        ({"metric": "bond_price", "values": BOND | {"years": 6.3}}, "whole number of payments"),
    ],
)
def test_what_cannot_be_computed_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        compute(MetricArguments.model_validate(arguments))


async def test_the_tool_answers_the_model_with_value_unit_and_formula() -> None:
    call = ToolCall(
        id="1",
        name="calculate_financial_metric",
        arguments=json.dumps({"metric": "roe", "values": {"net_income": 90, "equity": 600}}),
    )

    answer = json.loads(await Toolbox((CALCULATE_FINANCIAL_METRIC,)).call(call))

    assert answer["ok"] is True
    assert answer["result"] == {"value": 0.15, "unit": "fraction", "formula": "net_income / equity"}
