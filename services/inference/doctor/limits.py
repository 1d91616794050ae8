"""What happens beyond the context: an error that the model client understands, never a text cut in silence (D13)."""

from __future__ import annotations

from typing import Final

from services.contract.model_errors import overflow
from services.inference.doctor.asking import PING, Ask, user
from services.inference.doctor.exchange import Answer
from services.inference.doctor.subject import Result, Subject, excerpt, failed, passed, refused, skipped, warned

_MARGIN: Final = 64
_LONGEST: Final = 4_000_000
"""Tokens; a prompt beyond a longer context is not sent."""
_NEW_WORDING: Final = (
    "the model client would call this a bad request: report the wording, so that it joins the table of"
    " contract/model_errors.py"
)


async def overflows(subject: Subject) -> Result:
    """D13: a prompt that is too long, then an answer that may be too long. Raises RefusedError when it is too early to ask."""
    limit = subject.served_len or (subject.preset.lengths.max_positions if subject.preset else None)
    if limit is None:
        return skipped("the length of the context is not known: give --preset")
    if limit > _LONGEST:
        return skipped(f"a context of {limit} tokens is too long to send a prompt beyond it")
    # No tokenizer makes one token of two words.
    words = " ".join([PING] * (limit + _MARGIN))
    prompt = await subject.send(subject.payload(Ask(messages=user(words), max_tokens=1)))
    if (fault := _fault(prompt, "a prompt beyond the context")) is not None:
        return fault
    if prompt.status == 200:
        return failed(
            f"a prompt of more than {limit} tokens is answered: it was cut in silence",
            "start the engine without truncation (SGLang: without --allow-auto-truncate)",
        )
    answer = await subject.send(subject.payload(Ask(messages=user(PING), max_tokens=limit + 1)))
    if (fault := _fault(answer, "max_tokens beyond the context")) is not None:
        return fault
    if answer.status == 200:
        return warned(
            f"max_tokens {limit + 1} is accepted: the engine lowers it in silence",
            "answers that are cut still say finish_reason length; the model client asks for no more than fits",
        )
    return passed(f"both are refused in words that the model client knows: {excerpt(refused(prompt).fault.message)}")


def _fault(answer: Answer, what: str) -> Result | None:
    if answer.status == 200:
        return None
    error = refused(answer)
    if overflow(error.fault) is not None:
        return None
    if answer.status == 429:
        raise error
    if answer.status in {400, 413, 422}:
        return failed(f"{what}: {excerpt(str(error), 200)}", _NEW_WORDING)
    return failed(
        f"{what}: expected HTTP 400, got {excerpt(str(error), 200)}",
        "the server breaks instead of refusing: read the end of its log, and update the engine or lower its limits",
    )
