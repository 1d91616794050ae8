"""/v1/chat/completions: requests, answers and streams in the shape of vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field, JsonValue

from services.inference.reference_engine import FINGERPRINT, tokens
from services.inference.reference_engine.apis import (
    Body,
    Function,
    Part,
    Rejected,
    ToolMode,
    Wire,
    openai_error,
    parse,
    text_of,
    tool,
)
from services.inference.reference_engine.exchange import Answer, Ask, Call, Counts, Message

MAX_CHOICES: Final = 64
CHUNK_TOKENS: Final = 4
"""Tokens in one chunk of a stream."""


class CalledFunction(Wire):
    """A call in the history."""

    name: str
    arguments: str = "{}"


class ToolCall(Wire):
    """A call in the history, with its envelope."""

    function: CalledFunction


class ChatMessage(Wire):
    """One message of the request."""

    role: str
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None


class OfferedTool(Wire):
    """A tool with its envelope."""

    type: Literal["function"] = "function"
    function: Function


class NamedFunction(Wire):
    """The name in a named tool choice."""

    name: str


class NamedTool(Wire):
    """A tool choice that names a function."""

    function: NamedFunction


class JsonSchema(Wire):
    """The schema of a structured answer."""

    schema_: Body = Field(default_factory=dict, alias="schema")


class ResponseFormat(Wire):
    """How the answer is to be shaped."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None = None


class StructuredOutputs(Wire):
    """vLLM's own way to ask for a schema."""

    json_: Body | None = Field(default=None, alias="json")


class StreamOptions(Wire):
    """What a stream carries beside the text."""

    include_usage: bool = False


class ChatRequest(Wire):
    """The request body."""

    model: str = ""
    messages: list[ChatMessage] = Field(min_length=1)
    tools: list[OfferedTool] | None = None
    tool_choice: ToolMode | NamedTool | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    logprobs: bool | None = None


class ChatCompletions:
    """The API under /v1/chat/completions."""

    def read(self, body: bytes) -> Ask:
        """The request. Raises Rejected."""
        request = parse(ChatRequest, body)
        named = request.tool_choice.function.name if isinstance(request.tool_choice, NamedTool) else None
        offered = tuple(tool(one.function) for one in request.tools or ())
        if named is not None and named not in {one.name for one in offered}:
            raise Rejected(
                400, "BadRequestError", f"tool_choice names {named!r}, which is not in tools", param="tool_choice"
            )
        return Ask(
            model=request.model,
            messages=tuple(map(message, request.messages)),
            tools=() if request.tool_choice == "none" else offered,
            must_call=named is not None or request.tool_choice == "required",
            named_tool=named,
            schema=_schema(request),
            judged=request.response_format is not None and request.response_format.type == "json_schema",
            max_tokens=request.max_completion_tokens or request.max_tokens,
            choices=request.n or 1,
            stream=bool(request.stream),
            stream_usage=request.stream_options is not None and request.stream_options.include_usage,
            logprobs=bool(request.logprobs),
        )

    def write(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Body:
        """The whole answer."""
        choices: list[JsonValue] = [
            {
                "index": index,
                "message": _said(answer, digest),
                "logprobs": {"content": _logprobs(answer.text or "")} if ask.logprobs else None,
                "finish_reason": answer.finish,
            }
            for index, answer in enumerate(answers)
        ]
        return _envelope(ask, digest, "chat.completion") | {"choices": choices, "usage": usage(counts)}

    def chunks(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Iterator[Body]:
        """The answer in chunks of a few tokens."""
        envelope = _envelope(ask, digest, "chat.completion.chunk")
        for index, answer in enumerate(answers):
            deltas: list[Body] = [{"role": "assistant", "content": ""}, *_deltas(answer, digest)]
            for delta in deltas:
                yield envelope | {"choices": [{"index": index, "delta": delta, "finish_reason": None}]}
            yield envelope | {"choices": [{"index": index, "delta": {}, "finish_reason": answer.finish}]}
        if ask.stream_usage:
            yield envelope | {"choices": [], "usage": usage(counts)}

    def error(self, rejected: Rejected) -> Body:
        """The body of an error."""
        return openai_error(rejected)


def usage(counts: Counts) -> Body:
    """Token counts in OpenAI's shape."""
    return {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def message(said: ChatMessage) -> Message:
    """A message of the history."""
    calls = tuple(Call(name=call.function.name, arguments=call.function.arguments) for call in said.tool_calls or ())
    return Message(role=said.role, text=text_of(said.content), calls=calls)


def _schema(request: ChatRequest) -> Body | None:
    if request.structured_outputs is not None and request.structured_outputs.json_ is not None:
        return request.structured_outputs.json_
    if request.response_format is None or request.response_format.type == "text":
        return None
    asked = request.response_format.json_schema
    return asked.schema_ if asked is not None else {"type": "object"}


def _envelope(ask: Ask, digest: str, kind: str) -> Body:
    return {
        "id": f"chatcmpl-{digest}",
        "object": kind,
        "created": 0,
        "model": ask.model,
        "system_fingerprint": FINGERPRINT,
    }


def _said(answer: Answer, digest: str) -> Body:
    calls: list[JsonValue] = [_call(call, index, digest) for index, call in enumerate(answer.calls)]
    return {
        "role": "assistant",
        "content": answer.text,
        "refusal": answer.refusal,
        "tool_calls": calls,
        "reasoning": answer.reasoning,
    }


def _call(call: Call, index: int, digest: str) -> Body:
    return {
        "id": f"call_{digest}{index}",
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }


def _deltas(answer: Answer, digest: str) -> Iterator[Body]:
    for field, text in (("reasoning", answer.reasoning), ("refusal", answer.refusal), ("content", answer.text)):
        for piece in tokens.pieces(text or "", tokens=CHUNK_TOKENS):
            yield {field: piece}
    for index, call in enumerate(answer.calls):
        opening = _call(Call(name=call.name, arguments=""), index, digest) | {"index": index}
        yield {"tool_calls": [opening]}
        for piece in tokens.pieces(call.arguments, tokens=CHUNK_TOKENS):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _logprobs(text: str) -> list[JsonValue]:
    """Every token is certain: the engine knows no other."""
    return [
        {"token": piece, "logprob": 0.0, "bytes": list(piece.encode()), "top_logprobs": []}
        for piece in tokens.pieces(text, tokens=1)
    ]
