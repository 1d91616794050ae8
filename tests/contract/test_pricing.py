"""Reference prices against formulas written down a second time."""

import math
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.pricing import Kind, OptionQuote, Style, implied_volatility, price_option
from tests.support.closed_form import american_put_tree, european


def european_quote(kind: Kind, **terms: float) -> OptionQuote:
    return price_option(kind=kind, style="european", **terms)


def american_quote(kind: Kind, **terms: float) -> OptionQuote:
    return price_option(kind=kind, style="american", **terms)


VECTOR = {"spot": 120.0, "strike": 125.0, "rate": 0.045, "dividend_yield": 0.012, "volatility": 0.32, "days": 60}


def test_the_published_call_and_put_come_out() -> None:
    call, put = european_quote("call", **VECTOR), european_quote("put", **VECTOR)

    assert call.price == pytest.approx(4.381425, rel=1e-6)
    assert put.price == pytest.approx(8.696658, rel=1e-6)
    assert call.delta == pytest.approx(0.416808, abs=5e-7)
    assert call.gamma == pytest.approx(0.025027, abs=5e-7)
    assert call.theta_per_day == pytest.approx(-0.054534, abs=5e-7)
    assert call.vega_per_point == pytest.approx(0.189571, abs=5e-7)
    assert call.rho_per_point == pytest.approx(0.075017, abs=5e-7)


def test_theta_of_a_put_has_its_own_sign_in_the_rate_term() -> None:
    terms = {"spot": 175.0, "strike": 180.0, "rate": 0.05, "dividend_yield": 0.0, "volatility": 0.25, "days": 30}

    assert european_quote("put", **terms).theta_per_day == pytest.approx(-0.06389, abs=5e-6)
    assert european_quote("call", **terms).theta_per_day == pytest.approx(-0.08845, abs=5e-6)


def test_ten_thousand_european_options_agree_with_the_closed_form() -> None:
    rng = random.Random(1)
    for _ in range(10_000):
        kind: Kind = rng.choice(("call", "put"))
        terms = {
            "spot": rng.uniform(1.0, 5000.0),
            "rate": rng.uniform(-0.02, 0.12),
            "volatility": rng.uniform(0.03, 1.5),
            "days": rng.uniform(1.0, 1500.0),
        }
        strike, dividend = terms["spot"] * rng.uniform(0.5, 1.6), rng.uniform(0.0, 0.1)

        quote = european_quote(kind, strike=strike, dividend_yield=dividend, **terms)
        expected = european(kind, strike=strike, dividend=dividend, **terms)

        for got, wanted in zip(astuple(quote), astuple(expected), strict=True):
            assert abs(got - wanted) <= 1e-10 * max(1.0, abs(wanted)), (kind, strike, dividend, terms)


def test_the_american_put_lies_within_a_thousandth_of_a_binomial_tree() -> None:
    quote = american_quote("put", **VECTOR)
    tree = american_put_tree(spot=120, strike=125, rate=0.045, dividend=0.012, volatility=0.32, days=60, steps=1001)

    assert tree == pytest.approx(8.78040, abs=2e-5)
    assert quote.price == pytest.approx(tree, rel=1e-3)


def test_greeks_of_american_options_agree_with_differences_of_the_tree() -> None:
    def tree(**changes: float) -> float:
        terms = {"spot": 100.0, "strike": 108.0, "rate": 0.06, "dividend": 0.01, "volatility": 0.3, "days": 240.0}
        return american_put_tree(**{**terms, **changes}, steps=1500)

    quote = price_option(
        kind="put", style="american", spot=100, strike=108, rate=0.06, dividend_yield=0.01, volatility=0.3, days=240
    )

    assert quote.delta == pytest.approx((tree(spot=104) - tree(spot=96)) / 8, rel=5e-3)
    assert quote.gamma == pytest.approx((tree(spot=104) - 2 * tree() + tree(spot=96)) / 16, rel=2e-2)
    assert quote.theta_per_day == pytest.approx((tree(days=235) - tree(days=245)) / 10, rel=2e-2)
    assert quote.vega_per_point == pytest.approx((tree(volatility=0.31) - tree(volatility=0.29)) / 2, rel=1e-2)
    assert quote.rho_per_point == pytest.approx((tree(rate=0.07) - tree(rate=0.05)) / 2, rel=2e-2)


