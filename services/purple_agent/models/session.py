"""The model calls of one message: numbered, seeded, added up by role, and stopped by the first that fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.conversation import (
    LONGEST_FACT,
    LONGEST_WORD,
    MOST_FAILED_CALLS,
    FailedCall,
    ModelCalls,
    ModelFacts,
    Role,
    Sampled,
    Usage,
)
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
from services.contract.model_client import AS_CONFIGURED, ModelClient
from services.contract.outcomes import AgentFailure, Outcome

BYTES_PER_TOKEN: Final = 3
"""Of a prompt that no tokenizer counts."""
TEMPLATE_TOKENS: Final = 1024
"""More than any chat template adds to a message."""
LONGEST_MESSAGE: Final = 300
"""Characters of a server's error; it travels with the reply and stands in the row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """What the seeds of a conversation derive from. Nothing in it depends on a URL, a context id or the time."""

    run_seed: int
    opening: str
    """Digest of the first message: the A2A message names no task."""
    repeat: int
    """Number of the sample: as the evaluator gives it, else how many conversations this process has begun with the same
    opening before this one. Repeated trials of a task must not draw the same sample."""


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
        self._untaken: dict[Role, Usage] = {}
        self._last: Completion | None = None
        self._calls = ModelCalls()

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        role: Role = "generate",
        sampling: Sampling = AS_CONFIGURED,
    ) -> Completion:
        """Call the model once. Raises AgentFailure when the client gives up, with the outcome the client names.

        Seed and account depend on `role`; `sampling` replaces the endpoint's values for this call alone.
        """
        given = await self._client.complete(
            messages,
            tools=tools,
            tool_choice=tool_choice,
            sampling=sampling,
            deadline=self._deadline,
            key=self._next_key(role),
        )
        return self._taken(given, role)

    async def continuation(self, text: str, *, stop: Sequence[str]) -> Completion:
        """Let a base model go on after `text`. Raises AgentFailure as `complete` does."""
        given = await self._client.continuation(
            text, stop=stop, deadline=self._deadline, key=self._next_key("generate")
        )
        return self._taken(given, "generate")

    async def fits(self, prompt: str, *, most_tokens: int) -> bool:
        """True when the prompt has at most `most_tokens` by the server's tokenizer, or by its bytes where there is none."""
        size = len(prompt.encode())
        if size + TEMPLATE_TOKENS <= most_tokens:  # No tokenizer makes more tokens than bytes.
            return True
        counted = await self._client.count_tokens([ChatMessage(role="user", content=prompt)])
        return (-(-size // BYTES_PER_TOKEN) if counted is None else counted) <= most_tokens

    def take_usage(self) -> Mapping[Role, Usage]:
        """What each role consumed since this was last asked."""
        taken, self._untaken = self._untaken, {}
        return taken

    @property
    def facts(self) -> ModelFacts:
        """Which model answers and how it draws, with the fingerprint of its last completion."""
        said = None if self._last is None else self._last.fingerprint
        return ModelFacts(
            provider=self._endpoint.provider,
            model=self._endpoint.model[:LONGEST_FACT],
            fingerprint=None if said is None else said[:LONGEST_FACT],
            sampling=self._sampled(),
        )

    @property
    def model_calls(self) -> ModelCalls | None:
        """Which servers answered and what failed on the way; None when all went well at the only server there is."""
        told = self._calls.failures or len(self._endpoint.urls) > 1
        return self._calls if told else None

    def _next_key(self, role: Role) -> CallKey:
        key = CallKey(
            run_seed=self._draw.run_seed,
            benchmark="purple",
            task_id=self._draw.opening,
            trial=self._draw.repeat,
            # The first solution of a chain is the sample that `direct` would draw, so the two can be compared in pairs.
            purpose="answer" if role == "generate" else role,
            index=self.calls,
        )
        self.calls += 1
        return key

    def _taken(self, given: Completion | ModelFailure, role: Role) -> Completion:
        used = _usage(given.usage)
        self.usage += used
        self._untaken[role] = self._untaken.get(role, Usage()) + used
        self._calls += _calls(given)
        if isinstance(given, ModelFailure):
            # A call that the closing client gave up is nobody's answer and nobody's fault above it.
            own = given.outcome is Outcome.AGENT_ERROR
            raise AgentFailure(Outcome.AGENT_ERROR if own else Outcome.INFRA_ERROR, given.kind, given.message)
        self._last = given
        return given

    def _sampled(self) -> Sampled | None:
        """As configured, without what the model has refused; None before it has answered."""
        if self._last is None:
            return None
        endpoint, sent = self._endpoint, self._last.sampling
        return Sampled(
            temperature=None if sent.temperature is None else endpoint.temperature,
            top_p=None if sent.top_p is None else endpoint.top_p,
            top_k=None if sent.top_k is None else endpoint.top_k,
            max_tokens=None if sent.max_tokens is None else endpoint.max_tokens,
        )


def _calls(given: Completion | ModelFailure) -> ModelCalls:
    failed = [
        FailedCall(
            replica=attempt.replica[:LONGEST_FACT],
            kind=attempt.kind[:LONGEST_WORD],
            status=attempt.status,
            message=attempt.message[:LONGEST_MESSAGE],
        )
        for attempt in given.attempts
    ]
    return ModelCalls(
        answered_by=(given.replica[:LONGEST_FACT],) if isinstance(given, Completion) else (),
        switched=int(isinstance(given, Completion) and given.switched),
        failed=tuple(failed[-MOST_FAILED_CALLS:]),
        failures=len(failed),
    )


def _usage(used: ModelUsage) -> Usage:
    return Usage(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        calls=used.calls,
        cost_usd=used.cost_usd,
    )
