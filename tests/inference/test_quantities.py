from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.reference_engine.quantities import Quantity, read


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        (Quantity.SPOT, "The stock trades at 175.50 USD.", 175.5),
        (Quantity.SPOT, "S = 120, K = 125", 120),
        (Quantity.SPOT, "spot price of $1,234.50", 1234.5),
        (Quantity.SPOT, "With the share at 396.37 USD and a strike of 400", 396.37),
        (Quantity.STRIKE, "S = 120, K = 125", 125),
        (Quantity.SPOT, "S 120 K 125 r 4.5", 120),
        (Quantity.SPOT, "an index at 5.2k", 5200),
        (Quantity.STRIKE, "a call struck at 180 USD", 180),
        (Quantity.STRIKE, "Strike price (K): $95", 95),
        (Quantity.RATE, "a risk-free rate (continuously compounded) of 4.5 %", 0.045),
        (Quantity.RATE, "a 4.5% interest rate and 1.2% dividend yield", 0.045),
        (Quantity.RATE, "money costs 5.35 %", 0.0535),
        (Quantity.RATE, "r = 0.05", 0.05),
        (Quantity.RATE, "the rate is 50 bp", 0.005),
        (Quantity.DIVIDEND, "a 4.5% interest rate and 1.2% dividend yield", 0.012),
        (Quantity.DIVIDEND, "The share costs 120 USD, yields 2.87 % and pays in May", 0.0287),
        (Quantity.VOLATILITY, "implied volatility is 32 %", 0.32),
        (Quantity.VOLATILITY, "moves with 55.47 % annual volatility", 0.5547),
        (Quantity.VOLATILITY, "volatility 25", 0.25),
        (Quantity.PRICE, "A call with strike 418.00 USD and 209 days to expiry trades at 58.64 USD.", 58.64),
        (Quantity.PRICE, "The market pays 58.64 USD for the put.", 58.64),
        (Quantity.DAYS, "60 days to expiry", 60),
        (Quantity.DAYS, "a 45-day put", 45),
        (Quantity.DAYS, "in 0.5 years", 182),
        (Quantity.DAYS, "On 2026-01-10 an option that expires on 2026-03-11", 60),
        (Quantity.DAYS, "priced on 10 January 2026, expiring 11 March 2026", 60),
        (Quantity.YEARS, "T = 0.25", 0.25),
        (Quantity.YEARS, "73 days", 0.2),
        (Quantity.OPTION_TYPE, "Price the puts.", "put"),
        (Quantity.STYLE, "an American option", "american"),
        (Quantity.TICKER, "Apple (AAPL) reported", "AAPL"),
        (Quantity.TICKER, "ticker: MSFT", "MSFT"),
        (Quantity.EXPRESSION, "What is 12 * (3 + 4)?", "12 * (3 + 4)"),
    ],
)
def test_a_quantity_is_read_from_prose(quantity: Quantity, text: str, value: float | str) -> None:
    assert read(quantity, text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        (Quantity.VOLATILITY, "Which volatility does a 209-day call imply?"),
        (Quantity.DIVIDEND, "dividend yield continuously compounded, T = days / 365"),
        (Quantity.STRIKE, "three strikes and you are out"),
        (Quantity.DAYS, "expires on 2026-03-11"),
        (Quantity.TICKER, "an IPO"),
    ],
)
def test_a_text_that_does_not_say_gives_none(quantity: Quantity, text: str) -> None:
    assert read(quantity, text) is None


@given(st.sampled_from(Quantity), st.text())
def test_any_text_can_be_read(quantity: Quantity, text: str) -> None:
    value = read(quantity, text)

    assert value is None or isinstance(value, float | str)
