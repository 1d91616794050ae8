"""The scripted agents that other tests rely on do what their scripts say."""

from __future__ import annotations

import asyncio

import pytest

from services.contract.a2a.client import AgentClient
from services.contract.outcomes import AgentFailure, Outcome
from tests.support.purples import Reject, Script, blaming, crashing, delayed, flaky, purple, replay


async def ask(script: Script, *questions: str) -> list[str]:
    """Replies, or `outcome/kind` where there is none."""
    async with purple(script) as agent:
        client = AgentClient(agent.url)
        said = [await _ask(client, question) for question in questions]
        await client.aclose()
    return said


async def _ask(client: AgentClient, question: str) -> str:
    try:
        reply = await client.conversation().ask(question, asyncio.get_running_loop().time() + 60)
    except AgentFailure as failure:
        return f"{failure.outcome}/{failure.kind}"
    return reply.text


ANSWERS = replay({"2 + 2": "4", "3 + 3": "6"}, default="?")


async def test_replay_answers_by_what_the_message_contains() -> None:
    assert await ask(ANSWERS, "What is 3 + 3?", "What is 2 + 2?", "Why?") == ["6", "4", "?"]


async def test_crashing_and_blaming_fail_in_their_ways() -> None:
    assert await ask(crashing(1.0, ANSWERS), "2 + 2") == ["agent_error/failed"]
    assert await ask(blaming(1.0, ANSWERS), "2 + 2") == ["infra_error/overloaded"]
    assert await ask(crashing(0.0, blaming(0.0, ANSWERS)), "2 + 2") == ["4"]


async def test_flaky_fails_the_first_times_each_message_comes() -> None:
    said = await ask(flaky(2, ANSWERS), "2 + 2", "2 + 2", "2 + 2", "3 + 3")

    assert said == ["infra_error/http_503"] * 2 + ["4", "infra_error/http_503"]


async def test_a_rejection_is_a_refusal() -> None:
    assert await ask(lambda _incoming, _seen: Reject(text="no"), "2 + 2") == ["agent_error/refused"]


async def test_what_was_asked_is_kept_and_nothing_stays_in_work() -> None:
    async with purple(delayed(0.05, ANSWERS)) as agent:
        client = AgentClient(agent.url)
        await asyncio.gather(*(_ask(client, f"{number} + {number}") for number in range(3)))
        await client.aclose()

    assert sorted(incoming.text for incoming in agent.asked) == ["0 + 0", "1 + 1", "2 + 2"]
    assert agent.in_flight == 0


async def test_a_peer_that_gives_up_cancels_the_task() -> None:
    async with purple(delayed(3_600, ANSWERS)) as agent:
        client = AgentClient(agent.url)
        with pytest.raises(AgentFailure) as failed:
            await client.conversation().ask("2 + 2", asyncio.get_running_loop().time() + 1)
        await client.aclose()

    assert (failed.value.outcome, failed.value.kind) == (Outcome.AGENT_ERROR, "deadline")
    assert len(agent.cancelled) == 1
