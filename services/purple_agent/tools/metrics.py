"""`calculate_financial_metric`: ratios, growth, valuation and bonds by name, from one table of formulas.

A missing value is an error that names it, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field

from services.contract.assessment import nearest
from services.purple_agent.tools.base import Arguments, Result, ToolError, Unit, formula

Values = Mapping[str, float]
Amounts = Annotated[tuple[float, ...], Field(min_length=1, max_length=1_000)]

MOST_BISECTIONS: Final = 200
LOWEST_RATE, HIGHEST_RATE = -0.999_999, 1e6
"""Ends of the search for an internal rate of return, as fractions a period."""
MOST_PAYMENTS: Final = 10_000
"""Of one bond."""


class MetricArguments(Arguments):
    """Which metric of which values."""

    metric: str
    """One of the names in the description."""
    values: dict[str, float] = Field(default_factory=dict, max_length=50)
    """By name, in one currency and unit; rates as fractions, days as days."""
    cash_flows: Amounts | None = None
    """For npv and irr: one a period, the first at once."""


class Metric(Result):
    """The metric's value."""

    value: Annotated[float, Unit("as the metric says: ratio, fraction, days, years or currency")]
    unit: Annotated[str, Unit("of value")]
    formula: Annotated[str, Unit("how it was computed")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One row of the table."""

    needs: tuple[str, ...]
    unit: str
    formula: str
    compute: Callable[[Values], float]


def _ratio(top: str, bottom: str, unit: str = "fraction") -> Entry:
    return Entry(
        needs=(top, bottom), unit=unit, formula=f"{top} / {bottom}", compute=lambda v: _over(v[top], v[bottom], bottom)
    )


def _days(amount: str, flow: str) -> Entry:
    return Entry(
        needs=(amount, flow),
        unit="days",
        formula=f"365 x {amount} / {flow}",
        compute=lambda v: 365 * _over(v[amount], v[flow], flow),
    )


def _over(top: float, bottom: float, name: str) -> float:
    if bottom == 0:
        raise ToolError("cannot_compute", f"{name} is zero")
    return top / bottom


def _quick(v: Values) -> float:
    return _over(v["current_assets"] - v["inventory"], v["current_liabilities"], "current_liabilities")


def _roic(v: Values) -> float:
    return _over(v["operating_income"] * (1 - v["tax_rate"]), v["invested_capital"], "invested_capital")


def _cagr(v: Values) -> float:
    growth = _over(v["end_value"], v["start_value"], "start_value")
    if growth <= 0 or v["years"] <= 0:
        raise ToolError("cannot_compute", "cagr needs values of one sign and years above 0")
    return float(growth ** (1 / v["years"])) - 1


def _cycle(v: Values) -> float:
    return v["dso"] + v["dio"] - v["dpo"]


def _wacc(v: Values) -> float:
    total = v["equity"] + v["debt"]
    after_tax = v["cost_of_debt"] * (1 - v["tax_rate"])
    return _over(v["equity"] * v["cost_of_equity"] + v["debt"] * after_tax, total, "equity + debt")


def present_value(rate: float, flows: Sequence[float]) -> float:
    """Value at once of one flow a period, the first at once. `rate` is a fraction above -1 a period."""
    if rate <= -1:
        raise ToolError("cannot_compute", "the rate must be above -1")
    return _worth(1 / (1 + rate), flows)


def _worth(discount: float, flows: Sequence[float]) -> float:
    """Sum of flows[t] x discount ^ t, without the powers, which leave the floats long before the sum does."""
    total = 0.0
    for flow in reversed(flows):
        total = total * discount + flow
    return total


def internal_rate(flows: Sequence[float]) -> float:
    """The one rate, as a fraction, at which the flows are worth nothing. Raises ToolError when there is none or several."""
    signs = [flow > 0 for flow in flows if flow]
    changes = sum(one is not other for one, other in pairwise(signs))
    if changes != 1:
        raise ToolError("cannot_compute", f"irr needs exactly one change of sign in the flows, found {changes}")
    low, high = 1 / (1 + HIGHEST_RATE), 1 / (1 + LOWEST_RATE)
    falling = _worth(low, flows) > 0
    if (_worth(high, flows) < 0) is not falling:
        raise ToolError("cannot_compute", f"irr is not between {LOWEST_RATE:g} and {HIGHEST_RATE:g}")
    for _ in range(MOST_BISECTIONS):
        middle = (low * high) ** 0.5
        if (_worth(middle, flows) > 0) is falling:
            low = middle
        else:
            high = middle
    return 2 / (low + high) - 1


def _bond_flows(v: Values) -> list[float]:
    per_year, years = v["payments_per_year"], v["years"]
    if per_year * years > MOST_PAYMENTS:
        raise ToolError("cannot_compute", f"years x payments_per_year is above {MOST_PAYMENTS}")
    periods = round(per_year * years)
    if per_year < 1 or periods < 1 or abs(periods - per_year * years) > 1e-9:
        raise ToolError("cannot_compute", "years x payments_per_year must be a whole number of payments")
    coupon = v["face_value"] * v["coupon_rate"] / per_year
    return [0.0, *[coupon] * (periods - 1), coupon + v["face_value"]]


def _bond_price(v: Values) -> float:
    return present_value(v["yield"] / v["payments_per_year"], _bond_flows(v))


def _duration(v: Values, *, modified: bool) -> float:
    rate, flows = v["yield"] / v["payments_per_year"], _bond_flows(v)
    weighted = sum(period * flow / (1 + rate) ** period for period, flow in enumerate(flows))
    macaulay = weighted / _bond_price(v) / v["payments_per_year"]
    return macaulay / (1 + rate) if modified else macaulay


_BOND: Final = ("face_value", "coupon_rate", "yield", "years", "payments_per_year")
METRICS: Final[Mapping[str, Entry]] = MappingProxyType(
    {
        "gross_margin": _ratio("gross_profit", "revenue"),
        "operating_margin": _ratio("operating_income", "revenue"),
        "net_margin": _ratio("net_income", "revenue"),
        "ebitda_margin": _ratio("ebitda", "revenue"),
        "roe": _ratio("net_income", "equity"),
        "roa": _ratio("net_income", "assets"),
        "roic": Entry(
            needs=("operating_income", "tax_rate", "invested_capital"),
            unit="fraction",
            formula="operating_income x (1 - tax_rate) / invested_capital",
            compute=_roic,
        ),
        "current_ratio": _ratio("current_assets", "current_liabilities", "ratio"),
        "quick_ratio": Entry(
            needs=("current_assets", "inventory", "current_liabilities"),
            unit="ratio",
            formula="(current_assets - inventory) / current_liabilities",
            compute=_quick,
        ),
        "debt_to_equity": _ratio("debt", "equity", "ratio"),
        "pe": _ratio("price", "earnings_per_share", "ratio"),
        "ev_to_ebitda": _ratio("enterprise_value", "ebitda", "ratio"),
        "cagr": Entry(
            needs=("start_value", "end_value", "years"),
            unit="fraction a year",
            formula="(end_value / start_value) ^ (1 / years) - 1",
            compute=_cagr,
        ),
        "dso": _days("receivables", "revenue"),
        "dio": _days("inventory", "cost_of_goods_sold"),
        "dpo": _days("payables", "cost_of_goods_sold"),
        "ccc": Entry(needs=("dso", "dio", "dpo"), unit="days", formula="dso + dio - dpo", compute=_cycle),
        "wacc": Entry(
            needs=("equity", "debt", "cost_of_equity", "cost_of_debt", "tax_rate"),
            unit="fraction",
            formula="(equity x cost_of_equity + debt x cost_of_debt x (1 - tax_rate)) / (equity + debt)",
            compute=_wacc,
        ),
        "bond_price": Entry(
            needs=_BOND, unit="currency", formula="sum of discounted coupons and face value", compute=_bond_price
        ),
        "macaulay_duration": Entry(
            needs=_BOND,
            unit="years",
            formula="time weighted by discounted flows",
            compute=partial(_duration, modified=False),
        ),
        "modified_duration": Entry(
            needs=_BOND,
            unit="years",
            formula="macaulay_duration / (1 + yield / payments_per_year)",
            compute=partial(_duration, modified=True),
        ),
    }
)
"""Metrics of named values. A new one is one row here."""
FLOW_METRICS: Final = {"npv": "values: rate (fraction a period); cash_flows", "irr": "cash_flows"}


def compute(arguments: MetricArguments) -> Metric:
    """The metric. Raises ToolError naming what is missing."""
    if arguments.metric in FLOW_METRICS:
        return _of_flows(arguments)
    entry = METRICS.get(arguments.metric)
    if entry is None:
        known = [*METRICS, *FLOW_METRICS]
        raise ToolError("invalid_arguments", f"no metric {arguments.metric!r}{nearest(arguments.metric, known)}")
    _require(arguments.metric, entry.needs, arguments.values)
    return Metric(value=entry.compute(arguments.values), unit=entry.unit, formula=entry.formula)


def _of_flows(arguments: MetricArguments) -> Metric:
    flows = arguments.cash_flows
    if flows is None:
        raise ToolError("invalid_arguments", f"{arguments.metric} needs cash_flows, one a period, the first at once")
    if arguments.metric == "irr":
        _require("irr", (), arguments.values)
        return Metric(value=internal_rate(flows), unit="fraction a period", formula="rate at which npv is 0")
    _require("npv", ("rate",), arguments.values)
    value = present_value(arguments.values["rate"], flows)
    return Metric(value=value, unit="currency", formula="sum of cash_flows[t] / (1 + rate) ^ t")


def _require(metric: str, needs: Sequence[str], given: Values) -> None:
    if missing := [name for name in needs if name not in given]:
        raise ToolError("invalid_arguments", f"{metric} needs {', '.join(needs)}; missing: {', '.join(missing)}")
    if unknown := [name for name in given if name not in needs]:
        raise ToolError("invalid_arguments", f"{metric} does not use {', '.join(unknown)}; it needs {', '.join(needs)}")


_LISTED = "; ".join(
    [
        *(f"{name}: {', '.join(entry.needs)}" for name, entry in METRICS.items()),
        *(f"{name}: {needs}" for name, needs in FLOW_METRICS.items()),
    ]
)
CALCULATE_FINANCIAL_METRIC: Final = formula(
    name="calculate_financial_metric",
    description=f"A financial metric from named values. Rates are fractions. Metrics and their values: {_LISTED}.",
    arguments=MetricArguments,
    result=Metric,
    compute=compute,
)