def test_a_put_that_is_exercised_at_once_is_worth_its_intrinsic_value_and_does_not_decay() -> None:
    quote = price_option(
        kind="put", style="american", spot=50, strike=100, rate=0.08, dividend_yield=0.0, volatility=0.2, days=200
    )

    assert quote.price == pytest.approx(50.0, abs=1e-9)
    assert quote.delta == pytest.approx(-1.0, abs=1e-6)
    assert quote.theta_per_day == pytest.approx(0.0, abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["call", "put"]),
    style=st.sampled_from(["european", "american"]),
    moneyness=st.floats(0.8, 1.25),
    volatility=st.floats(0.08, 1.2),
    days=st.integers(10, 700),
    rate=st.floats(0.0, 0.08),
    dividend_yield=st.floats(0.0, 0.08),
)
def test_implied_volatility_undoes_the_price(
    *, kind: Kind, style: Style, moneyness: float, volatility: float, days: int, rate: float, dividend_yield: float
) -> None:
    quote = price_option(
        kind=kind,
        spot=100.0,
        strike=100.0 * moneyness,
        rate=rate,
        dividend_yield=dividend_yield,
        volatility=volatility,
        days=days,
        style=style,
    )
    if quote.vega_per_point < 1e-3 or quote.price < 1e-3:
        return  # the price says nothing about the volatility

    found = implied_volatility(
        kind=kind,
        price=quote.price,
        spot=100.0,
        strike=100.0 * moneyness,
        rate=rate,
        dividend_yield=dividend_yield,
        days=days,
        style=style,
    )

    assert found == pytest.approx(volatility, rel=1e-6 if style == "european" else 1e-3)


def test_the_published_price_implies_thirty_two_percent() -> None:
    found = implied_volatility(
        kind="call", price=4.381425, spot=120, strike=125, rate=0.045, dividend_yield=0.012, days=60
    )

    assert found == pytest.approx(0.32, rel=1e-6)


@pytest.mark.parametrize("name", ["spot", "strike", "volatility", "days"])
@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, -math.inf, 10**400, "12", None, True])
def test_an_argument_that_must_be_positive_is_named_when_it_is_not(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        price_option(kind="call", **{**VECTOR, name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["rate", "dividend_yield"])
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6, "x"])
def test_a_rate_that_is_no_rate_is_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be"):
        price_option(kind="put", **{**VECTOR, name: value})  # type: ignore[arg-type]


def test_unknown_kinds_and_styles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^kind must be"):
        price_option(kind="straddle", **VECTOR)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^style must be"):
        price_option(kind="call", style="bermudan", **VECTOR)  # type: ignore[arg-type]


def test_a_negative_dividend_yield_is_refused_for_american_options_only() -> None:
    terms = {**VECTOR, "dividend_yield": -0.01}

    assert european_quote("put", **terms).price < european_quote("put", **VECTOR).price
    with pytest.raises(ValueError, match=r"^dividend_yield must not be negative"):
        american_quote("put", **terms)


@pytest.mark.parametrize("price", [0.0, -1.0, math.nan, 120.0, 5000.0])
def test_a_price_no_volatility_gives_is_refused(price: float) -> None:
    with pytest.raises(ValueError, match=r"^price must"):
        implied_volatility(kind="call", price=price, spot=120, strike=125, rate=0.045, dividend_yield=0.012, days=60)


def test_a_price_below_the_value_of_early_exercise_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^price must lie between 25"):
        implied_volatility(
            kind="put", price=24.9, spot=100, strike=125, rate=0.05, dividend_yield=0.0, days=60, style="american"
        )


def test_extreme_arguments_are_a_value_error_whatever_the_library_raises() -> None:
    for style in ("european", "american"):
        for spot in (1e-300, 1e308):
            for volatility in (1e-12, 1e200):
                for days in (1e-9, 1e300):
                    try:
                        quote = price_option(
                            kind="put",
                            spot=spot,
                            strike=100.0,
                            rate=0.0,
                            dividend_yield=0.0,
                            volatility=volatility,
                            days=days,
                            style=style,
                        )
                    except ValueError:
                        continue
                    assert math.isfinite(quote.price)


def test_threads_price_alike() -> None:
    def price(days: int) -> tuple[float, float]:
        terms = {**VECTOR, "days": days}
        return (
            american_quote("put", **terms).price,
            european_quote("put", **terms).price,
        )

    days = [30 + number % 40 for number in range(160)]
    alone = [price(number) for number in days]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(price, days))

    assert together == alone


def test_importing_the_module_does_not_import_quantlib() -> None:
    code = "import sys, services.contract.pricing; sys.exit('QuantLib' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
