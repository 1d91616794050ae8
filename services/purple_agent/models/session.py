"""The model calls of one message: numbered, seeded, added up, and stopped by the first that fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.contract.conversation import ModelFacts, Usage
from services.contract.endpoints import Endpoint
from services.contract.model_call import (
    CallKey,
    ChatMessage,
    Completion,
    ModelFailure,
    ModelUsage,
    Sampling,
    ToolChoice,
    ToolSpec,
)
from services.contract.model_client import ModelClient
from services.contract.outcomes import AgentFailure, Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """What the seeds of a conversation derive from. Nothing in it depends on a URL, a context id or the time."""

    run_seed: int
    opening: str
    """Digest of the first message: the A2A message names no task."""
    repeat: int
    """How many conversations this process has begun with the same opening before this one: repeated trials of a task
    must not draw the same sample."""


class ModelSession:
    """What a strategy sees of the model while it answers one message."""

    def __init__(
        self,
        client: ModelClient,
        endpoint: Endpoint,
        *,
        draw: Draw,
        first_call: int,
        deadline: float,
    ) -> None:
        self.usage = Usage()
        self.calls = first_call
        self._client = client
        self._endpoint = endpoint
        self._draw = draw
        self._deadline = deadline
        self._fingerprint: str | None = None

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
    ) -> Completion:
        """Call the model once. Raises AgentFailure when the client gives up, with the outcome the client names."""
        key = CallKey(
            run_seed=self._draw.run_seed,
            benchmark="purple",
            task_id=self._draw.opening,
            trial=self._draw.repeat,
            purpose="answer",
            index=self.calls,
        )
        self.calls += 1
        given = await self._client.complete(
            messages, tools=tools, tool_choice=tool_choice, sampling=Sampling(), deadline=self._deadline, key=key
        )
        self.usage += _usage(given.usage)
        if isinstance(given, ModelFailure):
            # A call that the closing client gave up is nobody's answer and nobody's fault above it.
            own = given.outcome is Outcome.AGENT_ERROR
            raise AgentFailure(Outcome.AGENT_ERROR if own else Outcome.INFRA_ERROR, given.kind, given.message)
        self._fingerprint = given.fingerprint
        return given

    @property
    def facts(self) -> ModelFacts:
        """Which model answers, with the fingerprint of its last completion."""
        return ModelFacts(provider=self._endpoint.provider, model=self._endpoint.model, fingerprint=self._fingerprint)


def _usage(used: ModelUsage) -> Usage:
    return Usage(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        calls=used.calls,
        cost_usd=used.cost_usd,
    )
