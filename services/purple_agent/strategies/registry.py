"""The strategies by name, as `--strategy` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from services.purple_agent.settings import Settings, StrategyName
from services.purple_agent.strategies.base import Strategy
from services.purple_agent.strategies.direct import Direct


def _direct(settings: Settings) -> Strategy:
    return Direct(max_tool_calls=settings.max_tool_calls)


STRATEGIES: Final[Mapping[StrategyName, Callable[[Settings], Strategy]]] = MappingProxyType(
    {
        "direct": _direct,
        "baseline": _direct,  # what the field calls one generation per trial
    }
)
