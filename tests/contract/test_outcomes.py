import pytest

from services.contract.outcomes import POLICY, Outcome, infra_kind, is_error_text

ERRORS = [
    "Error during analysis: 402 Payment Required",
    "Error code: 402 - {'error': {'message': 'Insufficient credits'}}",
    "error code: 500",
    "\n  Traceback (most recent call last):\n  File ...",
    "litellm.BadRequestError: x",
    "APIConnectionError: Connection error.",
    "RateLimitError",
    "InternalServerError: x",
    "Analysis incomplete: maximum tool calls reached",
    "`Error code: 429`",
]
ANSWERS = [
    "Error analysis: the standard error is 2.1",
    "The program printed Error code: 402, so it failed.",
    "FINAL ANSWER: 3\nError code: 402",
    "",
    "Error code: none",
]
CLAIMS = [
    ("Error code: 429 - slow down", "http_429"),
    ("402 Payment Required", "http_402"),
    ("You exceeded your current quota", "quota"),
    ("This model's maximum context length is 4096 tokens", "context_overflow"),
    ("the engine is overloaded", "overloaded"),
    ("upstream said 503", "http_5xx"),
    ("connection refused", "unreachable"),
    ("Request timed out.", "timed_out"),
    ("I could not find the answer", None),
    ("item 4290 is missing", None),
]


@pytest.mark.parametrize("text", ERRORS)
def test_a_reply_that_begins_with_an_error_is_no_answer(text: str) -> None:
    assert is_error_text(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_that_speaks_of_errors_stays_an_answer(text: str) -> None:
    assert not is_error_text(text)


@pytest.mark.parametrize(("text", "kind"), CLAIMS)
def test_a_failure_text_tells_whether_the_fault_lies_below_the_agent(text: str, kind: str | None) -> None:
    assert infra_kind(text) == kind


def test_every_outcome_has_a_policy_and_only_final_ones_count() -> None:
    assert set(POLICY) == set(Outcome)
    assert all(policy.counts == policy.final for policy in POLICY.values())
