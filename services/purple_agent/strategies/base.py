"""The shape of a strategy. A new one is one module and one row in `registry.py`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.contract.conversation import Trace
from services.contract.model_call import ChatMessage
from services.purple_agent.models.session import ModelSession
from services.purple_agent.tools.toolbox import Toolbox


@dataclass(frozen=True, kw_only=True, slots=True)
class Solved:
    """What a strategy came to."""

    text: str
    """The answer, never blank."""
    messages: tuple[ChatMessage, ...] = ()
    """What the conversation remembers of it, the answer last."""
    trace: Trace | None = None
    """How it came to the answer, step by step; None for a strategy of one step."""


class Strategy(Protocol):
    """Turns a message into an answer. Without state: one instance serves all conversations."""

    async def solve(self, history: Sequence[ChatMessage], session: ModelSession, toolbox: Toolbox) -> Solved:
        """Answer the last message of `history`, which begins with the system prompt. Raises AgentFailure."""
        ...
