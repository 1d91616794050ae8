"""Requests and replies of an episode."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.benchmarks.crypto.simulator import Decision
from services.green_agent.benchmarks.crypto.wire import Malformed, read_decision
from tests.green_agent.benchmarks.crypto.trials import BASELINE_ONLY, Request, Trader, benchmark, churn, hold, talk

HOLD = Decision(action="HOLD")
BUY_2 = Decision(action="BUY", size=2.0)


@pytest.mark.parametrize(
    ("reply", "decision"),
    [
        ('{"action": "HOLD"}', HOLD),
        ('{"action": "hold ", "size": "much"}', HOLD),
        ('{"action": "CLOSE", "size": null}', Decision(action="CLOSE")),
        ('{"action": "Buy", "size": "2", "confidence": 0.9}', BUY_2),
        ('{"action": "BUY", "quantity": 2}', BUY_2),
        ('{"action": "BUY", "size": null, "quantity": 2}', BUY_2),
        ('[{"action": "BUY", "size": 2}]', BUY_2),
        ('```json\n{"action": "BUY", "size": 2}\n```', BUY_2),
        ('I would {"action": "SELL", "size": 1} but no: {"action": "BUY", "size": 2}. Good luck', BUY_2),
        ('<think>{"action": "SELL", "size": 1}</think>{"action": "BUY", "size": 2}', BUY_2),
        ('{"action": "BUY", "size": 2, "reasoning": "we \u201cfade\u201d {it}"}', BUY_2),
        ('{"decision": {"action": "BUY", "size": 2}}', BUY_2),
        ('{"action": "BUY", "size": 2, "else": {"action": "HOLD"}}', BUY_2),
        ('{"action": "SELL", "size": 0}', Decision(action="SELL")),
        (
            '{"action": "HOLD", "stop_loss": 99.5, "take_profit": "1e2"}',
            Decision(action="HOLD", stop_loss=99.5, take_profit=100.0),
        ),
    ],
)
def test_a_decision_is_read_however_it_is_wrapped(reply: str, decision: Decision) -> None:
    assert read_decision(reply) == decision


@pytest.mark.parametrize(
    ("reply", "fault"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("<think>buy</think>", "empty"),
        ("<think>buy", "empty"),
        ("I would buy 2 units now.", "no_decision"),
        ('{"act": "BUY"}', "no_decision"),
        ("[]", "no_decision"),
        ('[{"action": "HOLD"}, {"action": "HOLD"}]', "no_decision"),
        ('{"action": "BUY", "size": 2', "no_decision"),
        ('{"action": "WAIT"}', "action"),
        ('{"action": null}', "action"),
        ('{"action": ["BUY"], "size": 2}', "action"),
        ('{"action": "BUY"}', "size"),
        ('{"action": "BUY", "size": -1}', "size"),
        ('{"action": "SELL", "size": "all"}', "size"),
        ('{"action": "BUY", "size": true}', "size"),
        ('{"action": "BUY", "size": NaN}', "size"),
        ('{"action": "BUY", "size": Infinity}', "size"),
        ('{"action": "BUY", "size": 1e999}', "size"),
        ('{"action": "BUY", "size": "1_0"}', "size"),
        ('{"action": "BUY", "size": 1, "stop_loss": 0}', "level"),
        ('{"action": "HOLD", "take_profit": -5}', "level"),
        ('{"action": "HOLD", "stop_loss": "near"}', "level"),
        ('{"action": "CLOSE", "stop_loss": false}', "level"),
    ],
)
def test_what_is_no_decision_is_malformed_and_never_guessed(reply: str, fault: str) -> None:
    assert read_decision(reply) == Malformed(fault=fault)  # type: ignore[arg-type]  # the table holds plain text


@given(st.text())
def test_no_reply_raises(reply: str) -> None:
    assert isinstance(read_decision(reply), Decision | Malformed)


@pytest.mark.parametrize(
    "reply",
    [
        '{"a":' * 200_000,
        "{" * 500_000,
        '{"action": "' * 80_000,
        "[" * 500_000,
        "9" * 900_000,
        '{"action":' + "9" * 500_000,
    ],
    ids=["nested", "braces", "open strings", "brackets", "digits", "long number"],
)
def test_hostile_replies_of_half_a_megabyte_are_read_in_linear_time(reply: str) -> None:
    assert isinstance(read_decision(reply), Malformed)  # quadratic work would take hours


async def questions(trader: Trader = hold, **keys: Any) -> list[Request]:
    bench = benchmark(evaluation=keys.pop("evaluation", BASELINE_ONLY), **keys)
    transcript = await talk(bench, bench.tasks()[0], trader)
    return [json.loads(turn.question) for turn in transcript.turns]


async def test_a_request_has_exactly_the_fields_of_the_specification() -> None:
    first, second = (await questions())[:2]

    fields = ["type", "version", "episode", "step", "size_unit", "state", "rules"]
    assert list(second) == fields
    assert list(first) == [*fields, "reply"]  # the form, for agents that have not met this kind of question
    assert list(first["state"]) == [
        "bar",
        "timestamp",
        "bar_minutes",
        "symbol",
        "ohlcv",
        "bars",
        "indicators",
        "market_metrics",
        "account",
        "events",
    ]
    assert first["state"]["account"] == {
        "balance": 10_000,
        "equity": 10_000,
        "leverage": 0,
        "liquidation_price": None,
        "max_buy": first["state"]["account"]["max_buy"],
        "max_sell": first["state"]["account"]["max_sell"],
        "positions": [],
    }
    assert first["rules"] == {"execution": "next bar open", "fee": 0.0004, "max_leverage": 3, "steps_left": 103}
    assert (first["step"], first["state"]["bar"], first["state"]["timestamp"]) == (0, 0, "2000-01-01T00:00:00Z")
    assert (first["state"]["symbol"], first["state"]["bar_minutes"]) == ("ASSET-1", 60)


async def test_the_first_request_shows_twenty_warm_up_bars_and_later_ones_the_bars_since() -> None:
    asked = await questions(evaluation=BASELINE_ONLY | {"decision_interval": 5})
    first, second = (request["state"] for request in asked[:2])
    current = [second["ohlcv"][name] for name in ("open", "high", "low", "close", "volume")]

    assert len(first["bars"]) == 20
    assert (second["bar"], len(second["bars"]), second["bars"][-1]) == (5, 5, current)
    assert second["timestamp"] == "2000-01-01T05:00:00Z"


async def test_at_most_64_bars_are_shown() -> None:
    asked = await questions(evaluation=BASELINE_ONLY | {"decision_interval": 80}, generator={"count": 1, "bars": 200})

    assert [len(request["state"]["bars"]) for request in asked] == [20, 64, 64]


async def test_numbers_carry_at_most_eight_significant_digits() -> None:
    def digits(value: object) -> int:
        text = f"{value!r}".split("e")[0].lstrip("-").replace(".", "").strip("0")
        return len(text)

    def numbers(value: object) -> list[object]:
        if isinstance(value, dict):
            return [number for part in value.values() for number in numbers(part)]
        if isinstance(value, list):
            return [number for part in value for number in numbers(part)]
        return [value] if isinstance(value, int | float) else []

    asked = await questions(churn)

    assert max(digits(number) for request in asked for number in numbers(request)) == 8


async def test_position_and_events_are_told() -> None:
    asked = await questions(churn)
    opened = asked[1]["state"]

    (position,) = opened["account"]["positions"]
    (event,) = opened["events"]
    assert position["symbol"] == "ASSET-1"
    assert position["size"] == pytest.approx(5_000 / asked[0]["state"]["ohlcv"]["close"], rel=1e-7)
    assert position["stop_loss"] == pytest.approx(0.9 * asked[0]["state"]["ohlcv"]["close"], rel=1e-7)
    assert (event["bar"], event["kind"], event["price"], event["net"]) == (1, "open", position["entry_price"], None)


async def test_the_bars_to_the_next_funding_count_down_to_one() -> None:
    left = [request["state"]["market_metrics"]["bars_to_funding"] for request in await questions()]

    assert set(left) == set(range(1, 9))
    assert all(later == (8 if earlier == 1 else earlier - 1) for earlier, later in pairwise(left))


async def test_without_funding_there_is_no_next_one() -> None:
    (first, *_) = await questions(evaluation=BASELINE_ONLY | {"funding_interval_hours": 0})

    assert first["state"]["market_metrics"]["bars_to_funding"] is None
