"""One number out of free text."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.numbers import Zone, clean, numbers_in, read_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("about 1234.5 dollars", 1234.5),
        ("In 2024 the growth was 12.5", 12.5),
        ("The growth was 12.5 in 2024.", 12.5),
        ("first I tried 7, FINAL ANSWER: 12.5\nthen noise 99", 12.5),
        ("answer_boxed{{101.25}}\ninterval_boxed{[100.24,102.26]}", 101.25),
        ('{"answer": "41.5977%"}', 0.415977),
        ("FY2024 EBITDA was $134.66B", 134_660_000_000),
        ("loss of ($1,250.75)", -1250.75),
        ("\u22123.2", -3.2),
        ("x = 1e-3", 0.001),
        ("12.5.", 12.5),
        ("ANSWER: 42.ANSWER: 42.", 42.0),
        ("\\boxed{-0.25}", -0.25),
        ("**FINAL ANSWER:** `4.38`", 4.38),
        ("FINAL ANSWER:\n 5.5", 5.5),
        ("4.38 \u00d7 10^-3", 0.00438),
        ("\uff11\uff12.5", 12.5),
        ("the result is 7 million", 7e6),
        ("25 bps", 0.0025),
        ("$-3.2", -3.2),
        ("1,234,567.89 USD", 1_234_567.89),
        ("the template opened it itself 7 </think> 3.5", 3.5),
        ("between 3-5", 5.0),
        ("3\u4e07", 30_000.0),
    ],
)
def test_the_number_a_text_gives_is_read(text: str, value: float) -> None:
    found = read_number(text)

    assert found is not None
    assert found.number.scaled == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no idea",
        "<think>42</think> I cannot say",
        "<think>42",
        ", ".join(map(str, range(1, 91))),
        "2,1,4,3",
        "\n".join(map(str, range(1, 91))),
        "| 1.5 | 2.5 | 3.5 |",
        "Q3 and 10-K, a 30-day note",
        "See table 4 and step 12",
        "1. first\n2. second",
        "in 2024",
        "9" * 400,
    ],
)
def test_what_is_no_answer_is_not_read(text: str) -> None:
    assert read_number(text) is None


def test_a_percent_sign_is_kept_so_that_both_readings_are_possible() -> None:
    (number,) = numbers_in("41.5977 %")

    assert (number.value, number.unit) == (41.5977, "%")


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("FINAL ANSWER: 1.5", Zone.FINAL_ANSWER),
        ("\u6700\u7ec8\u7b54\u6848\uff1a1.5", Zone.FINAL_ANSWER),
        ("\\boxed{1.5}", Zone.BOXED),
        ('{"Answer": 1.5}', Zone.JSON),
        ("so the result equals 1.5", Zone.CUE),
        ("it costs 1.5", Zone.WHOLE),
    ],
)
def test_the_zone_says_how_sure_the_reading_is(text: str, zone: Zone) -> None:
    found = read_number(text)

    assert found is not None
    assert (found.zone, found.number.value) == (zone, 1.5)
    assert found.explicit is (zone is not Zone.WHOLE)


def test_an_explicit_answer_beats_every_later_number() -> None:
    found = read_number("FINAL ANSWER: 12.5\n" + "99 " * 1000)

    assert found is not None
    assert found.number.value == 12.5


HOSTILE = [
    "1 " * 500_000,
    "1" * 1_000_000,
    "1" + ",111" * 250_000 + "1",
    "a" + "\u0300\u0316" * 400_000,
    "{" * 1_000_000,
    "{}" * 500_000,
    '{"answer":' * 100_000,
    "FINAL ANSWER: " * 70_000,
    "final " + " " * 1_000_000,
    "boxed{" * 150_000,
    "<think>" * 150_000,
    "-" * 1_000_000,
    "(1" * 500_000,
    "1e" * 500_000,
    "\u0661" * 1000 + "1e999 -1e999 " + "1" * 5000,
    "1 x 10^999",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_hostile_text_is_read_without_error(text: str) -> None:
    found = read_number(text)

    assert found is None or math.isfinite(found.number.value)


@given(st.text(max_size=300))
def test_any_text_is_read_without_error_and_gives_a_finite_number_or_none(text: str) -> None:
    found = read_number(text)

    assert found is None or math.isfinite(found.number.value)


@given(st.floats(min_value=-1e12, max_value=1e12).filter(lambda value: value == 0 or abs(value) > 1e-6))
def test_a_number_as_python_prints_it_is_read_back(value: float) -> None:
    found = read_number(f"FINAL ANSWER: {value!r}")

    assert found is not None
    assert found.number.value == value


@given(st.text(max_size=200))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean(text)

    assert clean(once.replace("`", "")).count("`") == 0
    assert "**" not in once


@pytest.mark.parametrize(
    ("text", "value", "zone"),
    [
        (r"$\boxed{41.6\%}$", 0.416, Zone.BOXED),
        (r"\boxed{1{,}234.5}", 1234.5, Zone.BOXED),
        (r"\boxed{1\,234.5}", 1234.5, Zone.BOXED),
        (r"\boxed{12.5\ \text{million}}", 12.5e6, Zone.BOXED),
        (r"\boxed{1.2 \times 10^{6}}", 1.2e6, Zone.BOXED),
        (r"FINAL ANSWER: $x = 7 \Rightarrow \boxed{12.5}$", 12.5, Zone.FINAL_ANSWER),
        (r'{"answer": "41.6\\%"}', 0.416, Zone.JSON),
        ("FINAL ANSWER: 1.2 \u00d7 10\u2076", 1.2e6, Zone.FINAL_ANSWER),
        ("FINAL ANSWER: 1.2 \u00d7 10\u207b\u00b9\u00b2", 1.2e-12, Zone.FINAL_ANSWER),
        ("FINAL ANSWER: 12.5 m\u00b2", 12.5, Zone.FINAL_ANSWER),
    ],
)
def test_a_number_is_read_in_the_ways_latex_and_raised_digits_write_it(text: str, value: float, zone: Zone) -> None:
    found = read_number(text)

    assert found is not None
    assert found.number.scaled == pytest.approx(value, rel=1e-12)
    assert found.zone is zone


@pytest.mark.parametrize(
    "text",
    [
        "Final answer:\n$$\n\\boxed{12.5}\n$$",
        "Final answer:\n\\[\n12.5\n\\]",
        'FINAL ANSWER:\n```json\n{"answer": 12.5}\n```',
        'FINAL ANSWER:\n{\n  "answer": 12.5\n}',
        "FINAL ANSWER: 12.5\n\nFINAL ANSWER:",
    ],
)
def test_a_line_of_markup_alone_marks_no_answer(text: str) -> None:
    found = read_number(text)

    assert found is not None
    assert found.number.value == 12.5


def test_a_fraction_in_a_box_is_not_read_as_its_numerator() -> None:
    found = read_number(r"\boxed{\frac{1}{2}}")

    assert found is None or not found.explicit
