"""Tool calls: forced and by the model's own choice, whole and streamed, and the turn after the result (D05 to D09)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from services.contract.json_schema import conforms
from services.contract.model_call import ChatMessage, ToolCall
from services.inference.doctor import cures
from services.inference.doctor.asking import HELLO, QUOTE, TICKER, TOOL, Ask, Said, ToolChoice, user
from services.inference.doctor.subject import (
    RefusedError,
    Result,
    Subject,
    excerpt,
    failed,
    passed,
    warned,
    worst,
)

Cure = Callable[[Subject], str]

_CALL_ID: Final = "call_0123456789abcdef01234567"
"""As long as engines make them: some templates take nine characters only."""
_NO_IDS: Final = "a tool's result cannot be told from another's: update the engine, or use another tool parser"
_UPDATE: Final = "streamed calls lose or change their pieces: update the engine, or use another tool parser"


async def forced(subject: Subject) -> Result:
    """D05: a tool that is named, and any tool where one is required. No model says hello by a call of its own."""
    found = await asyncio.gather(*(_fault(subject, ask, cures.forced_tool) for ask in _forced(subject)))
    return _of_forced(found, "") or passed("a named and a required tool are called with valid arguments")


async def forced_stream(subject: Subject) -> Result:
    """D06: the same as streams."""
    found = await asyncio.gather(*(_stream_fault(subject, ask, cures.forced_tool) for ask in _forced(subject)))
    return _of_forced(found, ", streamed") or passed("streamed as unstreamed")


async def automatic(subject: Subject) -> Result:
    """D07: a call the model decides on."""
    fault = await _fault(subject, _ask(subject, QUOTE, "auto"), cures.tool_parser)
    return fault or passed("the tool is called with valid arguments")


async def automatic_stream(subject: Subject) -> Result:
    """D08: the same as a stream."""
    fault = await _stream_fault(subject, _ask(subject, QUOTE, "auto"), cures.tool_parser)
    return fault or passed("streamed as unstreamed")


async def result_turn(subject: Subject) -> Result:
    """D09: the call and its result go back, the assistant's content is null."""
    try:
        calls = (await subject.said(_ask(subject, QUOTE, "auto"))).calls
    except RefusedError:
        calls = ()
    call = ToolCall(id=(calls[0].id if calls else "") or _CALL_ID, name=TOOL, arguments='{"ticker": "ABC"}')
    messages = (
        *user(QUOTE),
        ChatMessage(role="assistant", content=None, tool_calls=(call,)),
        ChatMessage(role="tool", content="101.5", tool_call_id=call.id),
    )
    try:
        said = await subject.said(Ask(messages=messages, max_tokens=subject.max_tokens, tools=True))
    except RefusedError as error:
        if not error.by_request:
            raise
        if "enable-auto-tool-choice" in str(error):
            return failed(str(error), cures.refused_call(subject, str(error)))
        return failed(
            str(error),
            "the chat template cannot render a call and its result: use the template file for tools that belongs to this model"
            " (vLLM: --chat-template FILE; Mistral models: --tokenizer-mode mistral)",
        )
    if call.id in {again.id for again in said.calls}:
        return failed(f"two calls of one conversation have the id {excerpt(call.id)}", _NO_IDS)
    if not said.text and not said.calls:
        return failed("the answer after a tool's result is empty", cures.tool_parser(subject))
    return passed(f"answers {excerpt(said.content or said.text)}" if said.text else "calls again")


_FORCED: Final[Sequence[ToolChoice]] = ("named", "required")


def _forced(subject: Subject) -> list[Ask]:
    return [_ask(subject, HELLO, choice) for choice in _FORCED]


def _ask(subject: Subject, text: str, choice: ToolChoice) -> Ask:
    return Ask(messages=user(text), max_tokens=subject.max_tokens, tools=True, tool_choice=choice)


def _of_forced(found: Sequence[Result | None], how: str) -> Result | None:
    return worst(
        None if fault is None else replace(fault, seen=f"tool_choice {choice}{how}: {fault.seen}")
        for choice, fault in zip(_FORCED, found, strict=True)
    )


async def _fault(subject: Subject, ask: Ask, cure: Cure) -> Result | None:
    try:
        said = await subject.said(ask)
    except RefusedError as error:
        if not error.by_request:
            raise
        return failed(str(error), cures.refused_call(subject, str(error)))
    return _judged(subject, said, cure)


async def _stream_fault(subject: Subject, ask: Ask, cure: Cure) -> Result | None:
    if (fault := await _fault(subject, ask, cure)) is not None:
        return fault
    whole, (told, _) = await subject.said(ask), await subject.streamed(ask)
    if (fault := _judged(subject, told, cure)) is not None:
        return fault
    if _spoken(told) != _spoken(whole):
        return failed(f"streamed {_spoken(told)}, unstreamed {_spoken(whole)}", _UPDATE)
    return None


def _spoken(said: Said) -> list[tuple[str, object]]:
    return [(call.name, call.values) for call in said.calls]


def _judged(subject: Subject, said: Said, cure: Cure) -> Result | None:
    """What is wrong with the call in an answer; None when nothing is. The finish reason is not asked: engines differ."""
    if said.finish == "length" and not any(call.values is not None for call in said.calls):
        return warned(f"cut off after {subject.max_tokens} tokens, before there was a call", cures.MORE_TOKENS)
    if not said.calls:
        return failed(_instead(said), cure(subject))
    for call in said.calls:
        if call.name != TOOL:
            return failed(f"calls {call.name!r}, which is not on offer", cure(subject))
        if call.values is None:
            return failed(f"arguments are no JSON object: {excerpt(call.arguments)}", cure(subject))
        if not conforms(call.values, TICKER):
            return failed(f"arguments do not fit the strict schema: {excerpt(call.arguments)}", cure(subject))
    return _id_fault([call.id for call in said.calls])


def _id_fault(ids: Sequence[str]) -> Result | None:
    """A result goes back under the id of its call."""
    if all(ids) and len(set(ids)) == len(ids):
        return None
    return failed(f"calls without an id of their own: {excerpt(', '.join(ids))}", _NO_IDS)


def _instead(said: Said) -> str:
    """What came where a call was due."""
    words = said.content or ""
    if "<tool_call>" in words or (TOOL in words and "{" in words):
        return f"the call comes as text in content: {excerpt(words)}"
    if words:
        return f"no call; the model says {excerpt(words)}"
    if said.refusal:
        return f"no call; the model refuses: {excerpt(said.refusal)}"
    if said.reasoning:
        return f"no call; all of the answer is in {said.reasoning_field}: {excerpt(said.reasoning)}"
    generated = "" if said.completion_tokens is None else f", though {said.completion_tokens} tokens were generated"
    return f"the call is lost: content null, no tool call, finish {said.finish}{generated}"
