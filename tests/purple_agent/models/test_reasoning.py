"""What remains of a reply once the thinking is taken out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.purple_agent.models.reasoning import without_reasoning


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("42", "42"),
        ("<think>6 x 7</think>\n\n42", "42"),
        ("<thinking>a</thinking>4<THINK>b</THINK>2", "42"),
        ("6 x 7 is</think>42", "42"),
        ("<think>6 x 7 is", ""),
        ("<think>6 x 7</think>", ""),
        ("  \n", ""),
        ("if a < b: think", "if a < b: think"),
    ],
)
def test_only_the_answer_remains(reply: str, answer: str) -> None:
    assert without_reasoning(reply) == answer


@given(thought=st.text(alphabet="abc \n123", max_size=50), answer=st.text(alphabet="xyz \n456", max_size=50))
def test_a_leading_block_never_changes_the_answer_behind_it(thought: str, answer: str) -> None:
    assert without_reasoning(f"<think>{thought}</think>{answer}") == answer.strip()
