"""Balanced brackets in free text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.structures import DEEPEST, balanced


def spans(text: str, opening: str) -> list[str]:
    return [text[start:end] for start, end in balanced(text, opening)]


@pytest.mark.parametrize(
    ("text", "opening", "found"),
    [
        ("a {b} c {d}", "{", ["{b}", "{d}"]),
        ("{a {b} c}", "{", ["{b}", "{a {b} c}"]),
        ('{"a": "}"}', "{", ['{"a": "}"}']),
        ('{"a": "\\"}"}', "{", ['{"a": "\\"}"}']),
        ("[1, [2]] {3}", "[", ["[2]", "[1, [2]]"]),
        ("[1, 2) and [3]", "[", ["[3]"]),
        ("} {a}", "{", ["{a}"]),
        ("{a", "{", []),
        ("", "{", []),
        ('{ an open " quote\n} {b}', "{", ['{ an open " quote\n}', "{b}"]),
    ],
)
def test_balanced_spans_are_found_inner_before_outer(text: str, opening: str, found: list[str]) -> None:
    assert spans(text, opening) == found


def test_what_is_nested_too_deeply_is_left_out() -> None:
    text = "[" * (DEEPEST + 3) + "]" * (DEEPEST + 3)

    assert max(map(len, spans(text, "["))) == 2 * DEEPEST


@given(st.text(alphabet='{}[]"\\\n a', max_size=80), st.sampled_from("{["))
def test_every_span_begins_and_ends_with_its_brackets(text: str, opening: str) -> None:
    closing = {"{": "}", "[": "]"}[opening]

    assert all(span[0] == opening and span[-1] == closing for span in spans(text, opening))
