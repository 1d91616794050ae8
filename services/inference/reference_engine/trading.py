"""Policy rule 4: a trading decision by two moving averages and a stop. Request and reply: finance specification 7.4."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.inference.reference_engine import LABEL

SHARE_OF_EQUITY: Final = 0.10
STOP_ATR: Final = 2.0
TARGET_ATR: Final = 3.0
OVERBOUGHT_RSI: Final = 70.0


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Bar(_Part):
    """Prices of the current bar."""

    close: float = Field(gt=0)


class Indicators(_Part):
    """None before an indicator has enough bars."""

    ema_20: float | None = None
    ema_50: float | None = None
    rsi: float | None = None
    atr: float | None = None


class Position(_Part):
    """Signed size in base units."""

    size: float = 0.0


class Account(_Part):
    """What can be spent and what is held."""

    equity: float
    max_buy: float | None = None
    positions: Sequence[Position] = ()


class State(_Part):
    """The market as the agent sees it."""

    ohlcv: Bar
    indicators: Indicators = Indicators()
    account: Account


class Request(_Part):
    """One question of an episode."""

    type: Literal["trading_decision"]
    size_unit: str = "base units"
    state: State


class Decision(BaseModel):
    """The reply."""

    action: Literal["BUY", "SELL", "HOLD", "CLOSE"]
    size: float = 0.0
    stop_loss: float | None = None
    take_profit: float | None = None
    reasoning: str = LABEL
    confidence: float = 0.5


def reply(text: str) -> str | None:
    """The decision as JSON text, or None when the text is no trading request."""
    if '"trading_decision"' not in text:
        return None
    try:
        request = Request.model_validate_json(text)
    except ValidationError:
        return None
    return json.dumps(decide(request).model_dump())


def decide(request: Request) -> Decision:
    """BUY when flat in a rising market that is not overbought, CLOSE when long in a falling one, else HOLD."""
    seen, account = request.state.indicators, request.state.account
    held = sum(position.size for position in account.positions)
    if seen.ema_20 is None or seen.ema_50 is None or seen.rsi is None or seen.atr is None:
        return Decision(action="HOLD")
    if held > 0 and seen.ema_20 < seen.ema_50:
        return Decision(action="CLOSE")
    if held or seen.ema_20 <= seen.ema_50 or seen.rsi >= OVERBOUGHT_RSI:
        return Decision(action="HOLD")
    close = request.state.ohlcv.close
    return Decision(
        action="BUY",
        size=_size(request, close),
        stop_loss=max(close - STOP_ATR * seen.atr, close / 100),
        take_profit=close + TARGET_ATR * seen.atr,
    )


def _size(request: Request, close: float) -> float:
    """A tenth of equity in the unit the request asks for; `max_buy` is in the same unit."""
    account, unit = request.state.account, request.size_unit.lower()
    wanted = SHARE_OF_EQUITY * account.equity
    if "percent" in unit or "%" in unit:
        wanted = 100 * SHARE_OF_EQUITY
    elif "fraction" in unit:
        wanted = SHARE_OF_EQUITY
    elif "base" in unit or "unit" in unit:
        wanted /= close
    return max(0.0, wanted if account.max_buy is None else min(wanted, account.max_buy))
