"""Whether it talks: one token, a stream, and the numbers beside the text (D03, D04, D14)."""

from __future__ import annotations

from typing import Final

from services.inference.doctor.asking import PING, THINK, Ask, Said, UnreadableError, user
from services.inference.doctor.exchange import Answer
from services.inference.doctor.subject import (
    Result,
    Subject,
    excerpt,
    failed,
    passed,
    refused,
    warned,
)

BUSY: Final = "the server turns requests away at this moment: lower the concurrency, or try later"
TOLERANCE: Final = 16
"""Tokens of the prompt that may go uncounted: what the model client leaves free."""
_FALSE_COUNTS: Final = (
    "usage and context would be wrong: is there a proxy that counts by itself, or another model's tokenizer?"
)
_NOT_GENERATING: Final = (
    "the server is alive but not generating: read the end of its log, restart it, and look for memory that is used up"
)


async def one_token(subject: Subject) -> Result:
    """D03: an answer of one token. Without sampling parameters, which hosted models of some kinds refuse."""
    payload = subject.payload(Ask(messages=user(PING), max_tokens=1, bare=True))
    answer = await subject.send(payload)
    if answer.status == 400 and "max_completion_tokens" in answer.text:
        renamed = {name: value for name, value in payload.items() if name != "max_tokens"}
        answer = await subject.send(renamed | {"max_completion_tokens": 16})
    if answer.status != 200:
        return _unanswered(answer)
    try:
        said = subject.speech.read(answer.body)
    except UnreadableError as error:
        return failed(f"HTTP 200, but no answer: {error}", _NOT_GENERATING)
    if said.fingerprint:
        subject.facts["system_fingerprint"] = said.fingerprint
    # A thought that is cut off before its first word shows in the count only.
    if not said.text and not said.completion_tokens:
        return failed(f"HTTP 200, but not one token (finish {said.finish})", _NOT_GENERATING)
    return passed(f"answers {excerpt(said.text)}")


def _unanswered(answer: Answer) -> Result:
    fault = refused(answer)
    cures = {
        400: "the server refuses a chat of one word: base models have no chat template, give one or serve a chat model",
        401: "give the key of this server with --api-key-file FILE; agents read OPENAI_API_KEY or ANTHROPIC_API_KEY",
        402: "the account has no credit left: pay, or use another key",
        403: "this key may not use the model: use another key",
        404: "the chat API or the model is not there: check the base URL and the name of the model",
    }
    if answer.status == 429:
        return warned(str(fault), BUSY)
    if answer.status < 400:
        return failed(
            str(fault), "the server sends questions elsewhere, and the key is not sent after: use that address"
        )
    return failed(str(fault), cures.get(answer.status, _NOT_GENERATING))


async def stream(subject: Subject) -> Result:
    """D04: the same words as a stream, with its end and its usage."""
    ask = Ask(messages=user(PING), max_tokens=min(256, subject.max_tokens))
    whole = await subject.said(ask)
    told, sent = await subject.streamed(ask)
    missing = [
        name for name, there in (("[DONE]", sent.done), ("usage chunk", told.prompt_tokens is not None)) if not there
    ]
    if missing:
        return failed(
            f"the stream has no {' and no '.join(missing)}",
            "a proxy that cuts streams, or an engine without stream_options: talk to the engine itself, or update it",
        )
    if not whole.text.strip():
        return failed(f"an empty answer, finish {whole.finish}: nothing to compare a stream with", _NOT_GENERATING)
    if _words(told) == _words(whole):
        return passed(f"{len(sent.chunks)} chunks say what the whole answer says")
    seen = f"streamed {excerpt(told.text)}, unstreamed {excerpt(whole.text)}"
    if told.text == whole.text or told.text.strip() in whole.text or whole.text.strip() in told.text:
        return failed(
            seen, "words are lost or change their field in the stream: update the engine, or use another parser"
        )
    return warned(seen, "the texts differ at temperature 0: see D15")


def _words(said: Said) -> tuple[str, str]:
    return (said.reasoning or "").strip(), (said.content or said.refusal or "").strip()


async def usage(subject: Subject) -> Result:
    """D14: counts are there, and the prompt's is what the tokenizer counts."""
    ask = Ask(messages=user(THINK), max_tokens=min(256, subject.max_tokens))
    said = await subject.said(ask)
    if said.prompt_tokens is None or said.completion_tokens is None:
        return failed(
            "no prompt_tokens or no completion_tokens in `usage`",
            "cost and context cannot be counted: update the engine",
        )
    seen = f"prompt {said.prompt_tokens}, answer {said.completion_tokens} tokens"
    if said.text and not (said.prompt_tokens > 0 and 0 < said.completion_tokens <= ask.max_tokens + TOLERANCE):
        return failed(f"{seen}, for {excerpt(said.text)} with max_tokens {ask.max_tokens}", _FALSE_COUNTS)
    counted = await _counted(subject, ask)
    if counted is None:
        return passed(f"{seen}; no /tokenize to compare with")
    if abs(counted - said.prompt_tokens) > TOLERANCE:
        return failed(f"{seen}; /tokenize counts {counted} for the prompt", _FALSE_COUNTS)
    return passed(f"{seen}; /tokenize counts {counted}")


async def _counted(subject: Subject, ask: Ask) -> int | None:
    body = await subject.tokenized(ask)
    count = None if body is None else body.get("count")
    return count if isinstance(count, int) else None
