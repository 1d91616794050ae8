"""Value at risk, risk metrics, stress tests and P&L attribution."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import accumulate
from statistics import NormalDist
from typing import Annotated, Literal

from pydantic import Field

from services.purple_agent.tools.base import Arguments, Result, ToolError, Unit, formula
from services.purple_agent.tools.options import BookArguments, quote_position

Returns = Annotated[tuple[Annotated[float, Field(ge=-1, le=100)], ...], Field(min_length=2, max_length=10_000)]
Shocks = Annotated[tuple[Annotated[float, Field(gt=-1, le=10)], ...], Field(min_length=1, max_length=50)]
VolatilityShocks = Annotated[tuple[Annotated[float, Field(ge=-5, le=5)], ...], Field(min_length=1, max_length=50)]

MAX_REVALUATIONS = 2_000
"""Positions x shocks; about a second."""


class Exposure(Arguments):
    """A position described by its size and daily volatility."""

    exposure: Annotated[float, Field(gt=0)]
    """Currency."""
    daily_volatility: Annotated[float, Field(gt=0, le=10)]
    """Standard deviation of daily returns, as a fraction."""


class VarArguments(Arguments):
    """Either `returns` or `position`."""

    returns: Returns | None = None
    """Daily returns as fractions, oldest first."""
    position: Exposure | None = None
    """Instead of returns."""
    confidence_level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    portfolio_value: Annotated[float, Field(gt=0)] = 100_000.0
    """Currency; used with returns."""
    horizon_days: Annotated[float, Field(gt=0, le=2_520)] = 1.0
    """Scaled by the square root of time."""
    method: Literal["parametric", "historical"] = "parametric"
    """parametric: mean 0, normal; historical: empirical quantile of the returns."""


class ValueAtRisk(Result):
    """A loss that is passed with probability 1 - confidence."""

    value_at_risk: Annotated[float, Unit("currency, positive for a loss")]
    z: Annotated[float | None, Unit("standard deviations; null for the historical method")]


def value_at_risk(arguments: VarArguments) -> ValueAtRisk:
    """Value at risk, delta-normal or historical."""
    if (arguments.returns is None) is (arguments.position is None):
        raise ToolError("invalid_arguments", "give either returns or position, not both")
    root = math.sqrt(arguments.horizon_days)
    z = NormalDist().inv_cdf(arguments.confidence_level)
    if arguments.position is not None:
        if arguments.method == "historical":
            raise ToolError("invalid_arguments", "the historical method needs returns")
        position = arguments.position
        return ValueAtRisk(value_at_risk=z * position.exposure * position.daily_volatility * root, z=z)
    returns = arguments.returns or ()
    if arguments.method == "historical":
        loss = -_quantile(returns, 1 - arguments.confidence_level)
        return ValueAtRisk(value_at_risk=loss * arguments.portfolio_value * root, z=None)
    return ValueAtRisk(value_at_risk=z * statistics.stdev(returns) * arguments.portfolio_value * root, z=z)


def _quantile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


class MetricsArguments(Arguments):
    """A series of returns."""

    returns: Returns
    """Per period, as fractions, oldest first."""
    risk_free_rate: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Annual, as a fraction."""
    periods_per_year: Annotated[float, Field(gt=0, le=1e6)] = 252.0


class RiskMetrics(Result):
    """How the series fared and how rough it was."""

    total_return: Annotated[float, Unit("fraction, compounded")]
    annual_volatility: Annotated[float, Unit("fraction, sample standard deviation (n - 1)")]
    max_drawdown: Annotated[float, Unit("fraction of the peak, positive")]
    sharpe: Annotated[float | None, Unit("annualised; null when the returns do not vary")]
    sortino: Annotated[float | None, Unit("annualised, downside over all periods; null without a loss")]


def risk_metrics(arguments: MetricsArguments) -> RiskMetrics:
    """Return, volatility, drawdown, Sharpe and Sortino ratio of a series of returns."""
    returns, root = arguments.returns, math.sqrt(arguments.periods_per_year)
    wealth = list(accumulate((1 + value for value in returns), lambda a, b: a * b, initial=1.0))
    excess = [value - arguments.risk_free_rate / arguments.periods_per_year for value in returns]
    mean, deviation = statistics.fmean(excess), statistics.stdev(excess)
    downside = math.sqrt(statistics.fmean([min(value, 0.0) ** 2 for value in excess]))
    return RiskMetrics(
        total_return=wealth[-1] - 1,
        annual_volatility=deviation * root,
        max_drawdown=max(1 - now / peak for now, peak in zip(wealth, accumulate(wealth, max), strict=True)),
        sharpe=None if deviation == 0 else mean / deviation * root,
        sortino=None if downside == 0 else mean / downside * root,
    )


