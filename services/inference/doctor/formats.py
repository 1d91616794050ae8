"""The form of answers: JSON by schema, thoughts apart from the answer, log probabilities (D10 to D12)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from services.contract.json_schema import conforms
from services.inference.doctor import cures
from services.inference.doctor.asking import HELLO, JUDGE, PING, THINK, VERDICT, Ask, Said, UnreadableError, user
from services.inference.doctor.exchange import parsed
from services.inference.doctor.subject import RefusedError, Result, Subject, excerpt, failed, passed, warned, worst

_NO_SCHEMAS: Final = (
    "the engine does not decode by a schema: judge and agents need one that does (vLLM, SGLang, TensorRT-LLM do, through"
    " response_format; guided_json is ignored silently)"
)
_MARKS: Final = ("<think>", "</think>")
_KEYS: Final = ("enable_thinking", "thinking")
"""Template variables that switch thinking; the preset knows which one this model has."""


async def schema(subject: Subject) -> Result:
    """D10: a JSON schema binds the answer, also where the model would say something else."""
    fault = worst(await asyncio.gather(*(_bound(subject, text) for text in (JUDGE, HELLO))))
    return fault or passed("valid, also where the model would say something else")


async def _bound(subject: Subject, text: str) -> Result | None:
    try:
        said = await subject.said(Ask(messages=user(text), max_tokens=subject.max_tokens, schema=VERDICT))
    except RefusedError as error:
        if not error.by_request:
            raise
        return failed(f"{excerpt(text)}: {error}", _NO_SCHEMAS)
    return _schema_fault(subject, said)


def _schema_fault(subject: Subject, said: Said) -> Result | None:
    if not (said.content or "").strip() and said.reasoning is not None and _fits(said.reasoning):
        return failed(f"the JSON comes in {said.reasoning_field}, content is null", cures.swallowed(subject))
    if said.content is not None and _fits(said.content):
        return None
    if said.finish == "length":
        return warned(
            f"cut off after {subject.max_tokens} tokens: {excerpt(said.content)}",
            cures.MORE_TOKENS,
        )
    if parsed(said.content or "") is None:
        return failed(f"response_format is ignored: {excerpt(said.content or said.refusal)}", _NO_SCHEMAS)
    return failed(f"JSON that does not fit the schema: {excerpt(said.content)}", _NO_SCHEMAS)


def _fits(text: str) -> bool:
    value = parsed(text)
    return value is not None and conforms(value, VERDICT)


async def reasoning(subject: Subject) -> Result:
    """D11: thoughts come in a field of their own and the answer in content, thinking on, off and by default."""
    keys = (subject.preset.template.thinking_key,) if subject.preset and subject.preset.template.thinking_key else _KEYS
    modes = (("default", PING), ("default", THINK), ("off", PING), ("off", THINK), ("on", THINK))
    answers = await asyncio.gather(*(_in_mode(subject, mode, text, keys) for mode, text in modes))
    seen: list[str] = []
    for (mode, _), said in zip(modes, answers, strict=True):
        if said is None:
            seen.append(f"{mode}: cannot be asked for")
        elif said.reasoning:
            subject.facts["reasoning_field"] = said.reasoning_field
            seen.append(f"{mode}: thoughts in {said.reasoning_field}")
    asked = zip(modes, answers, strict=True)
    fault = worst(_reasoning_fault(subject, said, mode) for (mode, _), said in asked if said is not None)
    return fault or passed("; ".join(dict.fromkeys(seen)) or "answers come without thoughts")


async def _in_mode(subject: Subject, mode: str, text: str, keys: Sequence[str]) -> Said | None:
    """None where the server does not let the mode be chosen."""
    template = None if mode == "default" else dict.fromkeys(keys, mode == "on")
    try:
        return await subject.said(Ask(messages=user(text), max_tokens=subject.max_tokens, template=template))
    except RefusedError as error:
        if mode == "default" or not error.by_request:
            raise
        return None


def _reasoning_fault(subject: Subject, said: Said, mode: str) -> Result | None:
    if any(mark in (said.content or "") for mark in _MARKS):
        return failed(f"thinking {mode}: thoughts in content: {excerpt(said.content)}", cures.reasoning_parser(subject))
    if (said.content or "").strip() or said.refusal or said.calls:
        return None
    if said.finish == "length":
        return warned(
            f"thinking {mode}: {subject.max_tokens} tokens were not enough to come to an answer",
            cures.MORE_TOKENS,
        )
    if said.reasoning:
        seen = f"thinking {mode}: content null, all of the answer in {said.reasoning_field}: {excerpt(said.reasoning)}"
        return failed(seen, cures.swallowed(subject))
    return failed(f"thinking {mode}: an empty answer, finish {said.finish}", cures.reasoning_parser(subject))


async def logprobs(subject: Subject) -> Result:
    """D12: log probabilities; nothing but some analyses needs them."""
    cure = "analyses by log probability are not possible here; vLLM and SGLang offer them"
    try:
        said = await subject.said(Ask(messages=user(PING), max_tokens=8, logprobs=True))
    except (RefusedError, UnreadableError) as error:
        return warned(str(error), cure)
    return passed("given for each token") if said.logprobs else warned("asked for, and ignored with HTTP 200", cure)
