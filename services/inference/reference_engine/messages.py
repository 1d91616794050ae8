"""/v1/messages: the API of Anthropic, without streams."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final, Literal

from pydantic import Field, JsonValue

from services.inference.reference_engine.apis import Body, Part, Rejected, Wire, no_stream, parse, text_of
from services.inference.reference_engine.exchange import Answer, Ask, Call, Counts, Message, Tool

_ERROR_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}
_STOP_REASONS: Final = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Block(Wire):
    """One content block: text, a call or its result."""

    type: str
    text: str = ""
    name: str = ""
    input: Body = Field(default_factory=dict)
    content: str | list[Part] | None = None


class InputMessage(Wire):
    """One message of the conversation."""

    role: Literal["user", "assistant"]
    content: str | list[Block]


class OfferedTool(Wire):
    """A tool on offer."""

    name: str
    input_schema: Body = Field(default_factory=dict)


class ToolChoice(Wire):
    """Which tool must be called, if any."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class Format(Wire):
    """The schema of a structured answer."""

    schema_: Body = Field(alias="schema")


class OutputConfig(Wire):
    """How the answer is to be shaped."""

    format: Format | None = None


class MessagesRequest(Wire):
    """The request body."""

    model: str
    max_tokens: int = Field(ge=1)
    messages: list[InputMessage] = Field(min_length=1)
    system: str | list[Part] | None = None
    tools: list[OfferedTool] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    stream: bool | None = None


class Messages:
    """The API under /v1/messages."""

    def read(self, body: bytes) -> Ask:
        """The request. Raises Rejected."""
        request = parse(MessagesRequest, body)
        choice = request.tool_choice or ToolChoice(type="auto")
        offered = tuple(Tool(name=one.name, parameters=one.input_schema) for one in request.tools or ())
        shape = request.output_config.format if request.output_config else None
        system = (Message(role="system", text=text_of(request.system)),) if request.system else ()
        return Ask(
            model=request.model,
            messages=(*system, *(message for said in request.messages for message in _messages(said))),
            tools=() if choice.type == "none" else offered,
            must_call=choice.type in {"any", "tool"},
            named_tool=choice.name if choice.type == "tool" else None,
            schema=shape.schema_ if shape else None,
            judged=shape is not None,
            max_tokens=request.max_tokens,
            stream=bool(request.stream),
        )

    def write(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Body:
        """The whole answer."""
        answer = answers[0]
        stop = "refusal" if answer.refusal else "tool_use" if answer.calls else _STOP_REASONS[answer.finish]
        return {
            "id": f"msg_{digest}",
            "type": "message",
            "role": "assistant",
            "model": ask.model,
            "content": [*_blocks(answer, digest)],
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": counts.prompt,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": counts.completion,
            },
        }

    def chunks(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Iterator[Body]:  # noqa: ARG002
        """Raises Rejected: this API has no streams here."""
        raise no_stream("/v1/messages")

    def error(self, rejected: Rejected) -> Body:
        """The body of an error in Anthropic's shape."""
        kind = _ERROR_TYPES.get(rejected.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": rejected.message}}


def _messages(said: InputMessage) -> Iterator[Message]:
    """Results of tools are messages of their own here; Anthropic puts them into the user's."""
    if isinstance(said.content, str):
        yield Message(role=said.role, text=said.content)
        return
    results = [block for block in said.content if block.type == "tool_result"]
    yield from (Message(role="tool", text=text_of(block.content)) for block in results)
    text = "\n".join(block.text for block in said.content if block.type == "text")
    calls = tuple(
        Call(name=block.name, arguments=json.dumps(block.input)) for block in said.content if block.type == "tool_use"
    )
    if text or calls or not results:
        yield Message(role=said.role, text=text, calls=calls)


def _blocks(answer: Answer, digest: str) -> Iterator[JsonValue]:
    if answer.reasoning:
        yield {"type": "thinking", "thinking": answer.reasoning, "signature": ""}
    if answer.text:
        yield {"type": "text", "text": answer.text}
    for index, call in enumerate(answer.calls):
        yield {"type": "tool_use", "id": f"toolu_{digest}{index}", "name": call.name, "input": _input(call)}


def _input(call: Call) -> JsonValue:
    """Arguments are an object on this API; a malformed call shows its text."""
    try:
        value: JsonValue = json.loads(call.arguments)
    except ValueError:
        return {"arguments": call.arguments}
    return value
