"""One conversation with the agent as a benchmark sees it: asks under a deadline and keeps every word.

What was said before a failure stays in the transcript, so no evidence is lost.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from pydantic import JsonValue

from services.contract.conversation import ModelFacts, Reply, Transcript, Turn, Usage
from services.contract.outcomes import AgentFailure
from services.contract.secrets import redact


class Asks(Protocol):
    """The part of `contract.a2a.client.Conversation` that a session needs."""

    async def ask(self, text: str, deadline: float) -> Reply:
        """Send one message; `deadline` is a loop time. Raises AgentFailure."""
        ...


class Session:
    """Satisfies `contract.conversation.AgentSession`."""

    def __init__(self, conversation: Asks, *, reply_timeout_s: float, trial_deadline: float) -> None:
        self._conversation = conversation
        self._reply_timeout_s = reply_timeout_s
        self._trial_deadline = trial_deadline
        self._turns: list[Turn] = []
        self._notes: dict[str, JsonValue] = {}
        self.agent_s = 0.0
        """Seconds spent waiting for the agent."""
        self.usage = Usage()
        self.model: ModelFacts | None = None

    @property
    def transcript(self) -> Transcript:
        """All that was said so far."""
        return Transcript(turns=tuple(self._turns), notes=dict(self._notes))

    def note(self, key: str, value: JsonValue) -> None:
        """Keep something beside the words in the transcript."""
        self._notes[key] = value

    async def ask(self, text: str) -> Reply:
        """Send one message and await its reply. Raises AgentFailure; both sides are kept either way."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        deadline = min(started + self._reply_timeout_s, self._trial_deadline)
        try:
            reply = await self._conversation.ask(text, deadline)
        except AgentFailure as failure:
            said = f"{failure.kind}: {failure.message}"
            self._turns.append(Turn(question=redact(text), error=redact(f"{said}\n{failure.evidence}".strip())))
            raise
        finally:
            self.agent_s += loop.time() - started
        self._turns.append(Turn(question=redact(text), reply=reply.model_copy(update={"text": redact(reply.text)})))
        self.usage += reply.usage or Usage()
        self.model = reply.model or self.model
        return reply
