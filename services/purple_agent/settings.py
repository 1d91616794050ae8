"""How the agent answers. Each value comes from a flag, else from the environment, else from here.

The model, its address and its sampling belong to the endpoint, see `contract.endpoints`.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

StrategyName = Literal["direct", "baseline"]
"""Rows of `strategies/registry.py`; here because naming one must not load the model client."""


class Settings(BaseModel):
    """Settings of the agent with a model; a baseline needs none of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    strategy: StrategyName = "direct"
    max_tool_calls: int = Field(default=25, ge=0)
    """For one message; 0 offers no tools."""
    reply_timeout_s: float = Field(default=21_600.0, gt=0)
    """A net below the evaluator's own deadline, which ends a reply sooner by cancelling it."""
    seed: int = 0
    """What the sampling seeds derive from."""
    simulation_date: date | None = None
    """The agent's today: dated tools show nothing later. None: no limit."""
    sandbox_url: str | None = None
    """Sandbox service for `execute_python`; None: the tool is not offered."""
