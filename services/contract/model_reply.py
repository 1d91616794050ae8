"""From what the engine sent to an answer: the last rows of the outcome table (inference specification 7). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

from services.contract.json_schema import conforms
from services.contract.model_call import Finish, Reply, ResponseFormat, ToolCall

EMPTY_CONTENT_CURE: Final = (
    "the engine put its whole answer into the reasoning field: start it without a reasoning parser for this model, or with "
    "thinking switched off in the template's defaults (`inference doctor`, check D11)"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What the model said, read from its reply."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish: Finish
    refused: bool
    flags: tuple[str, ...]


class EmptyContentError(Exception):
    """The reply holds no answer though the engine says it is complete."""


def read_reply(reply: Reply, response_format: ResponseFormat | None) -> Said:
    """The answer in a reply. Raises EmptyContentError when all of it is in the reasoning field."""
    calls, call_flags = _usable_calls(reply)
    refused = reply.refusal is not None or reply.finish == "content_filter"
    said = Said(
        text=reply.content or reply.refusal or "",
        tool_calls=() if refused else calls,
        finish="tool_calls" if calls and not refused else _without_calls(reply.finish),
        refused=refused,
        flags=(*reply.flags, *call_flags),
    )
    if said.text:
        return replace(said, flags=(*said.flags, "think_in_content")) if _thinks(said.text) else said
    if calls or refused:
        return said
    if reply.finish == "length":
        return replace(said, flags=(*said.flags, "cut_before_text"))
    if not reply.reasoning:
        return replace(said, flags=(*said.flags, "empty"))
    if _is_asked_json(reply.reasoning, response_format):
        return replace(said, text=reply.reasoning, flags=(*said.flags, "from_reasoning"))
    raise EmptyContentError(EMPTY_CONTENT_CURE)


def _usable_calls(reply: Reply) -> tuple[tuple[ToolCall, ...], tuple[str, ...]]:
    """Calls whose generation was cut off are none: they were not meant like that."""
    valid = [call for call in reply.tool_calls if call.values is not None]
    if len(valid) == len(reply.tool_calls):
        return reply.tool_calls, ()
    if reply.finish == "length":
        return tuple(valid), ("cut_tool_call",)
    return reply.tool_calls, ("invalid_tool_arguments",)


def _without_calls(finish: Finish) -> Finish:
    """Engines say `tool_calls` now and then without one."""
    return "stop" if finish == "tool_calls" else finish


def _thinks(text: str) -> bool:
    return text.lstrip().startswith("<think>")


def _is_asked_json(text: str, response_format: ResponseFormat | None) -> bool:
    if response_format is None:
        return False
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return conforms(value, response_format.schema or {"type": "object"})
