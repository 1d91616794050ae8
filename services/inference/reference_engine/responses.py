"""/v1/responses: the newer API of OpenAI, without streams and without stored conversations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from services.inference.reference_engine import FINGERPRINT
from services.inference.reference_engine.apis import (
    Body,
    Function,
    Part,
    Rejected,
    ToolMode,
    Wire,
    no_stream,
    openai_error,
    parse,
    text_of,
    tool,
)
from services.inference.reference_engine.exchange import Answer, Ask, Call, Counts, Message


class InputMessage(Wire):
    """A message of the conversation; its type may be left out."""

    type: Literal["message"] = "message"
    role: str
    content: str | list[Part]


class FunctionCall(Wire):
    """A call in the history."""

    type: Literal["function_call"]
    name: str
    arguments: str


class FunctionOutput(Wire):
    """The result of a call."""

    type: Literal["function_call_output"]
    output: str


Item = Annotated[FunctionCall | FunctionOutput | InputMessage, Field(union_mode="left_to_right")]


class OfferedFunction(Function):
    """A tool on offer."""

    type: Literal["function"]


class NamedFunction(Wire):
    """A tool choice that names a function."""

    name: str


class Format(Wire):
    """How the answer is to be shaped."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    schema_: Body | None = Field(default=None, alias="schema")


class Text(Wire):
    """Settings of the text."""

    format: Format | None = None


class ResponsesRequest(Wire):
    """The request body."""

    model: str = ""
    input: str | list[Item]
    instructions: str | None = None
    tools: list[OfferedFunction] | None = None
    tool_choice: ToolMode | NamedFunction | None = None
    text: Text | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    stream: bool | None = None


class Responses:
    """The API under /v1/responses."""

    def read(self, body: bytes) -> Ask:
        """The request. Raises Rejected."""
        request = parse(ResponsesRequest, body)
        shape = request.text.format if request.text else None
        named = request.tool_choice.name if isinstance(request.tool_choice, NamedFunction) else None
        system = (Message(role="system", text=request.instructions),) if request.instructions else ()
        said = (Message(role="user", text=request.input),) if isinstance(request.input, str) else ()
        items = () if isinstance(request.input, str) else tuple(map(_message, request.input))
        return Ask(
            model=request.model,
            messages=(*system, *said, *items),
            tools=() if request.tool_choice == "none" else tuple(map(tool, request.tools or ())),
            must_call=named is not None or request.tool_choice == "required",
            named_tool=named,
            schema=(shape.schema_ or {"type": "object"}) if shape and shape.type != "text" else None,
            judged=shape is not None and shape.type == "json_schema",
            max_tokens=request.max_output_tokens,
            stream=bool(request.stream),
        )

    def write(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Body:
        """The whole answer."""
        answer = answers[0]
        cut = answer.finish == "length"
        return {
            "id": f"resp_{digest}",
            "object": "response",
            "created_at": 0,
            "model": ask.model,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "error": None,
            "metadata": {"engine": FINGERPRINT},
            "output": [*_output(answer, digest)],
            "parallel_tool_calls": False,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": counts.prompt,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": counts.completion,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": counts.prompt + counts.completion,
            },
        }

    def chunks(self, ask: Ask, answers: list[Answer], counts: Counts, digest: str) -> Iterator[Body]:  # noqa: ARG002
        """Raises Rejected: this API has no streams here."""
        raise no_stream("/v1/responses")

    def error(self, rejected: Rejected) -> Body:
        """The body of an error."""
        return openai_error(rejected)


def _message(item: Item) -> Message:
    if isinstance(item, FunctionCall):
        return Message(role="assistant", text="", calls=(Call(name=item.name, arguments=item.arguments),))
    if isinstance(item, FunctionOutput):
        return Message(role="tool", text=item.output)
    return Message(role=item.role, text=text_of(item.content))


def _output(answer: Answer, digest: str) -> Iterator[JsonValue]:
    if answer.reasoning:
        text: JsonValue = {"type": "reasoning_text", "text": answer.reasoning}
        yield {"type": "reasoning", "id": f"rs_{digest}", "summary": [], "content": [text]}
    if answer.text is not None or answer.refusal is not None:
        part: JsonValue = (
            {"type": "refusal", "refusal": answer.refusal}
            if answer.refusal is not None
            else {"type": "output_text", "text": answer.text, "annotations": []}
        )
        yield {"type": "message", "id": f"msg_{digest}", "role": "assistant", "status": "completed", "content": [part]}
    for index, call in enumerate(answer.calls):
        yield {
            "type": "function_call",
            "id": f"fc_{digest}{index}",
            "call_id": f"call_{digest}{index}",
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
