"""Baselines over real sockets: each does to an evaluator what it says."""

from __future__ import annotations

import asyncio
import json

import pytest

from services.contract.outcomes import AgentFailure, Outcome
from tests.purple_agent.serving import begin_and_cancel, on_baseline


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ("constant", "I do not know."),
        ("constant:FINAL ANSWER: 7", "FINAL ANSWER: 7"),
        ("echo", "What is 6 x 7?"),
        ("crash-rate:0", "I do not know."),
        ("selective-failure:0", "I do not know."),
        ("slow:0", "I do not know."),
    ],
)
async def test_a_baseline_answers_by_itself(spec: str, answer: str) -> None:
    async with on_baseline(spec) as peer:
        end = await peer.outcome("What is 6 x 7?")

    assert (end.state, end.text, end.metadata, end.artifacts) == ("completed", "", {}, {"reply": answer})


async def test_hold_keeps_holding_in_one_conversation() -> None:
    async with on_baseline("hold") as peer:
        conversation = peer.client.conversation()
        deadline = asyncio.get_running_loop().time() + 60
        replies = [await conversation.ask('{"type": "trading_decision"}', deadline) for _ in range(3)]

    assert [json.loads(reply.text)["action"] for reply in replies] == ["HOLD"] * 3


@pytest.mark.parametrize(("spec", "begins"), [("keyword-soup", "Delta, gamma"), ("number-list", "1, 2, 3")])
async def test_words_and_numbers_come_whatever_is_asked(spec: str, begins: str) -> None:
    async with on_baseline(spec) as peer:
        reply = await peer.ask("What is 6 x 7?")

    assert reply.text.startswith(begins)


@pytest.mark.parametrize(
    ("spec", "outcome", "kind", "claimed"),
    [
        ("crash-rate:1", Outcome.AGENT_ERROR, "crash", False),
        ("selective-failure:1", Outcome.INFRA_ERROR, "overloaded", True),
        ("error-text", Outcome.AGENT_ERROR, "error_text", False),
    ],
)
async def test_a_failing_baseline_fails_in_its_own_way(
    spec: str, outcome: Outcome, kind: str, *, claimed: bool
) -> None:
    async with on_baseline(spec) as peer:
        with pytest.raises(AgentFailure) as failed:
            await peer.ask("What is 6 x 7?")

    assert (failed.value.outcome, failed.value.kind, failed.value.self_reported) == (outcome, kind, claimed)


async def test_a_slow_baseline_can_be_cancelled() -> None:
    begun = asyncio.Event()
    begun.set()

    async with on_baseline("slow:3600") as peer:
        state = await begin_and_cancel(peer.url, "What is 6 x 7?", once=begun)

    assert state == "TASK_STATE_CANCELED"


async def test_the_card_of_a_baseline_says_that_there_is_no_model() -> None:
    async with on_baseline("keyword-soup") as peer:
        card = await peer.client.card()

    assert card.name == "Assay baseline keyword-soup"
