from __future__ import annotations

import json
from typing import Any

import pytest

from services.inference.reference_engine import trading


def request(**changes: Any) -> str:
    state: dict[str, Any] = {
        "ohlcv": {"close": 200.0},
        "indicators": {"ema_20": 101, "ema_50": 99, "rsi": 55, "atr": 5},
        "account": {"equity": 10_000, "max_buy": 40.0, "positions": []},
    }
    state["indicators"] |= changes.pop("indicators", {})
    state["account"] |= changes.pop("account", {})
    return json.dumps({"type": "trading_decision", "size_unit": "base units", "state": state} | changes)


def decide(**changes: Any) -> dict[str, Any]:
    text = trading.reply(request(**changes))
    assert text is not None
    decision: dict[str, Any] = json.loads(text)
    return decision


def test_flat_in_a_rising_market_it_buys_a_tenth_of_its_equity_with_stop_and_target() -> None:
    decision = decide()

    assert (decision["action"], decision["size"]) == ("BUY", 5.0)
    assert (decision["stop_loss"], decision["take_profit"]) == (190.0, 215.0)


@pytest.mark.parametrize(
    ("unit", "size"),
    [("base units", 5.0), ("USD", 40.0), ("percent of equity", 10.0), ("fraction of equity", 0.1)],
)
def test_the_size_is_given_in_the_asked_unit_and_never_above_max_buy(unit: str, size: float) -> None:
    assert decide(size_unit=unit)["size"] == pytest.approx(size)


def test_long_in_a_falling_market_it_closes() -> None:
    assert decide(indicators={"ema_20": 98}, account={"positions": [{"size": 2}]})["action"] == "CLOSE"


@pytest.mark.parametrize(
    "changes",
    [
        {"indicators": {"rsi": 70}},
        {"indicators": {"ema_20": 98}},
        {"indicators": {"ema_50": None}},
        {"indicators": {"atr": None}},
        {"account": {"positions": [{"size": 2}]}},
        {"account": {"positions": [{"size": -2}]}},
    ],
    ids=["overbought", "falling", "no ema", "no atr", "long in a rise", "short"],
)
def test_otherwise_it_holds(changes: dict[str, Any]) -> None:
    assert decide(**changes)["action"] == "HOLD"


@pytest.mark.parametrize("text", ["", "{}", '{"type": "trading_decision"}', "a trading_decision"])
def test_a_text_that_is_no_request_gets_no_decision(text: str) -> None:
    assert trading.reply(text) is None
