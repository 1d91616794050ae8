"""Faults that change the answer itself rather than the transport."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from services.inference.reference_engine import tokens
from services.inference.reference_engine.exchange import Answer, Call
from services.inference.reference_engine.faults import Kind

REFUSAL: Final = "I cannot help with that."


def distort(answer: Answer, kind: Kind | None) -> Answer:
    """The answer as the fault makes it; unchanged when the fault is none of this kind or does not apply."""
    change = _CHANGES.get(kind) if kind is not None else None
    return change(answer) if change else answer


def limit(answer: Answer, most: int) -> Answer:
    """The answer in at most so many tokens. A tool call that does not fit comes as the text that was generated so far."""
    if tokens.count(answer.counted) <= most:
        return answer
    reasoning = tokens.cut(answer.reasoning or "", most) or None
    rest = most - tokens.count(reasoning or "")
    said = tokens.cut((answer.text or "") + "".join(map(_as_text, answer.calls)), rest)
    return Answer(text=said or None, reasoning=reasoning, finish="length")


def _refused(answer: Answer) -> Answer:  # noqa: ARG001 - whatever it was
    return Answer(refusal=REFUSAL)


def _cut(answer: Answer) -> Answer:
    return limit(answer, tokens.count(answer.counted) // 2)


def _malformed(answer: Answer) -> Answer:
    calls = tuple(replace(call, arguments=call.arguments[: len(call.arguments) // 2 + 1]) for call in answer.calls)
    return replace(answer, calls=calls)


def _calls_as_text(answer: Answer) -> Answer:
    if not answer.calls:
        return answer
    return replace(answer, text="".join(map(_as_text, answer.calls)), calls=(), finish="stop")


def _thinking_aloud(answer: Answer) -> Answer:
    return replace(answer, text=f"<think>\nI think.\n</think>\n\n{answer.text}") if answer.text else answer


def _swallowed(answer: Answer) -> Answer:
    return Answer(reasoning=answer.text) if answer.text else answer


def _as_text(call: Call) -> str:
    """A call in the markup that qwen and hermes models generate."""
    try:
        arguments = json.loads(call.arguments)
    except ValueError:
        arguments = call.arguments
    return f"<tool_call>\n{json.dumps({'name': call.name, 'arguments': arguments})}\n</tool_call>"


_CHANGES: Final[Mapping[Kind, Callable[[Answer], Answer]]] = {
    Kind.REFUSE: _refused,
    Kind.CUT: _cut,
    Kind.MALFORMED_TOOL_CALL: _malformed,
    Kind.TOOL_AS_TEXT: _calls_as_text,
    Kind.THINK_IN_CONTENT: _thinking_aloud,
    Kind.EMPTY_CONTENT: _swallowed,
}
