"""Crypto through the real green: two agents, faults, baselines, the model agent on the reference engine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from services.contract.a2a.server import Incoming
from services.contract.conversation import Transcript
from services.contract.outcomes import Outcome
from services.contract.results import TaskResult
from services.inference.reference_engine.app import Engine
from services.inference.reference_engine.app import Settings as EngineSettings
from tests.green_agent.benchmarks.crypto.trials import HOLD, churn, hold
from tests.purple_agent.serving import on_baseline, on_model
from tests.support.asgi import serving_app
from tests.support.greens import Seen, assess, green
from tests.support.purples import Say, Script, ScriptedPurple, Step, blaming, crashing, purple

SUITE = """
name: crypto alone
datasets:
  - type: crypto
    on_missing: generate
    generator: {count: 2, bars: 30}
    max_steps: 30
    evaluation: {decision_interval: 3, slippage_range: [0.0002, 0.001]}
sampling: {seed: 42}
"""
QUESTIONS = 2 * 5 * 10


@pytest.fixture
async def green_url(tmp_path: Path) -> AsyncIterator[str]:
    suite = tmp_path / "crypto.yaml"
    suite.write_text(SUITE)
    async with green(suite=suite) as url:
        yield url


def trading(trader: Any) -> Script:
    def script(incoming: Incoming, _seen: int) -> Step:
        return Say(text=trader(json.loads(incoming.text)))

    return script


def asked(agent: ScriptedPurple) -> Counter[str]:
    return Counter(incoming.text for incoming in agent.asked)


async def test_two_agents_at_different_urls_are_asked_byte_identical_questions(green_url: str) -> None:
    async with purple(trading(churn)) as first, purple(trading(churn)) as second:
        seen = [
            await assess(green_url, first.url, {"model_id": "one"}),
            await assess(green_url, second.url, {"model_id": "other"}),
        ]

    assert first.url != second.url
    assert asked(first) == asked(second)
    assert asked(first).total() == QUESTIONS
    one, other = ({row.task_id: (row.score, row.metrics, row.details) for row in each.rows} for each in seen)
    assert one == other


async def test_a_repeated_trial_meets_the_same_market(green_url: str) -> None:
    async with purple(trading(churn)) as agent:
        seen = await assess(green_url, agent.url, {"num_trials": 2})

    assert set(asked(agent).values()) == {2}
    scores = Counter((row.task_id, row.score) for row in seen.rows)
    assert set(scores.values()) == {2}


async def test_another_seed_is_another_market(green_url: str) -> None:
    async with purple(trading(hold)) as agent:
        await assess(green_url, agent.url, {"seed": 1})
        first = asked(agent)
        await assess(green_url, agent.url, {"seed": 2})

    assert len(asked(agent)) == 2 * len(first)


async def test_holding_is_fifty_and_its_sub_scores_too(green_url: str) -> None:
    async with on_baseline("hold") as agent:
        seen = await assess(green_url, agent.url)

    section = seen.result.section_scores["crypto_trading"]
    assert section is not None
    assert (section.score, section.accuracy) == (50.0, 0.0)
    assert section.sub_scores == {"baseline": 50.0, "noisy": 50.0, "adversarial": 50.0, "meta": 50.0}
    assert [(row.metrics["inactive"], row.details["grade"]) for row in seen.rows] == [(True, "F")] * 2


async def outcomes(green_url: str, url: str) -> Seen:
    return await assess(green_url, url, {"stream_transcripts": True})


async def test_garbage_decisions_are_the_agents_error_after_ten_questions_an_episode(green_url: str) -> None:
    async with on_baseline("constant") as agent:
        seen = await outcomes(green_url, agent.url)

    assert [(row.outcome, row.score, row.error and row.error.kind) for row in seen.rows] == [
        (Outcome.AGENT_ERROR, 0.0, "malformed")
    ] * 2
    assert seen.result.overall_score.coverage == 1.0


async def test_an_error_text_is_no_decision(green_url: str) -> None:
    async with on_baseline("error-text") as agent:
        seen = await outcomes(green_url, agent.url)

    assert {(row.outcome, row.error and row.error.kind) for row in seen.rows} == {(Outcome.AGENT_ERROR, "error_text")}


async def test_crashing_on_some_steps_costs_their_share_and_no_more(green_url: str) -> None:
    async with purple(crashing(0.2, trading(hold))) as agent:
        seen = await outcomes(green_url, agent.url)

    for row in seen.rows:
        assert row.outcome is Outcome.SCORED
        malformed, decisions = row.metrics["malformed_all"], row.metrics["decisions_all"]
        assert isinstance(malformed, int)
        assert isinstance(decisions, int)
        assert 0 < malformed < decisions == 50
        assert row.score is not None
        assert row.score < 0.5


async def test_blaming_the_infrastructure_on_some_steps_leaves_the_trial_unscored_with_open_bounds(
    green_url: str,
) -> None:
    async with purple(blaming(0.1, trading(hold))) as agent:
        seen = await assess(green_url, agent.url)

    assert {
        (row.outcome, row.error and row.error.kind, row.error and row.error.self_reported) for row in seen.rows
    } == {(Outcome.INFRA_ERROR, "overloaded", True)}
    overall = seen.result.overall_score
    assert (overall.score, overall.lower, overall.coverage) == (None, 0.0, 0.0)


@pytest.mark.parametrize("spec", ["wrong-side-stop", "tiny-wins", "scalp", "fade-shocks"])
async def test_the_trading_baselines_play_without_a_malformed_decision(green_url: str, spec: str) -> None:
    async with on_baseline(spec) as agent:
        seen = await assess(green_url, agent.url)

    assert [(row.outcome, row.metrics["malformed_all"]) for row in seen.rows] == [(Outcome.SCORED, 0)] * 2


async def test_the_model_agent_on_the_reference_engine_trades_without_a_malformed_decision(green_url: str) -> None:
    engine = Engine(EngineSettings())
    async with (
        serving_app(lambda _: engine) as model,
        on_model(f"{model}v1", env={"LLM_MODEL": "reference"}) as agent,
    ):
        seen = await outcomes(green_url, agent.url)

    assert [(row.outcome, row.metrics["malformed_all"]) for row in seen.rows] == [(Outcome.SCORED, 0)] * 2
    assert any(isinstance(fills := row.metrics["fills_all"], int) and fills > 0 for row in seen.rows)
    assert all(row.model is not None and row.usage.calls == 50 for row in seen.rows)


async def test_a_streamed_transcript_holds_every_word_by_episode(green_url: str) -> None:
    async with purple(trading(hold)) as agent:
        seen = await outcomes(green_url, agent.url)

    for row in seen.rows:
        assert branches(row) == dict.fromkeys(("baseline", "noisy", "adversarial", "scale_1_1", "invert_returns"), 10)
        assert row.transcript is not None
        assert {turn.reply and turn.reply.text for turn in row.transcript.turns} == {HOLD}


def branches(row: TaskResult) -> dict[str, int]:
    transcript = row.transcript or Transcript()
    return dict(Counter(turn.branch for turn in transcript.turns))
