"""Purple agents with every fault met in the field, examined by the real green over real sockets."""

import socket
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from services.contract.a2a.server import Incoming
from services.contract.outcomes import Outcome
from tests.support.greens import Seen, assess, green, rows_of
from tests.support.processes import service
from tests.support.purples import Fail, Say, blaming, purple, replay
from tests.support.raw_agents import (
    DIALECTS,
    Call,
    Manner,
    drips,
    floods,
    hangs,
    hangs_in_stream,
    raw_agent,
    replies,
)
from tests.support.right_answers import right_answers

OPTIONS = {"datasets": ["options"], "num_tasks": 2, "timeout_seconds": 20}
IMPATIENT = OPTIONS | {"timeout_seconds": 0.3}


@pytest.fixture
async def green_url() -> AsyncIterator[str]:
    async with green() as url:
        yield url


def status(code: int) -> Manner:
    async def manner(call: Call) -> web.StreamResponse:
        return web.Response(status=code, text="no")

    return manner


async def bare_message(call: Call) -> web.StreamResponse:
    return call.answer(call.said("FINAL ANSWER: {}"))


async def task(call: Call) -> web.StreamResponse:
    return call.answer(call.task("completed", call.artifact("FINAL ANSWER: {}")))


async def input_required(call: Call) -> web.StreamResponse:
    return call.answer(call.task("input-required", message=call.said("FINAL ANSWER: {}")))


async def empty(call: Call) -> web.StreamResponse:
    return call.answer(call.task("completed", call.artifact("  \n ")))


async def another_context(call: Call) -> web.StreamResponse:
    call.context_id = "somebody-else"
    return call.answer(call.task("completed", call.artifact("FINAL ANSWER: {}")))


async def api_error_as_answer(call: Call) -> web.StreamResponse:
    text = "Error code: 402 - {'error': {'message': 'Insufficient credits'}}"
    return call.answer(call.task("completed", call.artifact(text)))


async def api_error_as_failure(call: Call) -> web.StreamResponse:
    return call.answer(call.task("failed", message=call.said("402 Payment Required")))


async def crashes(call: Call) -> web.StreamResponse:
    return call.answer(call.task("failed", message=call.said("KeyError: 'strike'")))


async def half_a_character(call: Call) -> web.StreamResponse:
    """What `json.dumps` of a model's broken emoji looks like; nothing downstream could store it."""
    answer = call.wrapped(call.task("completed", call.artifact("FINAL ANSWER: \ud83d")))
    return web.json_response({"jsonrpc": "2.0", "id": call.body["id"], "result": answer})


async def garbage(call: Call) -> web.StreamResponse:
    return web.Response(text="<html>not JSON-RPC</html>")


SCORED = (Outcome.SCORED, None)
MANNERS: list[tuple[Manner, dict[str, object], tuple[Outcome, str | None]]] = [
    (bare_message, OPTIONS, SCORED),
    (task, OPTIONS, SCORED),
    (input_required, OPTIONS, SCORED),
    (another_context, OPTIONS, SCORED),
    (replies("garbage, no numbers"), OPTIONS, SCORED),
    (replies("nul \x00 and bell \x07"), OPTIONS, SCORED),
    (half_a_character, OPTIONS, SCORED),
    (empty, OPTIONS, (Outcome.AGENT_ERROR, "empty")),
    (api_error_as_answer, OPTIONS, (Outcome.AGENT_ERROR, "error_text")),
    (api_error_as_failure, OPTIONS, (Outcome.INFRA_ERROR, "http_402")),
    (crashes, OPTIONS, (Outcome.AGENT_ERROR, "failed")),
    (garbage, OPTIONS, (Outcome.AGENT_ERROR, "protocol")),
    (status(500), OPTIONS, (Outcome.INFRA_ERROR, "http_500")),
    (status(402), OPTIONS, (Outcome.INFRA_ERROR, "http_402")),
    (status(401), OPTIONS, (Outcome.INFRA_ERROR, "auth")),
    (status(418), OPTIONS, (Outcome.AGENT_ERROR, "protocol")),
    (hangs, IMPATIENT, (Outcome.AGENT_ERROR, "deadline")),
]
STREAMING: list[tuple[Manner, dict[str, object], tuple[Outcome, str | None]]] = [
    (replies("garbage, no numbers"), OPTIONS, SCORED),
    (drips, IMPATIENT, (Outcome.AGENT_ERROR, "deadline")),
    (hangs_in_stream, IMPATIENT, (Outcome.AGENT_ERROR, "deadline")),
    (floods, OPTIONS, (Outcome.AGENT_ERROR, "too_large")),
]


def outcomes(seen: Seen) -> set[tuple[Outcome, str | None]]:
    return {(row.outcome, row.error.kind if row.error else None) for row in seen.rows}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("manner", "config", "expected"), MANNERS)
