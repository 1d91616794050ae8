"""Every template, by category. A change of any of them is a new GENERATOR_VERSION."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

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
from services.green_agent.benchmarks.options.template import AnyTemplate, Category

GENERATOR_VERSION: Final = "g2"
"""Part of every task id and digest."""

TEMPLATES: Final[Mapping[Category, tuple[AnyTemplate, ...]]] = MappingProxyType(
    {
        Category.OPTIONS_PRICING: pricing.TEMPLATES,
        Category.GREEKS_ANALYSIS: greeks.TEMPLATES,
        Category.STRATEGY_CONSTRUCTION: strategy.TEMPLATES,
        Category.VOLATILITY_TRADING: volatility.TEMPLATES,
        Category.PNL_ATTRIBUTION: attribution.TEMPLATES,
        Category.RISK_MANAGEMENT: risk.TEMPLATES,
        Category.COPY_TRADING: copy_trading.TEMPLATES,
        Category.RACE_TO_10M: race.TEMPLATES,
        Category.STRATEGY_DEFENSE: defense.TEMPLATES,
    }
)
