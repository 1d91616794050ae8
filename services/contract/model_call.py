"""What goes into a model call and what comes out of it; failures are values.

The client that makes the call is `contract.model_client`, which offers these names too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import JsonValue

from services.contract.outcomes import Outcome
from services.contract.seeds import derive

Role = Literal["system", "user", "assistant", "tool"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]
ToolChoice = Literal["auto", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A call the model asks for. `arguments` is the text it generated, valid JSON or not."""

    id: str
    name: str
    arguments: str

    @property
    def values(self) -> dict[str, JsonValue] | None:
        """The arguments as an object; None when their text is no JSON object."""
        try:
            read = json.loads(self.arguments or "{}", parse_constant=_refuse)
        except (ValueError, RecursionError):
            return None
        return read if isinstance(read, dict) else None


def _refuse(name: str) -> JsonValue:
    raise ValueError(f"{name} is no JSON")


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatMessage:
    """One message. A tool's result has role `tool` and the id of the call it answers."""

    role: Role
    content: str | None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSpec:
    """A tool on offer; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, JsonValue]


@dataclass(frozen=True, kw_only=True, slots=True)
class ResponseFormat:
    """Asks for JSON: any object without `schema`, else what conforms to it."""

    name: str = "answer"
    schema: Mapping[str, JsonValue] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How tokens are drawn. In a request None means the endpoint's value; in a record it means that nothing was in force."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    """Most tokens of the answer; what the context leaves may be less."""
    seed: int | None = None
    """In a request None means: derived from the call's key."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallKey:
    """Which call this is. Seeds and jitter come from it, so a repeated run makes the same draws."""

    run_seed: int
    benchmark: str
    task_id: str
    trial: int
    purpose: str
    """What asks, such as `agent` or `judge`."""
    index: int
    """0-based number of the call in its trial."""

    @property
    def seed(self) -> int:
        """Sampling seed, 31 bits: some servers read no more."""
        return self.derived("sampling") >> 32

    def derived(self, *names: str | int) -> int:
        """A seed for something about this call."""
        return derive(self.run_seed, self.benchmark, self.task_id, self.trial, self.purpose, self.index, *names)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelUsage:
    """What a call consumed. None means unknown, which is not zero."""

    input_tokens: int | None = None
    cached_tokens: int | None = None
    """Part of `input_tokens` that was read from a cache."""
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Part of `output_tokens` spent on thinking."""
    calls: int = 0
    """HTTP requests, failed attempts included."""
    cost_usd: float | None = None
    """By the endpoint's price; None when that or a count is unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelAttempt:
    """A request that failed. Kept, never overwritten."""

    replica: str
    """Base URL it went to."""
    kind: str
    status: int | None
    """HTTP status; None when there was no answer."""
    message: str
    duration_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """An answer of the model."""

    text: str
    """Empty when it only calls tools, or was cut off before the first word."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    refused: bool = False
    """The model, or a filter, declined to answer; `text` then holds its words, if any."""
    usage: ModelUsage = ModelUsage()
    flags: tuple[str, ...] = ()
    """What was odd: `from_reasoning`, `cut_before_text`, `cut_tool_call`, `invalid_tool_arguments`, `dropped_<parameter>` ..."""
    attempts: tuple[ModelAttempt, ...] = ()
    """Failed requests before this answer."""
    replica: str = ""
    """Base URL that answered."""
    switched: bool = False
    """Another server answered than the one that the trial prefers, which was lost."""
    fingerprint: str | None = None
    """What the engine says about itself."""
    sampling: Sampling = Sampling()
    """What was in force."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFailure:
    """No answer, and whose doing that is."""

    outcome: Outcome
    """`infra_error`; `agent_error` when the caller's own deadline passed; `cancelled` when the client was closed."""
    kind: str
    message: str
    attempts: tuple[ModelAttempt, ...] = ()
    usage: ModelUsage = ModelUsage()
    prompt_tokens: int | None = None
    """Of `context_overflow`, when known."""
    context_limit: int | None = None
    """Of `context_overflow`, when known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRequest:
    """A request as a dialect sends it. Sampling is complete: None means not to send."""

    messages: Sequence[ChatMessage]
    tools: Sequence[ToolSpec]
    """On offer, or behind the calls in the history."""
    tool_choice: ToolChoice = "auto"
    """`none`: the model has to answer without further calls."""
    response_format: ResponseFormat | None
    sampling: Sampling
    template: bool = True
    """False: the text of the one message goes to the completions API as it is, for base models."""
    stop: tuple[str, ...] = ()
    """Texts before which a completion without a template ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer as the engine gave it, in one form for all dialects."""

    content: str | None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    flags: tuple[str, ...] = ()
    usage: ModelUsage = ModelUsage()
    fingerprint: str | None = None


class Dialect(Protocol):
    """One replica, spoken to in its provider's way. Every method raises HttpFault where it does not get an answer."""

    unsupported: set[str]
    """Sampling parameters that this model has rejected; they are no longer sent."""

    async def complete(self, request: ModelRequest) -> Reply:
        """One request, never repeated."""
        ...

    def in_force(self, sampling: Sampling) -> Sampling:
        """What of the sampling this dialect sends."""
        ...

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Tokens of the prompt; None when the server has no tokenizer to ask."""
        ...

    async def context_length(self) -> int | None:
        """Tokens of prompt and answer together, as the server reports it; None when it does not."""
        ...

    async def listening(self) -> None:
        """Return when something answers at the address, if only to refuse us; an error of its own is no answer."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...
