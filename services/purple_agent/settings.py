"""How the agent answers. Each value comes from a flag, else from the environment, else from here.

The model, its address and its sampling belong to the endpoint, see `contract.endpoints`.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from services.contract.conversation import MOST_ITERATIONS

StrategyName = Literal["direct", "baseline", "self_eval_sequential", "completion"]
"""Rows of `strategies/registry.py`; here because naming one must not load the model client."""


class Settings(BaseModel):
    """Settings of the agent with a model; a baseline needs none of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    strategy: StrategyName = "direct"
    iterations: int = Field(default=8, ge=0, lt=MOST_ITERATIONS)
    """Of `self_eval_sequential`, after the first solution; green scores the first 32 solutions of a chain."""
    verify_temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    decide_temperature: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    refine_temperature: float = Field(default=0.7, ge=0, allow_inf_nan=False)
    on_undecided: Literal["keep", "refine"] = "keep"
    """What becomes of a solution that is neither accepted nor rejected, asked twice."""
    max_prompt_tokens: int = Field(default=120_000, ge=1)
    """Longer prompts of a chain are not sent, and the solution is carried on; so are prompts the engine has no room for."""
    stop_after_accepts: int = Field(default=0, ge=0)
    """Accepts in a row after which the solution is carried on unexamined; 0: all iterations are held."""
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
