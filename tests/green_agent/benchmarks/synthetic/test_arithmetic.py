"""Printed calculations in interval arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.benchmarks.synthetic.arithmetic import broken_equalities, printed_numbers


def test_the_published_division_fails_between_the_bounds_of_the_specification() -> None:
    (broken,) = broken_equalities("PV of Option B = $12,500 / 1.2597 = $9,924.85")

    assert broken.text == "$12,500 / 1.2597 = $9,924.85"
    assert broken.left.low == pytest.approx(9922.60, abs=0.005)
    assert broken.left.high == pytest.approx(9923.40, abs=0.02)
    assert (broken.right.low, broken.right.high) == pytest.approx((9924.845, 9924.855))


@pytest.mark.parametrize(
    "step",
    [
        "1,000 / 3 = 333.3",
        "$50 / 0.06 = $833.33",
        "New price = $2,500,000 / 150,000 = $16.67 per share",
        "FCFF = $10M \u00d7 (1 - 0.25) + $2M - $3M - $1M = $5.5M",
        "P = 8 + 95*e^(-0.05) - 100 = 8 + 90.37 - 100 = -1.63",
        "p = 0.20 / 0.35 = 0.5714 or 57.14%",
        "YTM: (1000/680)^(1/5) - 1 = 8.02%",
        "% Change = ($833.33 - $1,000) / $1,000 = -16.67%",
        "Option A is better by $10,000 - $9,924.85 = $75.15",
        "5 - 3 x 2 = -1",
        "10% = 0.10",
        "a wholesale of 2 million + 500 thousand = 2.5 million",
    ],
)
def test_a_calculation_that_rounds_as_printed_holds(step: str) -> None:
    assert broken_equalities(step) == []


@pytest.mark.parametrize(
    "step",
    [
        "2 + 2 = 5",
        "NPV = 100 / 1.10 = 99.5 USD",
        "w = 3 / 4 = 57%",
        "Total of all parts is 10 + 20 = 31",
        "x = 5 \u00d7 (2 + 1) = 16, which is fine",
        "so 2^3 = 9",
        "6 / 2 = 3 = 5",
        "$1.5M - $1M = $0.3M",
        "-3 + 1 = 2",
    ],
)
def test_a_calculation_that_cannot_hold_is_found(step: str) -> None:
    assert len(broken_equalities(step)) == 1


@pytest.mark.parametrize(
    "step",
    [
        "Invests this + own $3M = $5M in shares",
        "10% of Firm A equity = $5M investment",
        "6. Profit = €937,500 - €936,364 = €1,136 = $1,272 at 1.12",
        "w_X * 1.2 + 0.4 * 0.8 = 1.0",
        "20w + 5 - 5w = 15",
        "150,000(1+r) = 180,000",
        "w = 1.5 (150% in stock, meaning -50% in risk-free = borrowing)",
        "fair 1.12 <= 1.13 == 1.14",
        "1 / 0.0 = 5",
        "0.0 / 0.0 = 5",
        "9^9^9^9 = 1",
        "(" * 500 + "1" + ")" * 500 + " = 2",
        "= = =",
        "3-for-2 split of 10 = 15 shares",
        "2 = 3x",
        "5 = 4 + y",
    ],
)
def test_what_is_not_plainly_a_calculation_is_left_undecided(step: str) -> None:
    assert broken_equalities(step) == []


@given(
    first=st.floats(0.5, 9999).map(lambda value: round(value, 2)),
    second=st.floats(0.5, 9999).map(lambda value: round(value, 2)),
    decimals=st.integers(0, 4),
    sign=st.sampled_from("+-*/"),
)
def test_a_right_result_is_never_accused(first: float, second: float, decimals: int, sign: str) -> None:
    result = {"+": first + second, "-": first - second, "*": first * second, "/": first / second}[sign]

    assert broken_equalities(f"x = {first:,.2f} {sign} {second:,.2f} = {result:,.{decimals}f}") == []


@given(first=st.integers(1, 99999), second=st.integers(1, 99999), off=st.integers(1, 1000))
def test_a_wrong_sum_of_integers_is_always_found(first: int, second: int, off: int) -> None:
    assert len(broken_equalities(f"{first:,} + {second:,} = {first + second + off:,}")) == 1


@given(st.text(alphabet="0123456789.,=+-*/^()% $€KMx=e a", max_size=300))
def test_no_text_raises(text: str) -> None:
    broken_equalities(text)
    printed_numbers(text)


def test_numbers_are_read_with_scale_unit_and_currency_and_words_are_none() -> None:
    found = [
        (n.value, n.scale, n.unit, n.currency)
        for n in printed_numbers("FY2024: $134.66B, 57.14%, 1.5x, 5.5 million, D1")
    ]

    assert found == [(134.66, 1e9, "", "$"), (57.14, 0.01, "%", ""), (1.5, 1.0, "x", ""), (5.5, 1e6, "", "")]
