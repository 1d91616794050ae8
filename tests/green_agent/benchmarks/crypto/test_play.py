"""Conversations of several episodes, the price of malformed decisions, and playing a transcript again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest

from services.contract.conversation import Reply, Transcript
from services.contract.outcomes import AgentFailure, Failure, Outcome
from services.green_agent.benchmarks.crypto import Crypto, CryptoTask
from services.green_agent.benchmarks.crypto.episodes import Course, Episode, Window, episodes
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig, ScoreWeights
from services.green_agent.benchmarks.crypto.play import Play, converse_all, replay
from services.green_agent.benchmarks.crypto.simulator import Decision
from services.green_agent.benchmarks.crypto.wire import Malformed
from tests.green_agent.benchmarks.crypto.markets import flat, market
from tests.green_agent.benchmarks.crypto.trials import BASELINE_ONLY, HOLD, benchmark, churn, hold, score, session, talk
from tests.support.scripted_session import ScriptedSession


def one_scenario(**keys: object) -> tuple[Crypto, CryptoTask]:
    bench = benchmark(**keys)
    return bench, bench.tasks()[0]


def the_episode(**keys: object) -> Episode:
    _, task = one_scenario(evaluation=BASELINE_ONLY, **keys)
    return episodes(task.course)[0]


async def test_every_episode_is_a_conversation_of_its_own_with_its_steps_in_order() -> None:
    bench, task = one_scenario()

    transcript = await talk(bench, task, hold)

    assert Counter(turn.branch for turn in transcript.turns) == {
        name: 104 for name in ("baseline", "noisy", "adversarial", "scale_1_1", "invert_returns")
    }
    assert len(transcript.turns) == task.messages
    for name in ("baseline", "noisy"):
        steps = [json.loads(turn.question)["step"] for turn in transcript.branch(name)]
        assert steps == list(range(104))


async def test_episodes_run_at_once() -> None:
    _, task = one_scenario()
    together = asyncio.Barrier(5)
    first = set[str]()

    async def say(branch: str, question: str) -> Reply:
        if branch not in first:
            first.add(branch)
            await together.wait()  # nobody goes on before all five have asked
        return Reply(text=HOLD)

    await converse_all(episodes(task.course), ScriptedSession(say=say))

    assert together.n_waiting == 0
    assert len(first) == 5


async def test_a_fault_of_the_agent_costs_one_decision_and_the_episode_goes_on() -> None:
    bench, task = one_scenario(evaluation=BASELINE_ONLY)

    async def say(_branch: str, question: str) -> Reply:
        if json.loads(question)["step"] in {3, 50}:
            raise AgentFailure(Outcome.AGENT_ERROR, "deadline", "too late")
        return Reply(text=HOLD)

    agent = ScriptedSession(say=say)
    await bench.converse(task, 0, agent)
    scored = await score(bench, task, agent.transcript)

    assert len(agent.turns) == 104
    assert scored.score == pytest.approx(0.5 * (1 - 2 / 104))
    assert scored.details["episodes"]["baseline"]["faults"] == {"deadline": 2}  # type: ignore[index, call-overload]


async def test_an_infrastructure_failure_ends_the_trial_as_that_failure_and_not_as_a_group() -> None:
    bench, task = one_scenario()

    async def say(branch: str, question: str) -> Reply:
        if branch == "noisy" and json.loads(question)["step"] == 5:
            raise AgentFailure(Outcome.INFRA_ERROR, "http_503", "gone", self_reported=True)
        return Reply(text=HOLD)

    with pytest.raises(AgentFailure) as failed:
        await bench.converse(task, 0, ScriptedSession(say=say))

    assert (failed.value.outcome, failed.value.kind, failed.value.self_reported) == (
        Outcome.INFRA_ERROR,
        "http_503",
        True,
    )


async def test_a_defect_beside_a_failure_is_not_hidden_by_it() -> None:
    bench, task = one_scenario()
    both = asyncio.Barrier(2)

    async def say(branch: str, question: str) -> Reply:
        if branch == "baseline":
            await both.wait()
            raise AgentFailure(Outcome.INFRA_ERROR, "http_503", "gone")
        if branch == "noisy":
            await both.wait()
            raise ZeroDivisionError
        return Reply(text=HOLD)

    with pytest.raises(ZeroDivisionError):
        await bench.converse(task, 0, ScriptedSession(say=say))


def test_ten_malformed_decisions_in_a_row_end_the_questions_and_the_rest_counts() -> None:
    play = Play(episode=the_episode())
    asked = 0
    while play.question() is not None:
        asked += 1
        play.answer(Malformed(fault="no_decision"))
    played = play.played()

    assert asked == 10
    assert played.faults == {"no_decision": 10, "unasked": 94}
    assert (played.run.decisions, played.malformed, played.kept) == (104, 104, 0.0)


def test_nine_malformed_decisions_and_a_valid_one_go_on() -> None:
    play = Play(episode=the_episode())
    asked = 0
    while play.question() is not None:
        asked += 1
        play.answer(Decision(action="HOLD") if asked % 10 == 0 else Malformed(fault="action"))

    assert (asked, play.played().malformed) == (104, 94)


def test_after_bankruptcy_nothing_is_asked_or_counted() -> None:
    bars = market(flat(), flat(), flat(45), *[flat(45)] * 20)
    config = EvaluationConfig(score_weights=ScoreWeights(baseline=1))
    window = Window(warm=bars.slice(0, 0), bars=bars)
    course = Course(scenario_id="gap", symbol="", window=window, config=config, seed=1, reveal=True)
    play = Play(episode=episodes(course)[0])

    assert play.question() is not None
    play.answer(Decision(action="BUY", size=200))
    assert play.question() is not None
    play.answer(Malformed(fault="size"))

    assert play.question() is None
    assert (play.planned_questions, play.played().run.decisions, play.played().kept) == (22, 2, 0.5)
    assert play.played().run.equity[-1] == 0.0


async def test_a_transcript_is_scored_again_to_the_last_bit() -> None:
    bench, task = one_scenario()
    transcript = await talk(bench, task, churn)
    stored = Transcript.model_validate_json(transcript.model_dump_json())
    again, same_task = one_scenario()

    assert await score(bench, task, transcript) == await score(again, same_task, stored)


async def test_a_transcript_of_another_market_is_refused() -> None:
    bench, task = one_scenario()
    transcript = await talk(bench, task, hold)
    _, other = one_scenario(seed=8)

    with pytest.raises(Failure, match="another market"):
        await score(bench, other, transcript)


@pytest.mark.parametrize("kept", [0, 100, 519])
async def test_a_transcript_that_ends_too_soon_is_unscored(kept: int) -> None:
    bench, task = one_scenario()
    whole = await talk(bench, task, hold)

    with pytest.raises(Failure) as failed:
        await score(bench, task, Transcript(turns=whole.turns[:kept]))

    assert (failed.value.outcome, failed.value.kind) == (Outcome.INFRA_ERROR, "incomplete")


async def test_a_decision_changed_in_the_transcript_no_longer_fits_its_market() -> None:
    bench, task = one_scenario(evaluation=BASELINE_ONLY)
    agent = session(churn)
    await bench.converse(task, 0, agent)
    turns = list(agent.turns)
    turns[0] = turns[0].model_copy(update={"reply": Reply(text=HOLD)})

    with pytest.raises(Failure, match="another market"):
        replay(episodes(task.course)[0], Transcript(turns=tuple(turns)))
