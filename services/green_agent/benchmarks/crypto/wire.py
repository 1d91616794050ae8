"""What is said in an episode: the request as JSON, and the decision read from a reply (finance specification 7.4)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from pydantic import JsonValue

from services.green_agent.benchmarks.crypto.bars import Bars, significant
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig
from services.green_agent.benchmarks.crypto.ledger import Event
from services.green_agent.benchmarks.crypto.simulator import Account, Action, Decision, View
from services.green_agent.scoring.answers import objects_in
from services.green_agent.scoring.numbers import LONGEST_TEXT, without_thoughts

WARM_SHOWN: Final = 20
MOST_BARS: Final = 64
MINUTE_MS: Final = 60_000
DUST: Final = 1e-100
"""A smaller size is 0: sums and quotients of numbers near the smallest float are no longer finite."""

REPLY_FORM: Final = (
    'One JSON object: {"action": "BUY|SELL|HOLD|CLOSE", "size": base units for BUY and SELL, "stop_loss": price or null,'
    " \"take_profit\": price or null}. A long position's stop lies below the price and its target above, a short one's the"
    " other way round. Anything else acts as HOLD and costs."
)
"""Part of the first request of an episode, for agents that have not met this kind of question."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ACTIONS: Final[Mapping[str, Action]] = {"BUY": "BUY", "SELL": "SELL", "HOLD": "HOLD", "CLOSE": "CLOSE"}
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?")

Fault = Literal["empty", "no_decision", "action", "size", "level", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Malformed:
    """A reply that is no decision. It acts as HOLD and costs."""

    fault: Fault
    kind: str = ""
    """Of a reply that never came: the failure's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Market:
    """What a request shows of a market. Bars of an episode are numbered from 0; those before are warm-up."""

    label: str
    """Name of the episode, which does not tell its kind."""
    symbol: str
    warm: Bars
    shown: Bars
    clock_ms: int
    """Added to the true times: the calendar that is shown."""
    funding_ms: int
    """True milliseconds between funding payments; 0: none."""


def request(market: Market, view: View, since: int | None, config: EvaluationConfig) -> str:
    """The question at `view`. `since` is the bar of the last one, None at the first."""
    now, shown = view.bar, market.shown
    seen = view.indicators
    body: dict[str, JsonValue] = {
        "type": "trading_decision",
        "version": 2,
        "episode": market.label,
        "step": view.step,
        "size_unit": "base units",
        "state": {
            "bar": now,
            "timestamp": _timestamp(shown.times_ms[now] + market.clock_ms),
            "bar_minutes": _plain(shown.bar_ms / MINUTE_MS),
            "symbol": market.symbol,
            "ohlcv": {
                "open": _plain(shown.opens[now]),
                "high": _plain(shown.highs[now]),
                "low": _plain(shown.lows[now]),
                "close": _plain(shown.closes[now]),
                "volume": _plain(shown.volumes[now]),
            },
            "bars": _recent(market, now, since),
            "indicators": {
                "ema_20": _maybe(seen.ema_20),
                "ema_50": _maybe(seen.ema_50),
                "rsi": _maybe(seen.rsi),
                "macd": _maybe(seen.macd),
                "atr": _maybe(seen.atr),
            },
            "market_metrics": {
                "funding_rate": _plain(shown.funding[now]),
                "open_interest": _plain(shown.open_interest[now]),
                "bars_to_funding": _bars_to_funding(market, now),
            },
            "account": _account(view.account, market.symbol),
            "events": [_event(event) for event in view.events],
        },
        "rules": {
            "execution": "next bar open",
            "fee": _plain(config.trading_fee),
            "max_leverage": _plain(config.max_leverage),
            "steps_left": view.steps_left,
        },
    }
    if since is None:
        body["reply"] = REPLY_FORM
    return json.dumps(body, separators=(",", ":"), allow_nan=False)


def read_decision(reply: str) -> Decision | Malformed:
    """The decision of a reply: its last JSON object with an action, thought removed. Never raises, linear in its length."""
    text = without_thoughts(reply[-LONGEST_TEXT:]).strip()
    if not text:
        return Malformed(fault="empty")
    found = _object(text)
    if found is None:
        return Malformed(fault="no_decision")
    action = found.get("action")
    known = _ACTIONS.get(action.strip().upper()) if isinstance(action, str) else None
    if known is None:
        return Malformed(fault="action")
    size = 0.0
    if known in {"BUY", "SELL"}:
        read = _number(found.get("quantity") if found.get("size") is None else found["size"])
        if read is None or read < 0:
            return Malformed(fault="size")
        size = read if read >= DUST else 0.0
    levels: list[float | None] = []
    for key in ("stop_loss", "take_profit"):
        level = None if found.get(key) is None else _number(found[key])
        if found.get(key) is not None and (level is None or level <= 0):
            return Malformed(fault="level")
        levels.append(level)
    return Decision(action=known, size=size, stop_loss=levels[0], take_profit=levels[1])


def _object(text: str) -> Mapping[str, JsonValue] | None:
    """The last object that has an action. Of a list there must be one element: two decisions are none."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, list) and len(whole) != 1:
        return None
    return next((found for found in objects_in(text) if "action" in found), None)


def _number(value: JsonValue) -> float | None:
    """A finite number, also as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value.strip()[:100]):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _recent(market: Market, now: int, since: int | None) -> list[JsonValue]:
    """Bars since the last question, at the first one the end of the warm-up; oldest first."""
    if since is None:
        source, start, stop = market.warm, max(0, len(market.warm) - WARM_SHOWN), len(market.warm)
    else:
        source, start, stop = market.shown, max(since + 1, now + 1 - MOST_BARS), now + 1
    columns = (source.opens, source.highs, source.lows, source.closes, source.volumes)
    return [[_plain(column[t]) for column in columns] for t in range(start, stop)]


def _account(account: Account, symbol: str) -> dict[str, JsonValue]:
    return {
        "balance": _plain(account.balance),
        "equity": _plain(account.equity),
        "leverage": _plain(account.leverage),
        "liquidation_price": _maybe(account.liquidation_price),
        "max_buy": _plain(account.max_buy),
        "max_sell": _plain(account.max_sell),
        "positions": [
            {
                "symbol": symbol,
                "size": _plain(position.size),
                "entry_price": _plain(position.entry_price),
                "stop_loss": _maybe(position.stop_loss),
                "take_profit": _maybe(position.take_profit),
                "unrealised_pnl": _plain(position.unrealised_pnl),
            }
            for position in account.positions
        ],
    }


def _event(event: Event) -> dict[str, JsonValue]:
    return {
        "bar": event.bar,
        "kind": event.kind,
        "price": _plain(event.price),
        "size": _plain(event.size),
        "net": _maybe(event.net),
    }


def _bars_to_funding(market: Market, now: int) -> int | None:
    """Regular bars from this one to the next at whose open funding is paid; the true times tell, not the shown ones."""
    if not market.funding_ms:
        return None
    opened = market.shown.times_ms[now]
    due = (opened // market.funding_ms + 1) * market.funding_ms
    return -((opened - due) // market.shown.bar_ms)


def _timestamp(milliseconds: int) -> str:
    moment = _EPOCH + timedelta(milliseconds=milliseconds)
    return moment.isoformat(timespec="seconds" if moment.microsecond == 0 else "milliseconds").replace("+00:00", "Z")


def _maybe(value: float | None) -> int | float | None:
    return None if value is None else _plain(value)


def _plain(value: float) -> int | float:
    """8 significant digits; a whole number without a point, and no negative zero."""
    short = significant(value)
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
