"""Trading requests: what the model is shown, what it remembers of the episode, and what becomes of its reply."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.contract.outcomes import AgentFailure, Outcome
from services.purple_agent.trading import MEMORY_CHARS, Invalid, read_decision, read_request
from tests.purple_agent.models_by_hand import Body, completion, model_server, say
from tests.purple_agent.serving import Peer, deadline, on_model


def request(step: int = 0, **account: Any) -> str:
    """A request as green sends it, reduced to what matters here."""
    funds = {"balance": 10_000, "equity": 10_050.5, "max_buy": 299.6, "max_sell": 301, "positions": []} | account
    state = {
        "bar": step,
        "ohlcv": {"open": 100, "high": 102, "low": 99, "close": 101.5, "volume": 7},
        "indicators": {"atr": 1.5},
        "account": funds,
        "events": [{"bar": 1, "kind": "stop", "price": 95, "size": -10, "net": -51}] if step else [],
    }
    body = {"type": "trading_decision", "version": 2, "episode": "e1", "step": step, "state": state}
    return json.dumps(body | {"rules": {"steps_left": 9}})


BUY = {"action": "BUY", "size": 2, "stop_loss": 99, "take_profit": None, "reasoning": "up", "confidence": 0.6}


async def decisions(peer: Peer, *texts: str) -> list[dict[str, Any]]:
    conversation = peer.client.conversation()
    return [json.loads((await conversation.ask(text, deadline())).text) for text in texts]


def prompt(body: Body) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = body["messages"]
    return messages


async def test_the_prompt_states_units_execution_and_the_legal_side_of_stops() -> None:
    async with model_server(say(json.dumps(BUY))) as model, on_model(model.url) as peer:
        assert await decisions(peer, request()) == [BUY | {"size": 2.0, "stop_loss": 99.0}]

    system, asked = prompt(model.asked[0])
    for words in ("base units", "fills at the open of the next bar", "Of a long position the stop_loss lies below"):
        assert words in system["content"]
    assert "tools" not in model.asked[0]
    shown = json.loads(asked["content"])
    assert shown["brief"] == (
        "flat; equity 10050.5; may buy 299.6 or sell 301 base units; since the last decision: nothing; 9 decisions left"
    )
    assert {key: value for key, value in shown.items() if key != "brief"} == json.loads(request())


async def test_position_limits_and_events_are_put_into_words() -> None:
    position = {"size": -1.5, "entry_price": 104, "stop_loss": 110, "take_profit": None, "unrealised_pnl": 3.75}
    async with model_server(say('{"action": "HOLD"}')) as model, on_model(model.url) as peer:
        await decisions(peer, request(2, positions=[position]))

    brief = json.loads(prompt(model.asked[0])[-1]["content"])["brief"]
    assert brief.startswith("short 1.5 at 104, stop 110, target none, unrealised 3.75; equity 10050.5")
    assert "since the last decision: stop -10 at 95 for -51" in brief


async def test_earlier_decisions_of_the_episode_are_remembered_in_short() -> None:
    async with model_server(say(json.dumps(BUY))) as model, on_model(model.url) as peer:
        await decisions(peer, request(0), request(1))

    roles = [message["role"] for message in prompt(model.asked[1])]
    assert roles == ["system", "user", "assistant", "user"]
    remembered = json.loads(prompt(model.asked[1])[1]["content"])
    assert list(remembered) == ["type", "step", "bar", "close", "brief"]
    assert (remembered["step"], remembered["close"]) == (0, 101.5)
    assert json.loads(prompt(model.asked[1])[2]["content"])["action"] == "BUY"


async def test_another_conversation_remembers_nothing_of_it() -> None:
    async with model_server(say(json.dumps(BUY))) as model, on_model(model.url) as peer:
        await decisions(peer, request(0))
        await decisions(peer, request(1))

    assert [len(prompt(body)) for body in model.asked] == [2, 2]


async def test_the_memory_stays_bounded_through_a_long_episode() -> None:
    wordy = json.dumps(BUY | {"reasoning": "because " * 200})
    async with model_server(say(wordy)) as model, on_model(model.url) as peer:
        await decisions(peer, *map(request, range(40)))

    sizes = [sum(len(message["content"]) for message in prompt(body)[1:-1]) for body in model.asked]
    assert max(sizes) <= MEMORY_CHARS
    assert sizes[-1] > MEMORY_CHARS // 4
    assert all(prompt(body)[1]["role"] == "user" for body in model.asked)


async def test_thought_is_stripped_and_prose_around_the_object_too() -> None:
    said = f"<think>sell?</think>Here you are:\n```json\n{json.dumps(BUY)}\n```"
    async with model_server(say(said)) as model, on_model(model.url) as peer:
        assert await decisions(peer, request()) == [BUY | {"size": 2.0, "stop_loss": 99.0}]

    assert len(model.asked) == 1


async def test_an_invalid_decision_is_repaired_once() -> None:
    def script(_body: Body, number: int) -> Body:
        return completion("I would buy." if number == 0 else json.dumps(BUY))

    async with model_server(script) as model, on_model(model.url) as peer:
        (decided,) = await decisions(peer, request())

    assert decided["action"] == "BUY"
    assert [message["role"] for message in prompt(model.asked[1])] == ["system", "user", "assistant", "user"]
    assert "That was no valid decision: there is no JSON object in it." in prompt(model.asked[1])[-1]["content"]


async def test_what_stays_invalid_is_sent_as_it_is_and_no_rule_decides_instead() -> None:
    async with model_server(say("I would buy.")) as model, on_model(model.url) as peer:
        reply = await peer.ask(request())

    assert reply.text == "I would buy."
    assert len(model.asked) == 2


async def test_a_model_that_says_nothing_is_a_failure() -> None:
    async with model_server(say("<think>hm</think>")) as model, on_model(model.url) as peer:
        with pytest.raises(AgentFailure) as failed:
            await peer.ask(request())

    assert (failed.value.outcome, failed.value.kind) == (Outcome.AGENT_ERROR, "empty")
    assert model.asked


async def test_other_messages_go_the_usual_way_with_tools() -> None:
    async with model_server(say("42")) as model, on_model(model.url) as peer:
        reply = await peer.ask('What does "trading_decision" mean?')

    assert reply.text == "42"
    assert "tools" in model.asked[0]


@pytest.mark.parametrize("text", ["", "trading_decision", '{"type": "trading_decision"}', '{"type": "other"}'])
def test_what_is_no_request_is_none(text: str) -> None:
    assert read_request(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no", "there is no JSON object in it"),
        ("} {", "there is no JSON object in it"),
        ('{"action": "WAIT"}', "action: Input should be 'BUY', 'SELL', 'HOLD' or 'CLOSE'"),
        ('{"action": "BUY"}', "the object: Value error, BUY needs a size in base units"),
        ('{"action": "SELL", "size": -1}', "size: Input should be greater than or equal to 0"),
        ('{"action": "HOLD", "stop_loss": 0}', "stop_loss: Input should be greater than 0"),
    ],
)
def test_an_invalid_decision_is_explained(text: str, fault: str) -> None:
    assert read_decision(text) == Invalid(fault=fault)
