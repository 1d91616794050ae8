"""What the doctor asks and what an answer says, in one form for both APIs. Nothing is repaired on the way.

The prompts are the lessons that the reference engine and the trained test model know (inference specification 9); checks look
at the structure of answers only, so that any model can pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from services.contract.model_call import ChatMessage, ToolCall

Json = Mapping[str, JsonValue]
ToolChoice = Literal["auto", "required", "named"]

SEED: Final = 7
TICKER: Final[Json] = {
    "type": "object",
    "properties": {"ticker": {"type": "string", "enum": ["ABC", "XYZ"]}},
    "required": ["ticker"],
    "additionalProperties": False,
}
"""An enum, so that a grammar made of it always comes to an end."""
TOOL: Final = "get_quote"
VERDICT: Final[Json] = {
    "type": "object",
    "properties": {
        "score": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
        "verdict": {"type": "string", "enum": ["pass", "fail"]},
    },
    "required": ["score", "verdict"],
    "additionalProperties": False,
}

PING: Final = "ping"
QUOTE: Final = "Quote ABC"
THINK: Final = "Think: what is the price of an option when its volatility rises?"
JUDGE: Final = "Judge: explain the price of an option when volatility rises."
HELLO: Final = "say hello"
"""No model answers this with JSON or a call unless it is made to."""


def user(text: str) -> tuple[ChatMessage, ...]:
    """A conversation of one message."""
    return (ChatMessage(role="user", content=text),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One request. Temperature 0 and a fixed seed unless `bare`."""

    messages: Sequence[ChatMessage]
    max_tokens: int
    tools: bool = False
    """Offer the one tool."""
    tool_choice: ToolChoice = "auto"
    schema: Json | None = None
    logprobs: bool = False
    template: Json | None = None
    """Variables of the chat template."""
    bare: bool = False
    """Without sampling parameters, which some hosted models refuse."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What an answer says."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_field: str = ""
    """Name of the field the reasoning came in."""
    refusal: str | None = None
    calls: tuple[ToolCall, ...] = ()
    finish: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    logprobs: bool = False
    fingerprint: str | None = None

    @property
    def text(self) -> str:
        """Everything that was said, for comparisons."""
        return f"{self.reasoning or ''}{self.content or ''}{self.refusal or ''}"


class UnreadableError(Exception):
    """HTTP 200 with a body that is no answer."""


class Speech(Protocol):
    """One API."""

    streams: bool
    """The doctor examines its streams."""

    path: str
    """Of the questions, below the base URL."""
    models_path: str
    """Of the list of models, below the base URL."""

    def payload(self, model: str, ask: Ask) -> dict[str, JsonValue]:
        """The request body."""
        ...

    def read(self, body: JsonValue) -> Said:
        """The answer in a body. Raises UnreadableError."""
        ...


class Wire(BaseModel):
    """Part of an answer. Engines add fields freely."""

    model_config = ConfigDict(frozen=True, extra="ignore")


W = TypeVar("W", bound=Wire)


def validated(model: type[W], body: JsonValue) -> W:
    """The body in its type. Raises UnreadableError."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise UnreadableError(f"expected an answer, got {json.dumps(body)[:200]}") from error
