"""Keeps the trace of an answer small enough to be sent: an evaluator that refuses a large reply would lose the answer with it."""

from __future__ import annotations

import json
from typing import Final

import structlog

from services.contract.conversation import Iteration, Trace

log = structlog.get_logger()

MOST_BYTES: Final = 3_000_000
"""On the wire. An evaluator reads events of up to 4 MiB (`contract.a2a.reply.REPLY_BYTES`), and the answer travels before it."""


def bounded(trace: Trace, *, most_bytes: int = MOST_BYTES) -> Trace | None:
    """The trace with as many reports as fit; the oldest are left out first, with a note in their place.

    None when the solutions alone are too large: a trace with holes among them would tell of another chain.
    """
    size = _size(trace.model_dump_json(exclude_defaults=True))
    if size <= most_bytes:
        return trace
    steps: list[Iteration] = []
    for step in trace.iterations:
        short = _without_words(step) if size > most_bytes else step
        size -= _size(step.report) + _size(step.decision) - _size(short.report) - _size(short.decision)
        steps.append(short)
    log.warning("trace_shortened", size=size, most=most_bytes, sent=size <= most_bytes)
    return trace.model_copy(update={"iterations": tuple(steps)}) if size <= most_bytes else None


def _without_words(step: Iteration) -> Iteration:
    words = len(step.report) + len(step.decision)
    note = f"[{words} characters left out: the trace would be too large]"
    return step if words <= len(note) else step.model_copy(update={"report": note, "decision": ""})


def _size(text: str) -> int:
    """Bytes of a text inside the JSON that is inside the JSON of an event, every character beyond ASCII escaped."""
    return len(json.dumps(json.dumps(text)))
