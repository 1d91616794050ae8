"""Chat completions, as OpenAI and the engines speak them: requests, answers and streams."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import Field, JsonValue

from services.contract.model_call import ChatMessage, ToolCall
from services.inference.doctor.asking import SEED, TICKER, TOOL, Ask, Said, UnreadableError, Wire, validated
from services.inference.doctor.exchange import Streamed


class _Function(Wire):
    name: str | None = None
    arguments: str | dict[str, JsonValue] | None = None


class _Call(Wire):
    index: int = 0
    id: str | None = None
    function: _Function = _Function()


class _Message(Wire):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(Wire):
    message: _Message = Field(default=_Message())
    delta: _Message = Field(default=_Message())
    finish_reason: str | None = None
    logprobs: dict[str, JsonValue] | None = None


class _Usage(Wire):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Completion(Wire):
    choices: list[_Choice] = Field(default_factory=list)
    usage: _Usage | None = None
    system_fingerprint: str | None = None


class OpenAISpeech:
    """Chat completions."""

    streams = True
    path = "/chat/completions"
    models_path = "/models"

    def payload(self, model: str, ask: Ask) -> dict[str, JsonValue]:
        """As OpenAI documents it, with vLLM's `chat_template_kwargs`."""
        body: dict[str, JsonValue] = {"model": model, "messages": [_openai_message(one) for one in ask.messages]}
        if ask.bare:
            return body | {"max_tokens": ask.max_tokens}
        body |= {"max_tokens": ask.max_tokens, "temperature": 0, "seed": SEED}
        if ask.tools:
            body["tools"] = [{"type": "function", "function": _function()}]
            named: JsonValue = {"type": "function", "function": {"name": TOOL}}
            body["tool_choice"] = named if ask.tool_choice == "named" else ask.tool_choice
        if ask.schema is not None:
            shape: JsonValue = {"name": "verdict", "schema": dict(ask.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": shape}
        if ask.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1}
        if ask.template is not None:
            body["chat_template_kwargs"] = dict(ask.template)
        return body

    def read(self, body: JsonValue) -> Said:
        """Raises UnreadableError."""
        whole = validated(_Completion, body)
        if not whole.choices:
            raise UnreadableError(f"no choices in {json.dumps(body)[:200]}")
        choice = whole.choices[0]
        return _said(choice.message, choice.message.tool_calls or [], choice, whole)


def collected(stream: Streamed) -> Said:
    """The answer that a stream of chat completions adds up to. Raises UnreadableError."""
    chunks = [validated(_Completion, chunk) for chunk in stream.chunks]
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    if not choices:
        raise UnreadableError(f"no chunk with a choice in {stream.text[:200]!r}")
    deltas = [choice.delta for choice in choices]
    joined = _Message(
        content=_joined([delta.content for delta in deltas]),
        reasoning=_joined([delta.reasoning for delta in deltas]),
        reasoning_content=_joined([delta.reasoning_content for delta in deltas]),
        refusal=_joined([delta.refusal for delta in deltas]),
    )
    finish = next((choice.finish_reason for choice in reversed(choices) if choice.finish_reason), None)
    last = _Completion(
        usage=next((chunk.usage for chunk in reversed(chunks) if chunk.usage is not None), None),
        system_fingerprint=next((chunk.system_fingerprint for chunk in chunks if chunk.system_fingerprint), None),
    )
    parts = [part for delta in deltas for part in delta.tool_calls or []]
    return _said(joined, _assembled(parts), _Choice(finish_reason=finish), last)


def _joined(parts: Sequence[str | None]) -> str | None:
    given = [part for part in parts if part is not None]
    return "".join(given) if given else None


def _assembled(parts: Sequence[_Call]) -> list[_Call]:
    """Calls in pieces put together by their index."""
    whole: dict[int, _Call] = {}
    for part in parts:
        before = whole.get(part.index, _Call(index=part.index))
        arguments = (_text(before.function.arguments) or "") + (_text(part.function.arguments) or "")
        name = before.function.name or part.function.name
        function = _Function(name=name, arguments=arguments)
        whole[part.index] = _Call(index=part.index, id=before.id or part.id, function=function)
    return [whole[index] for index in sorted(whole)]


def _said(message: _Message, calls: Sequence[_Call], choice: _Choice, whole: _Completion) -> Said:
    usage = whole.usage or _Usage()
    fields = (("reasoning", message.reasoning), ("reasoning_content", message.reasoning_content))
    name, reasoning = next(((name, text) for name, text in fields if text), ("", None))
    return Said(
        content=message.content or None,
        reasoning=reasoning,
        reasoning_field=name,
        refusal=message.refusal,
        calls=tuple(
            ToolCall(id=call.id or "", name=call.function.name or "", arguments=_text(call.function.arguments) or "")
            for call in calls
        ),
        finish=choice.finish_reason,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        logprobs=bool(choice.logprobs and choice.logprobs.get("content")),
        fingerprint=whole.system_fingerprint,
    )


def _text(arguments: str | dict[str, JsonValue] | None) -> str | None:
    return json.dumps(arguments) if isinstance(arguments, dict) else arguments


def _openai_message(message: ChatMessage) -> JsonValue:
    body: dict[str, JsonValue] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return body if message.tool_call_id is None else body | {"tool_call_id": message.tool_call_id}


def _function() -> dict[str, JsonValue]:
    told = "The latest price of a share."
    return {"name": TOOL, "description": told, "parameters": dict(TICKER), "strict": True}