class StressArguments(BookArguments):
    """A book and the shocks it is revalued under; every spot shock meets every volatility shock."""

    spot_shocks: Shocks = (-0.1, 0.0, 0.1)
    """Relative moves of the spot: -0.1 is 10 % down."""
    volatility_shocks: VolatilityShocks = (0.0,)
    """Added to the volatility, as fractions: 0.05 is five points up."""


class Scenario(Result):
    """One shock and what it does."""

    spot_shock: float
    volatility_shock: float
    profit: float


class StressTest(Result):
    """Profit of the whole book, shares included, in each scenario."""

    scenarios: Annotated[tuple[Scenario, ...], Unit("profit in currency, negative for a loss")]
    worst_profit: Annotated[float, Unit("currency, negative for a loss")]


def stress_test(arguments: StressArguments) -> StressTest:
    """Full revaluation of a book under shocks of spot and volatility."""
    shocks = [(spot, vol) for spot in arguments.spot_shocks for vol in arguments.volatility_shocks]
    if len(shocks) * len(arguments.positions) > MAX_REVALUATIONS:
        raise ToolError("too_large", f"positions x shocks may be at most {MAX_REVALUATIONS:,}")
    if arguments.shares and len({position.spot for position in arguments.positions}) > 1:
        raise ToolError("invalid_arguments", "shares need one underlying, but the positions have different spots")
    before = _value(arguments, 0.0, 0.0)
    scenarios = tuple(
        Scenario(spot_shock=spot, volatility_shock=vol, profit=_value(arguments, spot, vol) - before)
        for spot, vol in shocks
    )
    return StressTest(scenarios=scenarios, worst_profit=min(scenario.profit for scenario in scenarios))


def _value(book: StressArguments, spot_shock: float, volatility_shock: float) -> float:
    total = book.shares * book.positions[0].spot * (1 + spot_shock)
    for position in book.positions:
        volatility = position.volatility + volatility_shock
        if volatility <= 0:
            raise ToolError("invalid_arguments", f"a shock of {volatility_shock:g} leaves no volatility")
        shocked = position.model_copy(update={"spot": position.spot * (1 + spot_shock), "volatility": volatility})
        total += position.quantity * book.contract_multiplier * quote_position(shocked, book).price
    return total


class AttributionArguments(Arguments):
    """Greeks at the start and what then happened."""

    delta: float
    gamma: float = 0.0
    theta_per_day: float = 0.0
    vega_per_point: float = 0.0
    spot_move: float
    """Currency."""
    volatility_move_points: float = 0.0
    """Volatility points: 2 is from 20 % to 22 %."""
    days: Annotated[float, Field(ge=0)] = 0.0
    """Calendar days passed."""
    actual_pnl: float | None = None
    """In the same units as the Greeks; without it nothing is unexplained."""


class Attribution(Result):
    """Parts of the profit by Greek."""

    delta_pnl: Annotated[float, Unit("currency")]
    gamma_pnl: Annotated[float, Unit("currency, half gamma times the squared move")]
    theta_pnl: Annotated[float, Unit("currency")]
    vega_pnl: Annotated[float, Unit("currency")]
    explained: Annotated[float, Unit("currency, sum of the parts")]
    unexplained: Annotated[float | None, Unit("currency, actual - explained; null without actual_pnl")]


def attribute(arguments: AttributionArguments) -> Attribution:
    """Second-order attribution of profit to delta, gamma, theta and vega."""
    parts = (
        arguments.delta * arguments.spot_move,
        arguments.gamma * arguments.spot_move**2 / 2,
        arguments.theta_per_day * arguments.days,
        arguments.vega_per_point * arguments.volatility_move_points,
    )
    explained = sum(parts)
    return Attribution(
        delta_pnl=parts[0],
        gamma_pnl=parts[1],
        theta_pnl=parts[2],
        vega_pnl=parts[3],
        explained=explained,
        unexplained=None if arguments.actual_pnl is None else arguments.actual_pnl - explained,
    )


CALCULATE_VAR = formula(
    name="calculate_var",
    description="Value at risk of returns or of an exposure, delta-normal or historical.",
    arguments=VarArguments,
    result=ValueAtRisk,
    compute=value_at_risk,
)
CALCULATE_RISK_METRICS = formula(
    name="calculate_risk_metrics",
    description="Total return, volatility, maximal drawdown, Sharpe and Sortino ratio of a series of returns.",
    arguments=MetricsArguments,
    result=RiskMetrics,
    compute=risk_metrics,
)
STRESS_TEST = formula(
    name="stress_test",
    description="Full revaluation of a book of European options and shares under shocks of spot and volatility.",
    arguments=StressArguments,
    result=StressTest,
    compute=stress_test,
)
PNL_ATTRIBUTION = formula(
    name="pnl_attribution",
    description="Splits a profit into delta, gamma, theta, vega and unexplained.",
    arguments=AttributionArguments,
    result=Attribution,
    compute=attribute,
)
