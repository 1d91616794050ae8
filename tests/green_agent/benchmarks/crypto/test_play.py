"""Conversations of several episodes, the price of malformed decisions, and playing a transcript again."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.conversation import Reply, Transcript
from services.contract.outcomes import AgentFailure, Failure, Outcome
from services.green_agent.benchmarks.crypto import Crypto, CryptoTask
from services.green_agent.benchmarks.crypto.episodes import Course, Episode, Window, episodes
from services.green_agent.benchmarks.crypto.evaluation import EvaluationConfig, ScoreWeights
from services.green_agent.benchmarks.crypto.grading import grade_scenario
from services.green_agent.benchmarks.crypto.play import Play, converse_all, replay
from services.green_agent.benchmarks.crypto.simulator import Decision
from services.green_agent.benchmarks.crypto.wire import Malformed, read_decision
from tests.green_agent.benchmarks.crypto.markets import flat, market, of_closes
from tests.green_agent.benchmarks.crypto.trials import BASELINE_ONLY, HOLD, benchmark, churn, hold, score, session, talk
from tests.support.scripted_session import ScriptedSession


def one_scenario(**keys: Any) -> tuple[Crypto, CryptoTask]:
    bench = benchmark(**keys)
    return bench, bench.tasks()[0]


def the_episode(**keys: Any) -> Episode:
    _, task = one_scenario(evaluation=BASELINE_ONLY, **keys)
    return episodes(task.course)[0]


async def test_every_episode_is_a_conversation_of_its_own_with_its_steps_in_order() -> None:
    bench, task = one_scenario()

    transcript = await talk(bench, task, hold)

    assert Counter(turn.branch for turn in transcript.turns) == dict.fromkeys(
        ("baseline", "noisy", "adversarial", "scale_1_1", "invert_returns"), 104
    )
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


async def test_episodes_begin_in_the_order_of_their_labels_so_that_it_does_not_tell_the_kind() -> None:
    orders = set[tuple[str, ...]]()
    for seed in range(6):
        bench, task = one_scenario(seed=seed)
        begun = [turn for turn in (await talk(bench, task, hold)).turns if json.loads(turn.question)["step"] == 0]
        assert [json.loads(turn.question)["episode"] for turn in begun] == ["e1", "e2", "e3", "e4", "e5"]
        orders.add(tuple(turn.branch for turn in begun))

    assert len(orders) > 1


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


@pytest.mark.parametrize("asked", ["[redacted]", "what now? [redacted]", '{"type":"trading_decision"[redacted]}}!'])
async def test_a_masked_word_does_not_pass_for_the_whole_question(asked: str) -> None:
    bench, task = one_scenario(evaluation=BASELINE_ONLY)
    said = await talk(bench, task, hold)
    turns = (said.turns[0].model_copy(update={"question": asked}), *said.turns[1:])

    with pytest.raises(Failure, match="another market"):
        await score(bench, task, Transcript(turns=turns))


async def test_a_question_with_a_masked_word_is_still_known() -> None:
    bench, task = one_scenario(evaluation=BASELINE_ONLY)
    said = await talk(bench, task, hold)
    turns = tuple(
        turn.model_copy(update={"question": turn.question.replace("trading_decision", "[redacted]")})
        for turn in said.turns
    )

    assert await score(bench, task, Transcript(turns=turns)) == await score(bench, task, said)


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


EXTREMES = st.sampled_from([0.0, 5e-324, 1e-100, 1e-9, 1.0, 299.0, 1e15, 1e300, 1.7976931348623157e308])
LEVELS = st.none() | st.sampled_from([5e-324, 1e-9, 50.0, 99.9, 100.1, 200.0, 1e300, 1.7976931348623157e308])
REPLIES = st.builds(
    lambda action, size, stop, target: json.dumps(
        {"action": action, "size": size, "stop_loss": stop, "take_profit": target}
    ),
    st.sampled_from(["BUY", "SELL", "HOLD", "CLOSE"]),
    EXTREMES | st.floats(0, 1_000),
    LEVELS,
    LEVELS,
)


@given(
    replies=st.lists(REPLIES, min_size=12, max_size=12), moves=st.lists(st.floats(0.05, 20), min_size=13, max_size=13)
)
def test_no_decision_however_extreme_breaks_an_episode(replies: list[str], moves: list[float]) -> None:
    bars = of_closes(*(100 * move for move in moves))
    window = Window(warm=bars.slice(0, 0), bars=bars)
    config = EvaluationConfig(score_weights=ScoreWeights(baseline=1), slippage_range=(0.0, 0.1))
    course = Course(scenario_id="wild", symbol="", window=window, config=config, seed=1, reveal=True)
    play = Play(episode=episodes(course)[0])
    answers = map(read_decision, replies)

    while (question := play.question()) is not None:
        json.loads(question, parse_constant=pytest.fail)
        play.answer(next(answers))

    scored = grade_scenario("wild", [play.played()], config)
    assert 0 <= scored.score <= 1
    json.dumps([scored.details, scored.metrics], allow_nan=False)
