import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.suites.interpolation import InterpolationError, interpolate, is_one_placeholder

VARIABLES = {"MODEL": "small", "EMPTY": "", "TRICK": "${MODEL}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${MODEL}", "small"),
        ("a ${MODEL} b ${MODEL}", "a small b small"),
        ("${MISSING:-large}", "large"),
        ("${MISSING:-}", ""),
        ("${MODEL:-large}", "small"),
        ("$$5 and $${MODEL}", "$5 and ${MODEL}"),
        ("5$ and $x", "5$ and $x"),
    ],
)
def test_placeholders_are_filled_and_dollars_kept(text: str, expected: str) -> None:
    assert interpolate(text, VARIABLES) == expected


def test_a_variable_that_is_set_and_empty_counts_as_set() -> None:
    assert interpolate("[${EMPTY:-default}]", VARIABLES) == "[]"


def test_a_filled_value_is_not_looked_at_again() -> None:
    assert interpolate("${TRICK}", VARIABLES) == "${MODEL}"


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(InterpolationError, match="the variable MISSING is not set"):
        interpolate("x ${MISSING}", VARIABLES)


@pytest.mark.parametrize("text", ["${", "${}", "${1A}", "${A B}", "${A:+x}", "${MODEL"])
def test_what_looks_like_a_placeholder_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(InterpolationError, match="write \\$\\$ for a dollar"):
        interpolate(text, VARIABLES)


def test_only_one_whole_placeholder_is_one() -> None:
    assert [is_one_placeholder(text) for text in ("${A}", "${A:-1}", " ${A}", "${A}${B}", "$$", "a")] == [
        True,
        True,
        False,
        False,
        False,
        False,
    ]


@given(st.text())
def test_escaped_text_comes_out_as_it_went_in(text: str) -> None:
    assert interpolate(text.replace("$", "$$"), {}) == text
