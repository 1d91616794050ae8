"""The strategies by name, as `--strategy` takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from services.purple_agent.settings import Settings, StrategyName
from services.purple_agent.strategies.base import Strategy
from services.purple_agent.strategies.completion import TextCompletion
from services.purple_agent.strategies.direct import Direct
from services.purple_agent.strategies.self_eval import SelfEvalSequential


def _direct(settings: Settings) -> Strategy:
    return Direct(max_tool_calls=settings.max_tool_calls)


def _self_eval(settings: Settings) -> Strategy:
    return SelfEvalSequential(first=_direct(settings), settings=settings)


def _completion(_settings: Settings) -> Strategy:
    return TextCompletion()


STRATEGIES: Final[Mapping[StrategyName, Callable[[Settings], Strategy]]] = MappingProxyType(
    {
        "direct": _direct,
        "baseline": _direct,  # what the field calls one generation per trial
        "self_eval_sequential": _self_eval,
        "completion": _completion,
    }
)
