"""Printed against expected output: what agrees, how, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.code.outputs import agreement

WORDS = st.lists(st.text(alphabet="abcxyz0123456789.-", min_size=1, max_size=6), max_size=12)


@pytest.mark.parametrize(
    ("printed", "expected", "how"),
    [
        ("3\n", "3", "exact"),
        ("3", "3\n\n", "exact"),
        ("1 2 \n3\t\n", "1 2\n3\n", "exact"),
        ("a\r\nb\r\n", "a\nb\n", "exact"),
        ("", "", "exact"),
        ("\n \n", "", "exact"),
        ("1\n2\n", "1 2\n", "tokens"),
        ("  1", "1", "tokens"),
        ("a\n\nb", "a\nb", "tokens"),
        ("0.3333333", "0.33333333", "float"),
        ("1000000.5", "1000000.0", "float"),
        ("2", "2.0", "float"),
        ("1e3", "1000.0", "float"),
        ("-0.0", "0.0", "float"),
        ("x 0.5000001", "x 0.5", "float"),
        ("0.33333", "0.33334", None),
        ("2.0", "2", None),
        ("1000001", "1000000", None),
        ("100000000", "100000001", None),
        ("+3", "3", None),
        ("yes", "YES", None),
        ("1 2", "1 2 3", None),
        ("1 2 3", "1 2", None),
        ("", "0", None),
        ("0", "", None),
        ("nan", "nan", "exact"),
        ("nan", "0.5", None),
        ("inf", "1e999", None),
        ("1e999", "2e999", None),
        ("0x1p3", "8.0", None),
        ("1_0.0", "10.0", None),
        ("\u0661.0", "1.0", None),
    ],
)
def test_what_agrees_with_what(printed: str, expected: str, how: str | None) -> None:
    assert agreement(printed, expected) == how


def test_the_tolerance_is_a_millionth_of_the_expected_number_or_of_one() -> None:
    assert agreement("0.0000009", "0.0") == "float"
    assert agreement("0.0000011", "0.0") is None
    assert agreement("2000000000000.0", "2000000000001.5") == "float"
    assert agreement("1.0000021", "1.0") is None


@given(words=WORDS)
def test_a_text_agrees_with_itself_however_it_is_laid_out(words: list[str]) -> None:
    assert agreement("\n".join(words), "\n".join(words)) == "exact"
    assert agreement("\n".join(words), "  ".join(words)) in {"exact", "tokens"}


@given(words=WORDS, more=st.text(alphabet="abc123", min_size=1, max_size=3))
def test_a_token_too_many_or_too_few_never_agrees(words: list[str], more: str) -> None:
    assert agreement(" ".join([*words, more]), " ".join(words)) is None
    assert agreement(" ".join(words), " ".join([*words, more])) is None


@given(number=st.floats(-1e9, 1e9), off=st.floats(-1e-7, 1e-7))
def test_a_number_within_the_tolerance_agrees(number: float, off: float) -> None:
    assert agreement(f"{number + off:.9f}", f"{number:.9f}") is not None


@pytest.mark.parametrize(
    "hostile", ["\n" * (64 << 20), " " * (64 << 20) + "2", "1" * (64 << 20), "1 " * (32 << 20), "1\n\r" * (21 << 20)]
)
def test_an_output_at_its_limit_is_compared_in_passing(hostile: str) -> None:
    assert agreement(hostile, "1\n2\n3\n") is None
