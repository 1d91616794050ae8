"""The messages API of Anthropic: system text apart, results of tools in the user's turn, no seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import httpx2
from anthropic import APIConnectionError, APIStatusError, AsyncAnthropic
from pydantic import Field, JsonValue, ValidationError

from services.contract.endpoints import Endpoint
from services.contract.model_call import ChatMessage, Finish, ModelRequest, ModelUsage, Reply, Sampling, ToolCall
from services.contract.model_errors import HttpFault
from services.contract.model_http import NO_KEY, Count, Wire, fault_of, http_client, unreachable

_FINISHES: Final[dict[str, Finish]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class Block(Wire):
    """One content block."""

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, JsonValue] = Field(default_factory=dict)


class OutputDetails(Wire):
    """What the answer's tokens were."""

    thinking_tokens: Count = None


class Counts(Wire):
    """Tokens; `input_tokens` leaves out what was read from or written to a cache."""

    input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None
    output_tokens: Count = None
    output_tokens_details: OutputDetails | None = None


class Message(Wire):
    """The whole body."""

    content: list[Block]
    stop_reason: str | None = None
    usage: Counts = Counts()


class TokenCount(Wire):
    """Body of /v1/messages/count_tokens."""

    input_tokens: int = Field(ge=0)


class AnthropicDialect:
    """One replica behind an address that speaks Anthropic's API."""

    def __init__(self, endpoint: Endpoint, url: str, *, max_connections: int) -> None:
        self.unsupported: set[str] = set()
        self._model = endpoint.model
        root = url.removesuffix("/v1")
        key = endpoint.api_key.get_secret_value() if endpoint.api_key else NO_KEY
        self._sdk = AsyncAnthropic(
            api_key=key,
            base_url=root,
            max_retries=0,
            http_client=http_client(root, max_connections),
        )
        # In place of headers of the environment, which may replace this key or hold another one, such as a gateway's.
        self._sdk._custom_headers = {"X-Api-Key": key}  # noqa: SLF001 - the SDK has no switch for it

    async def complete(self, request: ModelRequest) -> Reply:
        """One message. Raises HttpFault."""
        if not request.template:
            raise HttpFault(400, "Anthropic has no completions API; base models need an OpenAI-compatible engine")
        response = await self._post("/v1/messages", self._payload(request))
        try:
            return _reply(Message.model_validate_json(response.content), request)
        except ValidationError as error:
            raise HttpFault(200, f"expected a message, got {response.text[:500]!r}") from error

    def in_force(self, sampling: Sampling) -> Sampling:
        """What is sent: never a seed, nothing that the model has rejected, and `top_p` only where it changes something.

        Current models take a temperature or a `top_p`, not both.
        """
        refused = self.unsupported
        return Sampling(
            temperature=None if "temperature" in refused else sampling.temperature,
            top_p=None if "top_p" in refused or sampling.top_p == 1 else sampling.top_p,
            top_k=None if "top_k" in refused else sampling.top_k,
            max_tokens=sampling.max_tokens,
        )

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """By the API's own counter; None where a compatible server lacks it."""
        payload = {name: value for name, value in self._payload(request).items() if name in _COUNTED}
        try:
            response = await self._post("/v1/messages/count_tokens", payload)
            return TokenCount.model_validate_json(response.content).input_tokens
        except HttpFault as fault:
            if fault.status is None:
                raise
            return None
        except ValidationError:
            return None

    async def context_length(self) -> int | None:
        """The API does not report it."""
        return None

    async def listening(self) -> None:
        """By the list of models."""
        try:
            await self._sdk.get("/v1/models", cast_to=httpx2.Response)
        except APIConnectionError as error:
            raise unreachable(error) from error
        except APIStatusError as error:
            if error.status_code >= 500:
                raise fault_of(error.status_code, error.response.content, error.response.headers) from error

    async def aclose(self) -> None:
        """Close all connections."""
        await self._sdk.close()

    async def _post(self, path: str, payload: dict[str, JsonValue]) -> httpx2.Response:
        try:
            return await self._sdk.post(path, cast_to=httpx2.Response, body=payload)
        except APIStatusError as error:
            raise fault_of(error.status_code, error.response.content, error.response.headers) from error
        except APIConnectionError as error:
            raise unreachable(error) from error
        except UnicodeEncodeError as error:
            raise HttpFault(400, f"the request cannot be sent: {error}") from error

    def _payload(self, request: ModelRequest) -> dict[str, JsonValue]:
        sampling = self.in_force(request.sampling)
        system = "\n\n".join(one.content for one in request.messages if one.role == "system" and one.content)
        payload: dict[str, JsonValue] = {
            "model": self._model,
            "max_tokens": sampling.max_tokens,
            "messages": list(_turns(request.messages)),
        }
        for name in _OPTIONAL:
            if (value := getattr(sampling, name)) is not None:
                payload[name] = value
        if system:
            payload["system"] = system
        if request.tools:
            payload["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": dict(tool.parameters)}
                for tool in request.tools
            ]
            # The API refuses a history with calls of tools that the request does not define.
            if request.tool_choice == "none":
                payload["tool_choice"] = {"type": "none"}
        if request.response_format is not None and request.response_format.schema is not None:
            schema = dict(request.response_format.schema)
            payload["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        return payload


_OPTIONAL: Final = ("temperature", "top_p", "top_k")
_COUNTED: Final = frozenset({"model", "messages", "system", "tools", "tool_choice"})


def _turns(messages: Sequence[ChatMessage]) -> Iterator[JsonValue]:
    """Messages without the system's; neighbouring results of tools share one turn of the user, as the API requires."""
    results: list[JsonValue] = []
    for message in messages:
        if message.role == "tool":
            results.append(_result(message))
            continue
        if results:
            yield {"role": "user", "content": results}
            results = []
        if message.role != "system":
            yield {"role": message.role, "content": _content(message)}
    if results:
        yield {"role": "user", "content": results}


def _result(message: ChatMessage) -> JsonValue:
    return {"type": "tool_result", "tool_use_id": message.tool_call_id or "", "content": message.content or ""}


def _content(message: ChatMessage) -> JsonValue:
    if not message.tool_calls:
        return message.content or ""
    text: list[JsonValue] = [{"type": "text", "text": message.content}] if message.content else []
    return [
        *text,
        *({"type": "tool_use", "id": call.id, "name": call.name, "input": _input(call)} for call in message.tool_calls),
    ]


def _input(call: ToolCall) -> JsonValue:
    """The API takes an object only; text that is none is kept inside one."""
    return {"arguments": call.arguments} if call.values is None else call.values


def _reply(body: Message, request: ModelRequest) -> Reply:
    text = "".join(block.text for block in body.content if block.type == "text")
    known = body.stop_reason in {*_FINISHES, None}
    unshaped = request.response_format is not None and request.response_format.schema is None
    return Reply(
        content=text or None,
        reasoning="".join(block.thinking for block in body.content if block.type == "thinking") or None,
        tool_calls=tuple(
            ToolCall(id=block.id, name=block.name, arguments=json.dumps(block.input))
            for block in body.content
            if block.type == "tool_use"
        ),
        finish=_FINISHES.get(body.stop_reason or "end_turn", "stop"),
        flags=(
            *(() if known else (f"finish_{body.stop_reason}",)),
            *(("response_format_not_sent",) if unshaped else ()),
        ),
        usage=_usage(body.usage),
    )


def _usage(counts: Counts) -> ModelUsage:
    cached, written = counts.cache_read_input_tokens, counts.cache_creation_input_tokens
    known = counts.input_tokens is not None
    return ModelUsage(
        input_tokens=(counts.input_tokens or 0) + (cached or 0) + (written or 0) if known else None,
        cached_tokens=cached,
        output_tokens=counts.output_tokens,
        reasoning_tokens=counts.output_tokens_details.thinking_tokens if counts.output_tokens_details else None,
    )
