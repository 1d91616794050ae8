"""One message in, one answer or one failure out. A failure is never sent as an answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from services.contract.a2a.contexts import ContextLimits, ContextRefused, ContextStore
from services.contract.a2a.server import Emitter, Incoming
from services.contract.assessment import (
    META_FAULT,
    META_MODEL,
    META_MODEL_CALLS,
    META_OUTCOME,
    META_SAMPLE,
    META_TRACE,
    META_USAGE,
)
from services.contract.outcomes import Outcome
from services.contract.secrets import redact
from services.purple_agent.answer import Answer, NoAnswer, Responder

log = structlog.get_logger()

ARTIFACT_REPLY: Final = "reply"
ARTIFACT_TOOL_CALLS: Final = "tool_calls"
LONGEST_SAMPLE: Final = 6
"""Digits."""
Begin = Callable[[int | None], Responder]


class Executor:
    """Answers messages, those of one context one at a time and in order. Implements `contract.a2a.server.Agent`."""

    def __init__(self, begin: Begin, *, limits: ContextLimits, emit_tool_calls: bool = False) -> None:
        """`begin` gets the number of the sample that the evaluator wants, None when it names none."""
        self._begin = begin
        self._contexts: ContextStore[Responder] = ContextStore(limits=limits)
        self._emit_tool_calls = emit_tool_calls

    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        """Answer one message; cancelled, it closes the model request."""
        if not incoming.text.strip():
            await out.rejected("the message has no text")
            return
        given = await self._answer(incoming)
        if isinstance(given, Answer):
            await self._send(given, out)
        else:
            await self._fail(given, out)

    async def cancel(self, task_id: str) -> None:
        """Nothing to prepare: the server cancels the handler, and with it the model request."""

    async def _answer(self, incoming: Incoming) -> Answer | NoAnswer:
        try:
            async with self._contexts.turn(incoming) as turn:
                responder = turn.state or self._begin(_sample(incoming.metadata))
                turn.state = responder
                given = await responder.answer(incoming.text)
                if isinstance(given, Answer):
                    turn.said(len(given.text.encode()) + sum(len(json.dumps(call)) for call in given.tool_calls))
                return given
        except ContextRefused as refusal:
            busy = str(refusal) == "busy"
            outcome = Outcome.INFRA_ERROR if busy else Outcome.AGENT_ERROR
            return NoAnswer(outcome=outcome, kind=str(refusal).replace(" ", "_"), message=str(refusal))

    async def _send(self, answer: Answer, out: Emitter) -> None:
        await out.artifact(ARTIFACT_REPLY, [answer.text])
        if self._emit_tool_calls and answer.tool_calls:
            # Opt-in, because other evaluators join all artifacts into the answer.
            await out.artifact(ARTIFACT_TOOL_CALLS, [json.dumps(answer.tool_calls, ensure_ascii=False)])
        await out.completed(answer.text if answer.repeated else "", metadata=_facts(answer) | _trace(answer))
        log.info("message_answered", characters=len(answer.text), tool_calls=len(answer.tool_calls))

    async def _fail(self, failure: NoAnswer, out: Emitter) -> None:
        message = redact(failure.message)
        whose = "infra" if failure.outcome is Outcome.INFRA_ERROR else "agent"
        text = json.dumps({"error": {"kind": whose, "code": failure.kind, "message": message}}, ensure_ascii=False)
        await out.failed(text, {META_OUTCOME: failure.outcome, META_FAULT: failure.kind, **_facts(failure)})
        log.warning("message_failed", outcome=failure.outcome, kind=failure.kind, reason=message)


def _sample(metadata: Mapping[str, str]) -> int | None:
    """The number, written as plain decimal digits; None for anything else, since any evaluator may send anything."""
    said = metadata.get(META_SAMPLE, "")
    plain = said.isascii() and said.isdigit() and len(said) <= LONGEST_SAMPLE and said == str(int(said))
    return int(said) if plain else None


def _facts(given: Answer | NoAnswer) -> dict[str, str]:
    """Usage and model as metadata; a baseline has neither."""
    facts: dict[str, str] = {}
    if given.usage is not None:
        facts[META_USAGE] = given.usage.model_dump_json()
    if given.model is not None:
        facts[META_MODEL] = given.model.model_dump_json()
    if given.model_calls is not None:
        facts[META_MODEL_CALLS] = given.model_calls.model_dump_json()
    return facts


def _trace(answer: Answer) -> dict[str, str]:
    """In the metadata, because other evaluators join all artifacts into the answer."""
    return {} if answer.trace is None else {META_TRACE: answer.trace.model_dump_json(exclude_defaults=True)}
