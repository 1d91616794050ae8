"""The tools of a conversation. A new formula is one row here."""

from __future__ import annotations

from typing import Final

from services.purple_agent.tools.base import AnyTool
from services.purple_agent.tools.metrics import CALCULATE_FINANCIAL_METRIC
from services.purple_agent.tools.options import CALCULATE_OPTION_PRICE, CALCULATE_PORTFOLIO_GREEKS, IMPLIED_VOLATILITY
from services.purple_agent.tools.payoff import ANALYZE_OPTIONS_STRATEGY
from services.purple_agent.tools.risk import CALCULATE_RISK_METRICS, CALCULATE_VAR, PNL_ATTRIBUTION, STRESS_TEST

FORMULAS: Final[tuple[AnyTool, ...]] = (
    CALCULATE_OPTION_PRICE,
    IMPLIED_VOLATILITY,
    ANALYZE_OPTIONS_STRATEGY,
    CALCULATE_PORTFOLIO_GREEKS,
    CALCULATE_VAR,
    CALCULATE_RISK_METRICS,
    STRESS_TEST,
    PNL_ATTRIBUTION,
    CALCULATE_FINANCIAL_METRIC,
)
"""Always offered; they need nothing but their arguments."""