async def test_each_manner_of_an_agent_ends_in_its_outcome(
    green_url: str, dialect: str, manner: Manner, config: dict[str, object], expected: tuple[Outcome, str | None]
) -> None:
    async with raw_agent(dialect, manner) as agent:
        seen = await assess(green_url, agent.url, config)

    assert outcomes(seen) == {expected}
    assert len(seen.rows) == 2
    assert all(row.score in {0.0, None} for row in seen.rows)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("manner", "config", "expected"), STREAMING)
async def test_each_manner_of_a_streaming_agent_ends_in_its_outcome(
    green_url: str, dialect: str, manner: Manner, config: dict[str, object], expected: tuple[Outcome, str | None]
) -> None:
    async with raw_agent(dialect, manner, streaming=True) as agent:
        seen = await assess(green_url, agent.url, config)

    assert outcomes(seen) == {expected}
    assert len(seen.rows) == 2


async def test_an_agent_that_is_not_there_is_unscored_and_the_assessment_failed(green_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        closed = f"http://127.0.0.1:{held.getsockname()[1]}/"

    seen = await assess(green_url, closed, OPTIONS)

    assert outcomes(seen) == {(Outcome.INFRA_ERROR, "unreachable")}
    assert seen.state == "failed"
    overall = seen.result.overall_score
    assert (overall.score, overall.lower, overall.upper, overall.coverage) == (None, 0.0, 100.0, 0.0)


async def test_failing_33_of_34_tasks_scores_at_most_three_with_full_coverage(green_url: str) -> None:
    right = dict(right_answers(34))
    spared = min(right)

    def crash_but_once(incoming: Incoming, seen: int) -> Say | Fail:
        if incoming.text == spared:
            return Say(text=right[spared])
        return Fail(text="ValueError: I give up")

    async with purple(crash_but_once) as agent:
        seen = await assess(green_url, agent.url, {"datasets": ["options"], "num_tasks": 34})

    assert Counter(row.outcome for row in seen.rows) == {Outcome.SCORED: 1, Outcome.AGENT_ERROR: 33}
    overall = seen.result.overall_score
    assert overall.score is not None
    assert overall.score == pytest.approx(100 / 34)
    assert overall.score <= 3.0
    assert overall.coverage == 1.0
    assert seen.result.evaluation_metadata["num_successful"] == 1


async def test_claimed_infrastructure_faults_open_the_bounds_and_never_raise_the_lower_one(green_url: str) -> None:
    config = {"datasets": ["options"], "num_tasks": 30}
    async with purple(blaming(0.5, replay({}))) as agent:
        seen = await assess(green_url, agent.url, config)

    claimed = [row for row in seen.rows if row.outcome is Outcome.INFRA_ERROR]
    assert 5 <= len(claimed) <= 25
    assert all(row.error is not None and row.error.self_reported and len(row.attempts) == 2 for row in claimed)
    overall = seen.result.overall_score
    assert overall.coverage == pytest.approx(1 - len(claimed) / 30)
    assert (overall.lower, overall.score) == (0.0, 0.0)
    assert overall.upper == pytest.approx(100 * len(claimed) / 30)


async def test_an_agent_killed_half_way_leaves_scored_and_unscored_rows_and_no_others(green_url: str) -> None:
    config = {"datasets": ["options"], "num_tasks": 40, "max_concurrency": 10}
    with service(["purple-agent", "serve", "--baseline", "slow:0.05"]) as agent:
        seen = Seen()
        async for row in rows_of(green_url, agent.url, config):
            seen.rows.append(row)
            if len(seen.rows) == 6:
                agent.kill()

    counts = Counter(row.outcome for row in seen.rows)
    assert len({row.key for row in seen.rows}) == 40
    assert counts[Outcome.SCORED] >= 6
    assert counts[Outcome.INFRA_ERROR] >= 30
    assert counts[Outcome.SCORED] + counts[Outcome.INFRA_ERROR] == 40


async def test_a_request_that_cannot_be_run_is_rejected_with_every_reason(green_url: str) -> None:
    cases = {
        "Hello": "expected a JSON object",
        '{"participants": {}}': "at least one entry",
        '{"participants": {"a": "http://h:1"}, "config": {"num_tasks": 0}}': "config.num_tasks",
        '{"participants": {"a": "http://h:1"}, "config": {"datasets": ["opions"]}}': "did you mean 'options'?",
        '{"participants": {"a": "http://h:1"}, "config": {"humaneval_limt": 3}}': "humaneval_limt",
        '{"participants": {"a": "http://h:1"}, "config": {"options_limit": 0, "humaneval_limit": 0}}': "empty",
        '{"participants": {"a": "http://h:1"}, "config": {"eval_config": "../../etc/passwd"}}': "no suite",
        '{"participants": {"a": "http://h:1"}, "config": {"task_ids": ["nope"]}}': "'nope'",
        '{"participants": {"a": "http://h:1"}, "config": {"num_trials": 1000000000}}': "at most 1000000",
        '{"participants": {"a": "http://169.254.169.254/latest"}}': "participants.a",
    }

    for text, reason in cases.items():
        seen = await assess(green_url, "", text=text)
        assert seen.state == "rejected", text
        assert reason in seen.text, seen.text
        assert seen.artifacts == {}
