"""Baselines that trade: each plays its trick, and only on trading requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.purple_agent.answer import Answer
from services.purple_agent.baselines.registry import BaselineError, baseline

TRADERS = ("wrong-side-stop", "tiny-wins", "scalp", "fade-shocks")


def request(*, opened: float = 100, close: float = 100, atr: float | None = 2, held: float = 0, pnl: float = 0) -> str:
    positions = [{"symbol": "ASSET-1", "size": held, "unrealised_pnl": pnl}] if held else []
    state = {
        "ohlcv": {"open": opened, "high": 120, "low": 80, "close": close, "volume": 1},
        "indicators": {"atr": atr},
        "account": {"equity": 10_000, "positions": positions},
    }
    return json.dumps({"type": "trading_decision", "state": state})


async def said(name: str, text: str) -> str:
    given = await baseline(name).answer(text)
    assert isinstance(given, Answer)
    return given.text


async def decided(name: str, **keys: Any) -> dict[str, Any]:
    decision: dict[str, Any] = json.loads(await said(name, request(**keys)))
    return decision


async def test_the_wrong_side_stop_lies_above_the_price_at_each_step() -> None:
    assert await decided("wrong-side-stop") == {"action": "BUY", "size": 1, "stop_loss": 105.0}
    assert (await decided("wrong-side-stop", held=3))["action"] == "BUY"


async def test_tiny_wins_are_taken_and_losses_are_not() -> None:
    assert await decided("tiny-wins") == {"action": "BUY", "size": 0.1}
    assert await decided("tiny-wins", held=0.1, pnl=0.02) == {"action": "CLOSE"}
    assert await decided("tiny-wins", held=0.1, pnl=-5) == {"action": "HOLD"}


async def test_the_scalper_sets_a_near_target_and_a_far_stop() -> None:
    assert await decided("scalp") == {"action": "BUY", "size": 100.0, "stop_loss": 70.0, "take_profit": 100.5}
    assert await decided("scalp", held=100) == {"action": "HOLD"}
    assert await decided("scalp", atr=None) == {"action": "HOLD"}


async def test_shocks_are_faded_and_left_a_bar_later() -> None:
    assert await decided("fade-shocks", close=95) == {"action": "BUY", "size": pytest.approx(10_000 / 95)}
    assert await decided("fade-shocks", close=105) == {"action": "SELL", "size": pytest.approx(10_000 / 105)}
    assert await decided("fade-shocks", close=104.9) == {"action": "HOLD"}
    assert await decided("fade-shocks", close=95, held=-1) == {"action": "CLOSE"}


@pytest.mark.parametrize("name", TRADERS)
@pytest.mark.parametrize("text", ["What is 2 + 2?", '{"type": "trading_decision"}', '"trading_decision" {'])
async def test_other_messages_get_the_constant_text(name: str, text: str) -> None:
    assert await said(name, text) == "I do not know."


@pytest.mark.parametrize("name", TRADERS)
def test_a_trader_takes_no_argument(name: str) -> None:
    with pytest.raises(BaselineError, match="takes no argument"):
        baseline(f"{name}:3")
