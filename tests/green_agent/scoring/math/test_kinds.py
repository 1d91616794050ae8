"""What sort of thing an answer is, and whether words speak in it."""

import pytest

from services.green_agent.scoring.math.kinds import Kind, comparable, form_of, is_prose
from services.green_agent.scoring.math.normalise import normalise


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("3", Kind.SCALAR),
        (r"\frac{pq}{p+q}", Kind.SCALAR),
        ("f(x)", Kind.SCALAR),
        ("(n-1)(n-2)", Kind.SCALAR),
        ("(x+1)", Kind.SCALAR),
        ("1, 2, 3", Kind.LIST),
        ("(1,2), (2,1)", Kind.LIST),
        ("n=2k, n=3k", Kind.LIST),
        (r"\{1,2\}", Kind.SET),
        (r"\{1\}", Kind.SET),
        ("(1,2)", Kind.ROUND),
        ("(4, 1, 2)", Kind.ROUND),
        ("[-6,5]", Kind.SQUARE),
        (r"(-\infty, 0]", Kind.LEFT_OPEN),
        ("[0, 1)", Kind.RIGHT_OPEN),
        (r"0 < k \le \frac{4}{9}", Kind.RELATION),
        (r"x\ge 2", Kind.RELATION),
        ("x=3", Kind.EQUATION),
        ("f(x,y)=xy", Kind.EQUATION),
        ("a_{ij}=i+j", Kind.EQUATION),
        ("3a^2-b^2=3", Kind.IDENTITY),
        ("6=5", Kind.IDENTITY),
        (r"50\%", Kind.PERCENT),
        (r"(-\infty,0)\cup\{\frac{1}{2}\}", Kind.UNION),
        ("x=6=5", Kind.STATEMENT),
        (r"1,2,\ldots,1235", Kind.STATEMENT),
        (r"\{(a,b): ab\le e^3\}", Kind.STATEMENT),
        (r"\{x \mid x > 1\}", Kind.STATEMENT),
        (r"5\pm 1", Kind.STATEMENT),
        (r"n\equiv 1\pmod 4", Kind.STATEMENT),
        ("(1,2", Kind.STATEMENT),
        ("1,,2", Kind.STATEMENT),
        ("", Kind.STATEMENT),
        ("[5]", Kind.STATEMENT),
        ("(" * 5_000 + ")" * 5_000, Kind.STATEMENT),
    ],
)
def test_the_kind_of_an_answer_is_found(text: str, kind: Kind) -> None:
    assert form_of(normalise(text)).kind is kind


@pytest.mark.parametrize(
    "text", ["pq", "XZ", "Rr", r"\frac{a\sqrt{19}}{2}", r"\underbrace{2}_{n}", "abcd", r"\max(2,3)", "3n"]
)
def test_a_product_of_letters_is_no_prose(text: str) -> None:
    assert not is_prose(normalise(text))


@pytest.mark.parametrize(
    "text",
    [
        "odd $n$",
        r"n \text{ is prime}",
        "3 cm",
        "No solutions",
        "x if y",
        "all n",
        "abcde",
        r"\begin{cases}1\end{cases}",
    ],
)
def test_words_make_prose(text: str) -> None:
    assert is_prose(normalise(text))


def test_kinds_agree_with_themselves_and_with_one_other_at_most() -> None:
    pairs = {(left, right) for left in Kind for right in Kind if left is not right and comparable(left, right)}

    assert all(comparable(kind, kind) for kind in Kind)
    assert pairs == {
        (Kind.LIST, Kind.SET),
        (Kind.SET, Kind.LIST),
        (Kind.SCALAR, Kind.EQUATION),
        (Kind.EQUATION, Kind.SCALAR),
    }
