"""Runs the tools of one conversation under limits of time and size, and keeps the log.

Whatever a tool does, the model reads one JSON object: `{"ok": true, "result", "units"}` or
`{"ok": false, "error": {"kind", "message"}}`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import JsonValue, ValidationError

from services.contract.assessment import nearest
from services.contract.model_call import ToolCall
from services.contract.outcomes import Failure
from services.purple_agent.tools.base import AnyTool, ToolError

log = structlog.get_logger()

OUTPUT_LIMIT: Final = 8_000
"""Characters of one tool's answer that reach the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolRecord:
    """One call as it happened, for the log and the artifact `tool_calls`."""

    name: str
    arguments: str
    """As the model wrote them."""
    output: str
    ok: bool
    seconds: float

    def as_json(self) -> dict[str, JsonValue]:
        """The record as one row of the artifact."""
        return {
            "name": self.name,
            "arguments": self.arguments,
            "output": self.output,
            "ok": self.ok,
            "seconds": round(self.seconds, 3),
        }


class Toolbox:
    """The tools of one conversation and the record of what was called."""

    def __init__(self, tools: Sequence[AnyTool]) -> None:
        self.tools = tuple(tools)
        self.records: list[ToolRecord] = []
        self._by_name = {tool.name: tool for tool in tools}

    def offer(self, tools: Sequence[AnyTool]) -> None:
        """Add tools that the conversation has come to; those that are there already stay."""
        new = [tool for tool in tools if tool.name not in self._by_name]
        self.tools = (*self.tools, *new)
        self._by_name |= {tool.name: tool for tool in new}

    async def call(self, call: ToolCall) -> str:
        """Answer one tool call. Raises Failure only when what is below the tool broke, such as the sandbox."""
        started = time.monotonic()
        try:
            text, ok = await self._succeed(call), True
        except ToolError as error:
            text, ok = _json({"ok": False, "error": {"kind": error.kind, "message": str(error)}}), False
        record = ToolRecord(
            name=call.name,
            arguments=call.arguments,
            output=cut(text, limit=OUTPUT_LIMIT),
            ok=ok,
            seconds=time.monotonic() - started,
        )
        self.records.append(record)
        log.debug("tool_called", tool=call.name, ok=ok, seconds=record.seconds)
        return record.output

    def refuse(self, call: ToolCall, *, kind: str, message: str) -> str:
        """Answer a call that is not run, so that every call in the history has its answer."""
        output = _json({"ok": False, "error": {"kind": kind, "message": message}})
        self.records.append(ToolRecord(name=call.name, arguments=call.arguments, output=output, ok=False, seconds=0.0))
        return output

    async def _succeed(self, call: ToolCall) -> str:
        tool = self._by_name.get(call.name)
        if tool is None:
            raise ToolError("unknown_tool", f"there is no tool {call.name!r}{nearest(call.name, self._by_name)}")
        try:
            arguments = tool.arguments.model_validate_json(call.arguments or "{}")
        except ValidationError as error:
            raise ToolError("invalid_arguments", _faults(error)) from None
        try:
            async with asyncio.timeout(tool.time_limit_s):
                result = await tool.run(arguments)
        except TimeoutError:
            raise ToolError("timeout", f"{call.name} took longer than {tool.time_limit_s:g} s") from None
        except (ToolError, Failure):
            raise
        except Exception as error:
            log.exception("tool_broke", tool=call.name, arguments=call.arguments)
            raise ToolError("internal", f"{call.name} failed on these arguments") from error
        return _json({"ok": True, "result": result.model_dump(mode="json"), "units": dict(tool.result.units())})


def cut(text: str, *, limit: int) -> str:
    """`text`, or its beginning inside valid JSON that says how much is missing."""
    if len(text) <= limit:
        return text
    # Escaping at most doubles quotes and backslashes; shrink until the whole fits.
    kept = limit
    while True:
        note = f"cut: the first {kept:,} of {len(text):,} characters are shown"
        shorter = _json({"ok": True, "note": note, "result_text": text[:kept]})
        if len(shorter) <= limit:
            return shorter
        kept -= max(len(shorter) - limit, 1)


def _faults(error: ValidationError) -> str:
    """Each fault as `field: what is wrong, got value`."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
        + ("" if fault["type"] in {"missing", "json_invalid"} else f", got {str(fault['input'])[:80]!r}")
        for fault in error.errors(include_url=False)
    )


def _json(value: dict[str, JsonValue]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
