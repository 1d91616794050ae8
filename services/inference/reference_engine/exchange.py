"""What is asked and what is answered, whichever API it came by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

Schema = Mapping[str, JsonValue]
Finish = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A tool call; `arguments` is JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of the conversation. A tool's result has role `tool`."""

    role: str
    text: str
    calls: tuple[Call, ...] = ()

    @property
    def counted(self) -> str:
        """All text of the message that costs tokens."""
        return self.text + "".join(call.name + call.arguments for call in self.calls)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A tool on offer; `parameters` is a JSON schema of type object."""

    name: str
    parameters: Schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One request."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    """Empty when the request forbids calls."""
    must_call: bool = False
    """A tool is required or named."""
    named_tool: str | None = None
    schema: Schema | None = None
    """What the answer must conform to; None when it is free text."""
    judged: bool = False
    """The schema came as `json_schema`, the way our judge asks."""
    max_tokens: int | None = None
    """Most tokens of the answer; None: what the context leaves."""
    choices: int = 1
    stream: bool = False
    stream_usage: bool = False
    logprobs: bool = False
    template: bool = True
    """The messages go through a chat template, so that each costs four tokens more."""

    @property
    def last_user(self) -> str:
        """Text of the last user message, empty when there is none."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def since_user(self) -> tuple[Message, ...]:
        """Messages after the last user message: calls and results."""
        for index in range(len(self.messages) - 1, -1, -1):
            if self.messages[index].role == "user":
                return self.messages[index + 1 :]
        return self.messages


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the engine says. `text` is None where content would be null."""

    text: str | None = None
    calls: tuple[Call, ...] = ()
    reasoning: str | None = None
    refusal: str | None = None
    finish: Finish = "stop"

    @property
    def counted(self) -> str:
        """All text that costs tokens."""
        said = "".join(part for part in (self.reasoning, self.refusal, self.text) if part)
        return said + "".join(call.name + call.arguments for call in self.calls)


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Tokens of one request."""

    prompt: int
    completion: int
