"""The answer in a reply: the last box, else the final answer, else none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.math.extraction import extract


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        (r"Thus $\boxed{42}$.", "42"),
        (r"First \boxed{1}, no: \boxed{2}", "2"),
        (r"\boxed{\frac{1}{\sqrt{2}}} is it", r"\frac{1}{\sqrt{2}}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\boxed{5}}", r"\boxed{5}"),
        (r"Good: \boxed{3}. Cut off: \boxed{\frac{1}{2", "3"),
        ("Final answer: 17", "17"),
        ("**Final answer:** $x=3$\n\nThanks for the question.", "$x=3$"),
        ("final answer: 1\nOn second thought.\nFinal Answer: 2", "2"),
        (r"Final answer: 4, that is \boxed{5}", "5"),
        (r"\boxed{} Final answer: 6", "6"),
        (r"<think>\boxed{1}</think> Final answer: 2", "2"),
        (r"I think \boxed{1}</think>The result is \boxed{2}", "2"),
        (r"stray } and { braces, \boxed{8}", "8"),
    ],
)
def test_the_answer_of_a_reply_is_found(reply: str, answer: str) -> None:
    assert extract(reply) == answer


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "The answer is 3.",
        r"\boxed{",
        r"\boxed{1",
        "Final answer:",
        r"<think>\boxed{3}",
        r"\boxed{ }",
        r"Final answer: \boxed{}",
        r"**Final answer:** $\boxed{ \boxed{} }$.",
        r"Final answer: \boxed{...}",
    ],
)
def test_a_reply_without_an_answer_has_none(reply: str) -> None:
    assert extract(reply) is None


@pytest.mark.parametrize(
    "reply",
    [
        r"\boxed{" * 30_000,
        r"\boxed" + " " * 200_000,
        "{" * 200_000 + "}" * 200_000,
        "final answer" + " " * 200_000,
        "final answer:" * 20_000,
        "\\" * 200_001,
        r"\boxed{" * 50_000 + "}" * 50_000,
    ],
)
def test_a_hostile_reply_of_200_000_characters_is_read_in_one_pass(reply: str) -> None:
    # A quadratic search would take hours; the limit of the whole suite is the watch.
    found = extract(reply)

    assert found is None or len(found) <= len(reply)


@given(st.text(alphabet="\\boxed{}1 $", max_size=60))
def test_a_balanced_box_at_the_end_is_always_the_answer(before: str) -> None:
    assert extract(before + "\n" + r"\boxed{99}") == "99"


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(reply: str) -> None:
    found = extract(reply)

    assert found is None or found.strip() == found
