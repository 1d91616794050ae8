"""What HTTP errors mean, wording by wording."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.model_errors import LONGEST_MESSAGE, HttpFault, Overflow, classify, overflow, rejected_parameter
from services.contract.model_http import fault_of, retry_after_s

OVERFLOWS = [
    # vLLM, from old to new
    (
        (
            "This model's maximum context length is 16384 tokens. However, you requested 19591 tokens (9591 in the messages, "
            "10000 in the completion). Please reduce the length of the messages or completion."
        ),
        9591,
        16384,
    ),
    (
        (
            "This model's maximum context length is 2048 tokens. However, your request has 3000 input tokens. Please reduce the "
            "length of the input messages."
        ),
        3000,
        2048,
    ),
    (
        (
            "This model's maximum context length is 2048 tokens. However, your request has 8 input tokens plus 2045 'max_tokens'."
            " Please reduce one or the other."
        ),
        8,
        2048,
    ),
    (
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum context length is 4096 tokens and "
            "your request has 100 input tokens (5000 > 4096 - 100)."
        ),
        100,
        4096,
    ),
    (
        (
            "You passed 3000 input tokens and requested 100 output tokens. However, the model's context length is only 2048"
            " tokens, resulting in a maximum input length of 1948 tokens."
        ),
        3000,
        2048,
    ),
    ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 5000, 4096),
    ("max_tokens must be at least 1, got -186.", None, None),
    ("max_tokens=5000 cannot be greater than max_model_len=2048", None, 2048),
    (
        (
            "max_completion_tokens=5000 cannot be greater than max_model_len=max_total_tokens=2048. Please request fewer output "
            "tokens."
        ),
        None,
        2048,
    ),
    # SGLang
    ("The input (61709 tokens) is longer than the model's context length (40960 tokens).", 61709, 40960),
    (
        (
            "Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total of 40000 "
            "tokens: 35000 tokens from the input messages and 5000 tokens for the completion."
        ),
        35000,
        32768,
    ),
    # TensorRT-LLM
    (
        "The sum of prompt length (40000.0), query length (0) and max_new_tokens should not exceed max_seq_len (32768)",
        40000,
        32768,
    ),
    ("Prompt length (5056) exceeds maximum input length (2048).", 5056, 2048),
    ("default_max_tokens (-12) should be greater than 0", None, None),
    # OpenAI, DeepSeek, OpenRouter
    (
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 202868 tokens.",
        202868,
        128000,
    ),
    (
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
        300000,
        272000,
    ),
    ("Your input exceeds the context window of this model. Please adjust your input and try again.", None, None),
    # Anthropic
    ("prompt is too long: 207791 tokens > 200000 maximum", 207791, 200000),
    (
        "input length and `max_tokens` exceed context limit: 178959 + 64000 > 200000, decrease input length",
        178959,
        200000,
    ),
]


@pytest.mark.parametrize(("message", "prompt_tokens", "limit"), OVERFLOWS)
def test_a_length_error_is_known_in_every_wording_and_gives_its_sizes(
    message: str, prompt_tokens: int | None, limit: int | None
) -> None:
    fault = HttpFault(400, message)

    assert classify(fault).name == "context_overflow"
    assert overflow(fault) == Overflow(prompt_tokens=prompt_tokens, limit=limit)


@pytest.mark.parametrize(
    "message", [f"maximum context length is {'9' * 5_000} tokens", f"maximum context length; {'9' * 1_000_000} tokens"]
)
def test_a_row_of_digits_that_is_no_count_is_no_size_and_costs_no_time(message: str) -> None:
    assert overflow(HttpFault(400, message)) == Overflow(prompt_tokens=None, limit=None)


def test_the_code_alone_marks_a_length_error() -> None:
    assert classify(HttpFault(400, "too long", code="context_length_exceeded")).name == "context_overflow"


@pytest.mark.parametrize(
    "message",
    [
        "max_tokens is too large: 50000. This model supports at most 16384 completion tokens.",
        "temperature must be non-negative",
        "messages: at least one message is required",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    ],
)
def test_other_errors_are_no_length_errors(message: str) -> None:
    assert classify(HttpFault(400, message)).name == "bad_request"


@given(st.sampled_from([None, 200, 307, *range(400, 600)]), st.text())
def test_every_fault_has_a_kind(status: int | None, message: str) -> None:
    assert classify(HttpFault(status, message)).name


@pytest.mark.parametrize(
    ("message", "param", "name"),
    [
        ("Unsupported value: 'temperature' does not support 0.0", "temperature", "temperature"),
        ("`temperature` is deprecated for this model", "", "temperature"),
        ("`temperature` and `top_p` cannot both be specified for this model.", "", "top_p"),
        ("seed: Extra inputs are not permitted", "", "seed"),
        ("Unknown parameter: 'top_k'.", "top_k", "top_k"),
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_tokens", "max_tokens"),
        ("temperature must be between 0 and 2", "temperature", None),
        ("Unsupported parameter: 'tools'", "tools", None),
        ("This model does not support images", "", None),
    ],
)
def test_a_rejected_parameter_is_named(message: str, param: str, name: str | None) -> None:
    sent = {"temperature", "top_p", "top_k", "seed", "max_tokens"}

    assert rejected_parameter(HttpFault(400, message, param=param), sent) == name


def test_a_parameter_that_was_not_sent_cannot_be_dropped() -> None:
    assert rejected_parameter(HttpFault(400, "Unknown parameter: 'top_k'", param="top_k"), {"seed"}) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 -0000"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 99999999999999999999 10:00:30 GMT"}, None),
        ({"retry-after": "inf"}, float("inf")),
        ({"retry-after": "nan"}, 0.0),
        ({"retry-after": "soon"}, None),
    ],
)
def test_the_wait_a_server_asks_for_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, now=datetime(2026, 11, 21, 10, tzinfo=UTC)) == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "m", "code": 400, "param": "p"}}', "m"),
        (b'{"object": "error", "message": "m"}', "m"),
        (b'{"error": "m"}', "m"),
        (b'{"detail": "m"}', '{"detail": "m"}'),
        (b"m", "m"),
        (b"\xff", "\N{REPLACEMENT CHARACTER}"),
        (b"", "HTTP 400 without a body"),
        (b"[]", "[]"),
        (b"[" * 30_000, "[" * LONGEST_MESSAGE),
    ],
)
def test_the_message_is_found_whatever_the_shape_of_the_body(body: bytes, message: str) -> None:
    assert fault_of(400, body, {}).message == message
