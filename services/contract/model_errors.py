"""What an HTTP error of a model server means: its kind, whether to try again, and which parameter it rejects."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

RETRIED_STATUSES: Final = frozenset({408, 409, 429})
LONGEST_MESSAGE: Final = 20_000
"""Characters of an error that are read; some servers send a whole page, or the prompt."""


class HttpFault(Exception):  # noqa: N818 - the field's word
    """A request got no usable answer. `status` is None when there was none at all, 200 when it made no sense."""

    def __init__(
        self,
        status: int | None,
        message: str,
        *,
        code: str = "",
        param: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message[:LONGEST_MESSAGE])
        self.status = status
        self.message = message[:LONGEST_MESSAGE]
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Overflow:
    """A prompt that does not fit; sizes in tokens, None when the text does not say."""

    prompt_tokens: int | None
    limit: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultKind:
    """Stable name of a fault and what to do about it."""

    name: str
    retried: bool = False


# How servers say that prompt and answer exceed the context. Tested one by one; a new wording is a new line and a new test.
_OVERFLOWS: Final = tuple(
    re.compile(text, re.IGNORECASE)
    for text in (
        r"maximum context length",  # vLLM, SGLang, OpenAI, DeepSeek, OpenRouter
        r"model's context length",  # vLLM 0.16 and later, SGLang
        r"cannot be greater than max_model_len",  # vLLM 0.32, when max_tokens alone exceeds the context
        r"longer than the maximum model length",  # vLLM, prompt checks of the engine core
        r"exceeds? the context window",  # OpenAI, Responses
        r"exceed the configured limit of \d+ tokens",  # OpenAI
        r"prompt is too long",  # Anthropic
        r"exceed context limit",  # Anthropic
        r"prompt length.{0,80}(?:exceeds?|should not exceed) (?:maximum|max_)",  # TensorRT-LLM
        r"max_tokens must be at least 1, got -",  # vLLM, when the prompt alone fills the context
        r"default_max_tokens \(-?\d+\) should be greater than 0",  # TensorRT-LLM, likewise
    )
)
_OVERFLOW_CODES: Final = frozenset({"context_length_exceeded", "string_above_max_length"})
_TOKENS: Final = r"(?<!\d)(\d{1,12})(?!\d)"
"""A count; longer rows of digits are none, and would take a time that grows with their square."""
_LIMIT: Final = re.compile(
    r"(?:context length (?:is|of)(?: only)?|context length \(|maximum model length of|max_seq_len \(|maximum input length \(|"
    rf"configured limit of|max_model_len=(?:max_total_tokens=)?|>)\s*{_TOKENS}"
)
_PROMPTS: Final = tuple(
    map(
        re.compile,
        (
            rf"{_TOKENS}(?: tokens)? (?:input tokens|in the messages|in your prompt|from the input messages)",
            rf"resulted in {_TOKENS}",
            rf"prompt is too long: {_TOKENS}",
            rf"(?:input|prompt) \((?:length )?{_TOKENS}",
            rf"context limit: {_TOKENS}",
            rf"[Pp]rompt length \({_TOKENS}",
        ),
    )
)
_QUOTA_CODES: Final = frozenset({"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"})
_NO_CREDIT: Final = re.compile(r"credit balance is too low|insufficient (?:balance|credits?|funds)", re.IGNORECASE)
_UNSUPPORTED: Final = re.compile(
    r"unsupported|not supported|does not support|unknown|unrecognized|extra inputs are not permitted|deprecated|"
    r"cannot both be specified|unexpected",
    re.IGNORECASE,
)
_BOTH: Final = re.compile(r"cannot both be specified", re.IGNORECASE)
OPTIONAL_PARAMETERS: Final = ("top_k", "top_p", "seed", "temperature", "max_tokens", "max_completion_tokens")
"""What may be dropped when a model rejects it; a text that names two drops the first of these."""


def classify(fault: HttpFault) -> FaultKind:
    """The kind of a fault, and whether another try may help."""
    status, text = fault.status, fault.message
    if status is None:
        return FaultKind(name="connection", retried=True)
    if status == 402 or fault.code in _QUOTA_CODES or (400 <= status < 500 and _NO_CREDIT.search(text)):
        return FaultKind(name="payment")
    if status in {401, 403}:
        return FaultKind(name="auth")
    if status == 404:
        return FaultKind(name="model_missing")
    if overflow(fault) is not None:
        return FaultKind(name="context_overflow")
    if status == 429:
        return FaultKind(name="rate_limited", retried=True)
    if status == 200 or status >= 500 or status in RETRIED_STATUSES:
        return FaultKind(name="server", retried=True)
    return FaultKind(name="bad_request")


def overflow(fault: HttpFault) -> Overflow | None:
    """The sizes in a length error, or None when it is another error."""
    if fault.status not in {400, 413, 422}:
        return None
    if fault.code not in _OVERFLOW_CODES and not any(text.search(fault.message) for text in _OVERFLOWS):
        return None
    limit = _LIMIT.search(fault.message)
    prompt = next((found for pattern in _PROMPTS if (found := pattern.search(fault.message))), None)
    return Overflow(prompt_tokens=int(prompt[1]) if prompt else None, limit=int(limit[1]) if limit else None)


def rejected_parameter(fault: HttpFault, sent: Collection[str]) -> str | None:
    """Which of the sent parameters the model does not know, or None when the error is about something else.

    A value out of range is an error of the caller, not of the parameter, and is reported as it is.
    """
    if fault.status not in {400, 422} or not (
        _UNSUPPORTED.search(fault.message) or fault.code.startswith("unsupported")
    ):
        return None
    if fault.param in sent and not _BOTH.search(fault.message):
        return fault.param
    named = (name for name in OPTIONAL_PARAMETERS if re.search(rf"\b{name}\b", fault.message))
    return next((name for name in named if name in sent), None)
