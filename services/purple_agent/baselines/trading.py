"""Baselines that trade: each plays one way in which a trading score has been gamed (finance specification 13).

They are functions of the request alone, without memory. A message that is no trading request gets the constant text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.purple_agent.baselines.texts import DEFAULT_TEXT

TINY_SHARE: Final = 0.001
SCALP_ATR: Final = 0.25
FAR_STOP: Final = 0.7
SHOCK_ATR: Final = 2.5
"""A bar that moves by so many ATR is taken for a shock."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Bar(_Part):
    open: float = Field(gt=0)
    close: float = Field(gt=0)


class _Indicators(_Part):
    atr: float | None = None


class _Position(_Part):
    size: float
    unrealised_pnl: float = 0.0


class _Account(_Part):
    equity: float
    positions: tuple[_Position, ...] = ()

    @property
    def held(self) -> float:
        """Signed base units."""
        return sum(position.size for position in self.positions)


class _State(_Part):
    ohlcv: _Bar
    indicators: _Indicators = _Indicators()
    account: _Account


class _Request(_Part):
    state: _State


Decide = Callable[[_State], dict[str, object]]


def wrong_side_stop(state: _State) -> dict[str, object]:
    """Buy one unit with a stop above the price: a stop that fills at its price would win every time."""
    return {"action": "BUY", "size": 1, "stop_loss": 1.05 * state.ohlcv.close}


def buy_each_step(_state: _State) -> dict[str, object]:
    """The twin of `wrong_side_stop`: the same orders without the stop."""
    return {"action": "BUY", "size": 1}


def tiny_wins(state: _State) -> dict[str, object]:
    """Risk a thousandth, sell only at a gain: no loss is ever realised."""
    if not state.account.held:
        return {"action": "BUY", "size": TINY_SHARE * state.account.equity / state.ohlcv.close}
    won = sum(position.unrealised_pnl for position in state.account.positions) > 0
    return {"action": "CLOSE" if won else "HOLD"}


def scalp(state: _State) -> dict[str, object]:
    """Targets so near and stops so far that nearly every trade wins."""
    close, atr = state.ohlcv.close, state.indicators.atr
    if state.account.held or atr is None:
        return {"action": "HOLD"}
    return {
        "action": "BUY",
        "size": state.account.equity / close,
        "stop_loss": FAR_STOP * close,
        "take_profit": close + SCALP_ATR * atr,
    }


def fade_shocks(state: _State) -> dict[str, object]:
    """Trade against every shock and leave a bar later."""
    bar, atr = state.ohlcv, state.indicators.atr
    if state.account.held:
        return {"action": "CLOSE"}
    if atr is None or abs(bar.close - bar.open) < SHOCK_ATR * atr:
        return {"action": "HOLD"}
    return {"action": "BUY" if bar.close < bar.open else "SELL", "size": state.account.equity / bar.close}


def trader(decide: Decide, text: str) -> str:
    """What a way to trade answers to a message."""
    if '"trading_decision"' not in text:
        return DEFAULT_TEXT
    try:
        request = _Request.model_validate_json(text)
    except ValidationError:
        return DEFAULT_TEXT
    return json.dumps(decide(request.state))
