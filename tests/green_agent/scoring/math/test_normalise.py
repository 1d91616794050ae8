"""Normal forms: one spelling for the same answer, different ones for different answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.math.equivalence import matches
from services.green_agent.scoring.math.normalise import normalise


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (r"\boxed{3}", "3"),
        ("$3$.", "3"),
        (r"\(x\)", "x"),
        (r"\left( 1,\, 2 \right)", "(1,2)"),
        (r"\dfrac{1}{2}", r"\frac12"),
        (r"\tfrac 1 2", r"\frac{1}{2}"),
        (r"x \leq 2", r"x\le2"),
        (r"x\geqslant 2", r"x \ge 2"),
        (r"\text{5}", "5"),
        (r"\mathbf{5}", "5"),
        ("\N{MINUS SIGN}3", "-3"),
        ("1,000", "1000"),
        ("$12,345,678$.", "12345678"),
        (r"1{,}000", "1000"),
        (r"1\,000", "1000"),
        ("-1,000", "-1000"),
        ("x^2+y_1", "x^{2}+y_{1}"),
        ("2^10", "2^{10}"),
        (r"\sqrt3", r"\sqrt{3}"),
        (r"1,2,\dots,9", r"1, 2, \ldots, 9"),
        ("1,2,...,9", r"1,2,\cdots,9"),
        ("Odd $n$", "odd  n"),
        (r"n \text{ is prime}", "$n$ is prime."),
        (r"\{1, 2\}", r"\lbrace 1,2 \rbrace"),
        ("90°", r"90^\circ"),
    ],
)
def test_two_spellings_of_one_answer_match(left: str, right: str) -> None:
    assert matches(left, right)
    assert matches(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("R-2r", "r-2R"),
        ("1,00", "100"),
        ("1, 325", "1325"),
        ("(1,000)", "(1000)"),
        ("3 3", "33"),
        (r"\sqrt23", r"\sqrt{23}"),
        ("x^{12}", "x^{1}2"),
        ("odd $n$", "even $n$"),
        ("all $N$", "all $n$"),
        ("3", "-3"),
        ("3", ""),
        ("", ""),
        ("$", "$"),
        (r"\frac{1}{23}", r"\frac{12}{3}"),
    ],
)
def test_different_answers_do_not_match(left: str, right: str) -> None:
    assert not matches(left, right)


@given(st.text(alphabet=r"\frac{}^_$ x12().,sqrtlef", max_size=80))
def test_any_text_has_a_normal_form_that_is_its_own(text: str) -> None:
    once = normalise(text)

    assert normalise(text) == once
    assert matches(text, text) is bool(once.tokens)


@given(st.integers(0, 10**12))
def test_thousands_separators_of_a_whole_number_do_not_count(number: int) -> None:
    assert matches(f"{number:,}", str(number))


@pytest.mark.parametrize(
    "text",
    ["{" * 10_000, "\\text{" * 1_600, "^" * 10_000, r"\frac" * 2_000, "a" * 10_000, "\\sqrt[" * 1_500, " 1" * 5_000],
)
def test_a_long_hostile_answer_has_a_normal_form(text: str) -> None:
    assert len(normalise(text).tokens) <= 3 * len(text)
