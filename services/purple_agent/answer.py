"""What a conversation gives back for one message, whoever thinks of it: a model or a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue

from services.contract.conversation import ModelCalls, ModelFacts, Trace, Usage
from services.contract.outcomes import Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer. `text` is never blank."""

    text: str
    usage: Usage | None = None
    """Sum over all model calls; None for a baseline."""
    model: ModelFacts | None = None
    model_calls: ModelCalls | None = None
    """Which servers answered and what failed on the way; None when there is nothing to tell."""
    tool_calls: tuple[JsonValue, ...] = ()
    trace: Trace | None = None
    """How a strategy of several steps came to the text."""
    repeated: bool = False
    """Send the text a second time, in the status: what a careless agent does, for testing evaluators."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoAnswer:
    """Why there is no answer. It is reported as a failure and can never be read as an answer."""

    outcome: Outcome
    """`infra_error` when the fault lies below the agent, else `agent_error`."""
    kind: str
    message: str
    usage: Usage | None = None
    """What was spent until then."""
    model: ModelFacts | None = None
    model_calls: ModelCalls | None = None


class Responder(Protocol):
    """One conversation. Messages come one at a time and in order; what was said before is the responder's to remember."""

    async def answer(self, text: str) -> Answer | NoAnswer:
        """Answer one message. Cancelling the call ends the model request and leaves the memory as it was."""
        ...
