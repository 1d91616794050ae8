"""The client against the reference engine: every row of the outcome table that an engine can produce."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import date

import pytest

from services.contract.endpoints import Price
from services.contract.json_schema import Schema
from services.contract.model_client import (
    ChatMessage,
    Completion,
    ResponseFormat,
    Sampling,
    ToolSpec,
)
from services.contract.outcomes import Outcome
from services.inference.reference_engine import FINGERPRINT
from services.inference.reference_engine.app import Settings
from tests.contract.calling import KEY, Sleeper, call, client_of, completed, endpoint, failed, in_, until
from tests.support.engine import running_engine

GET_QUOTE = ToolSpec(
    name="get_quote",
    description="Last price.",
    parameters={"type": "object", "properties": {"ticker": {"type": "string"}}, "required": ["ticker"]},
)
DEAD = "http://127.0.0.1:9/v1"  # the discard port; nothing listens there


async def test_an_answer_comes_with_usage_replica_and_fingerprint() -> None:
    with running_engine() as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client)

    assert (answer.text, answer.finish, answer.refused, answer.flags) == ("pong", "stop", False, ())
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.calls) == (5, 1, 1)
    assert (answer.replica, answer.fingerprint, answer.attempts) == (engine.url, FINGERPRINT, ())


async def test_every_sampling_parameter_is_in_force_and_recorded() -> None:
    with running_engine() as engine:
        async with client_of(endpoint(engine.url, temperature=0.7)) as client:
            answer = await completed(client, sampling=Sampling(top_p=0.9, top_k=20, max_tokens=100))

    assert answer.sampling == Sampling(temperature=0.7, top_p=0.9, top_k=20, max_tokens=100, seed=KEY.seed)


def test_the_seed_depends_on_every_part_of_the_key_and_fits_31_bits() -> None:
    others = [
        replace(KEY, run_seed=43),
        replace(KEY, benchmark="code"),
        replace(KEY, task_id="t2"),
        replace(KEY, trial=1),
        replace(KEY, purpose="judge"),
        replace(KEY, index=1),
    ]

    seeds = {key.seed for key in [KEY, *others]}

    assert len(seeds) == 7
    assert all(0 <= seed < 2**31 for seed in seeds)


async def test_a_tool_call_and_its_result_make_a_conversation() -> None:
    question = ChatMessage(role="user", content="Quote ABC")
    with running_engine() as engine:
        async with client_of(engine.url) as client:
            called = await completed(client, "Quote ABC", tools=[GET_QUOTE])
            messages = [
                question,
                ChatMessage(role="assistant", content=None, tool_calls=called.tool_calls),
                ChatMessage(role="tool", content="12.5", tool_call_id=called.tool_calls[0].id),
            ]
            answer = await client.complete(messages, tools=[GET_QUOTE], deadline=in_(20), key=KEY)

    [made] = called.tool_calls
    assert (made.name, made.arguments, called.finish, called.text) == (
        "get_quote",
        '{"ticker": "ABC"}',
        "tool_calls",
        "",
    )
    assert isinstance(answer, Completion)
    assert answer.text == "The quote is done."


async def test_json_is_answered_in_the_asked_schema() -> None:
    schema: Schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 4}}, "required": ["n"]}
    with running_engine() as engine:
        async with client_of(engine.url) as client:
            shaped = await completed(client, "hello", response_format=ResponseFormat(schema=schema))
            free = await completed(client, "hello", response_format=ResponseFormat())

    assert (shaped.text, free.text) == ('{"n": 4}', "{}")


@pytest.mark.parametrize(
    ("fault", "kind", "status"),
    [("429", "rate_limited", 429), ("500", "server", 500), ("503", "server", 503), ("truncated", "connection", None)],
)
async def test_a_passing_fault_is_retried_and_kept_as_evidence(fault: str, kind: str, status: int | None) -> None:
    with running_engine(f"{fault}:times=2") as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client)

    assert answer.text == "pong"
    assert [(attempt.kind, attempt.status) for attempt in answer.attempts] == [(kind, status)] * 2
    assert {attempt.replica for attempt in answer.attempts} == {engine.url}
    assert answer.usage.calls == 3


@pytest.mark.parametrize(("fault", "kind"), [("429", "rate_limited"), ("500", "server"), ("truncated", "connection")])
async def test_a_lasting_fault_is_an_infrastructure_failure_after_four_attempts(fault: str, kind: str) -> None:
    with running_engine(fault) as engine:
        async with client_of(engine.url) as client:
            failure = await failed(client)

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, kind)
    assert [attempt.kind for attempt in failure.attempts] == [kind] * 4
    assert failure.usage.calls == 4
    assert failure.usage.input_tokens is None


async def test_a_server_that_does_not_listen_is_a_connection_failure() -> None:
    async with client_of(DEAD) as client:
        failure = await failed(client)

    assert (failure.outcome, failure.kind, len(failure.attempts)) == (Outcome.INFRA_ERROR, "connection", 4)


async def test_waits_double_with_jitter_and_repeat_with_the_run() -> None:
    sleepers = [Sleeper(), Sleeper()]
    for sleeper in sleepers:
        async with client_of(DEAD, sleep=sleeper) as client:
            await failed(client)

    first, second, third = sleepers[0].waits
    assert 0.25 <= first <= 0.75
    assert 0.5 <= second <= 1.5
    assert 1 <= third <= 3
    assert sleepers[0].waits == sleepers[1].waits


@pytest.mark.parametrize(("asked_s", "waited_s"), [(7, 7), (600, 60)])
async def test_the_server_may_ask_for_a_wait_of_up_to_a_minute(asked_s: int, waited_s: int) -> None:
    sleeper = Sleeper()
    with running_engine(f"429:times=1:retry_after={asked_s}") as engine:
        async with client_of(engine.url, sleep=sleeper) as client:
            await completed(client, deadline=in_(100))

    assert sleeper.waits == [waited_s]


async def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    sleeper = Sleeper()
    with running_engine("429:retry_after=50") as engine:
        async with client_of(engine.url, sleep=sleeper) as client:
            failure = await failed(client, deadline=in_(20))

    assert (failure.kind, len(failure.attempts), sleeper.waits) == ("rate_limited", 1, [])


@pytest.mark.parametrize(("fault", "kind"), [("402", "payment"), ("401", "auth")])
async def test_a_fault_that_no_retry_mends_is_reported_at_once(fault: str, kind: str) -> None:
    with running_engine(fault) as engine:
        async with client_of(engine.url) as client:
            failure = await failed(client)

    assert (failure.outcome, failure.kind, len(failure.attempts)) == (Outcome.INFRA_ERROR, kind, 1)


async def test_an_unknown_model_is_missing() -> None:
    with running_engine() as engine:
        async with client_of(endpoint(engine.url, model="qwen3-32b")) as client:
            failure = await failed(client)

    assert (failure.kind, len(failure.attempts)) == ("model_missing", 1)
    assert "`qwen3-32b` does not exist" in failure.message


async def test_an_overflow_that_the_engine_reports_keeps_its_sizes() -> None:
    with running_engine("overflow") as engine:
        async with client_of(engine.url) as client:
            failure = await failed(client)

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, "context_overflow")
    assert (failure.prompt_tokens, failure.context_limit, len(failure.attempts)) == (5, 32_768, 1)


async def test_a_prompt_that_leaves_no_room_is_not_sent() -> None:
    with running_engine(settings=Settings(max_model_len=2_048)) as engine:
        async with client_of(endpoint(engine.url, max_model_len=None)) as client:
            failure = await failed(client, "x" * 4 * 1_800)

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, "context_overflow")
    assert (failure.prompt_tokens, failure.context_limit) == (1_804, 2_048)
    assert (engine.metrics.finished, failure.usage.calls) == (0, 0)


async def test_the_answer_is_limited_to_what_the_context_leaves() -> None:
    with running_engine(settings=Settings(max_model_len=2_048)) as engine:
        async with client_of(endpoint(engine.url, max_model_len=None)) as client:
            long = await completed(client, "x" * 4 * 1_500)
            short = await completed(client, sampling=Sampling(max_tokens=64))

    assert long.sampling.max_tokens == 2_048 - 1_504 - 16
    assert short.sampling.max_tokens == 64


async def test_a_short_answer_fits_where_a_long_one_does_not() -> None:
    with running_engine(settings=Settings(max_model_len=2_048)) as engine:
        async with client_of(endpoint(engine.url, max_model_len=None)) as client:
            answer = await completed(client, "x" * 4 * 1_900, sampling=Sampling(max_tokens=32))

    assert answer.sampling.max_tokens == 32


async def test_a_deadline_that_passes_while_the_engine_is_well_is_the_callers_own() -> None:
    with running_engine("hang:match=slow question") as engine:
        async with client_of(engine.url, probe_s=10) as client:
            failure = await failed(client, "slow question", deadline=in_(0.3))

    assert (failure.outcome, failure.kind) == (Outcome.AGENT_ERROR, "deadline")
    assert (engine.metrics.running, engine.metrics.aborted) == (0, 1)
    assert [attempt.kind for attempt in failure.attempts] == ["deadline"]  # a request was sent, and is accounted for
    assert failure.usage.calls == 1


@pytest.mark.parametrize(("fault", "kind"), [("429", "rate_limited"), ("503", "server")])
async def test_a_deadline_that_passes_after_faults_is_not_the_callers_fault(fault: str, kind: str) -> None:
    with running_engine(f"{fault}:times=1:match=slow question", "hang:match=slow question") as engine:
        async with client_of(engine.url, probe_s=10) as client:
            failure = await failed(client, "slow question", deadline=in_(1))

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, kind)
    assert [attempt.kind for attempt in failure.attempts] == [kind, "deadline"]


async def test_a_deadline_that_passes_while_the_engine_is_silent_is_a_stall() -> None:
    with running_engine("hang") as engine:
        async with client_of(engine.url, probe_s=0.3) as client:
            failure = await failed(client, deadline=in_(0.3))

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, "engine_stalled")


async def test_a_deadline_that_passes_while_the_engine_fails_is_the_engines_fault() -> None:
    with running_engine("hang:match=slow question", "500") as engine:
        async with client_of(engine.url) as client:
            failure = await failed(client, "slow question", deadline=in_(0.3))

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, "server")


async def test_a_deadline_in_the_past_asks_nobody() -> None:
    with running_engine() as engine:
        async with client_of(engine.url) as client:
            failure = await failed(client, deadline=in_(-1))

    assert (failure.outcome, failure.kind, engine.metrics.finished) == (Outcome.AGENT_ERROR, "deadline", 0)


async def test_the_clock_of_the_deadline_can_be_given() -> None:
    with running_engine() as engine:
        async with client_of(engine.url, clock=lambda: 1_000.0) as client:
            answer = await completed(client, deadline=1_010.0)
            failure = await failed(client, deadline=999.0)

    assert (answer.text, failure.kind) == ("pong", "deadline")


async def test_a_cancelled_call_closes_its_request_so_that_the_engine_stops() -> None:
    with running_engine("hang") as engine:
        async with client_of(engine.url) as client:
            task = asyncio.create_task(call(client))
            await until(lambda: engine.metrics.running == 1)
            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: engine.metrics.running == 0)

    assert engine.metrics.aborted == 1


async def test_closing_the_client_ends_its_calls_as_cancelled() -> None:
    with running_engine("hang") as engine:
        async with client_of(engine.url) as client:
            task = asyncio.create_task(call(client))
            await until(lambda: engine.metrics.running == 1)
            await client.aclose()
            ended = await task
            later = await failed(client)

    assert not isinstance(ended, Completion)
    assert (ended.outcome, ended.kind) == (Outcome.CANCELLED, "closed")
    assert (later.outcome, later.kind) == (Outcome.CANCELLED, "closed")


async def test_closing_the_client_while_it_asks_whose_fault_a_deadline_was_is_nobodys_fault() -> None:
    with running_engine("hang") as engine:
        async with client_of(engine.url, probe_s=20) as client:
            task = asyncio.create_task(call(client, deadline=in_(0.1)))
            await until(lambda: engine.metrics.aborted == 1 and engine.metrics.running == 1)
            await client.aclose()
            ended = await task

    assert not isinstance(ended, Completion)
    assert (ended.outcome, ended.kind) == (Outcome.CANCELLED, "closed")


async def test_an_answer_that_is_cut_says_so() -> None:
    with running_engine("cut") as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client)

    assert (answer.text, answer.finish) == ("", "length")
    assert answer.flags == ("cut_before_text",)


async def test_half_a_tool_call_in_the_text_is_no_tool_call() -> None:
    with running_engine() as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client, "Quote ABC", tools=[GET_QUOTE], sampling=Sampling(max_tokens=4))

    assert (answer.text, answer.finish, answer.tool_calls) == ('<tool_call>\n{"na', "length", ())


async def test_a_whole_tool_call_in_the_text_is_no_tool_call_either() -> None:
    with running_engine("tool-as-text") as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client, "Quote ABC", tools=[GET_QUOTE])

    assert answer.tool_calls == ()
    assert answer.text.startswith("<tool_call>")


async def test_a_tool_call_with_broken_arguments_is_flagged_and_left_to_the_agent() -> None:
    with running_engine("malformed-tool-call") as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client, "Quote ABC", tools=[GET_QUOTE])

    assert [made.arguments for made in answer.tool_calls] == ['{"ticker"']
    assert answer.flags == ("invalid_tool_arguments",)


async def test_a_refusal_is_an_answer() -> None:
    with running_engine("refuse") as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client)

    assert (answer.refused, answer.text) == (True, "I cannot help with that.")


async def test_thoughts_in_the_text_are_flagged() -> None:
    with running_engine("think-in-content") as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client)

    assert answer.flags == ("think_in_content",)


async def test_an_answer_that_lies_in_the_reasoning_field_alone_is_a_failure_with_its_cure() -> None:
    with running_engine("empty-content") as engine:
        async with client_of(engine.url) as client:
            failure = await failed(client)

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, "empty_content")
    assert "reasoning parser" in failure.message
    assert [attempt.kind for attempt in failure.attempts] == ["empty_content"]


async def test_json_in_the_reasoning_field_is_taken_when_it_is_what_was_asked() -> None:
    schema: Schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    with running_engine("empty-content") as engine:
        async with client_of(engine.url) as client:
            answer = await completed(client, "hello", response_format=ResponseFormat(schema=schema))

    assert answer.text == '{"n": 0}'
    assert answer.flags == ("from_reasoning",)


async def test_the_cost_follows_the_price_of_the_endpoint() -> None:
    price = Price(as_of=date(2026, 11, 1), input_usd=2.0, output_usd=8.0)
    with running_engine() as engine:
        async with client_of(endpoint(engine.url, price=price)) as client:
            answer = await completed(client)

    assert answer.usage.cost_usd == pytest.approx((5 * 2.0 + 1 * 8.0) / 1_000_000)


async def test_without_a_price_the_cost_is_unknown_and_not_zero() -> None:
    with running_engine() as engine:
        async with client_of(engine.url) as client:
            assert (await completed(client)).usage.cost_usd is None


async def test_more_calls_than_connections_all_get_their_answer() -> None:
    with running_engine() as engine:
        async with client_of(engine.url, max_connections=4) as client:
            answers = await asyncio.gather(*(completed(client) for _ in range(40)))

    assert {answer.text for answer in answers} == {"pong"}


async def test_a_call_waiting_for_a_connection_keeps_its_deadline() -> None:
    with running_engine("hang:match=first") as engine:
        async with client_of(engine.url, max_connections=1) as client:
            first = asyncio.create_task(call(client, "first"))
            await until(lambda: engine.metrics.running == 1)

            second = await failed(client, "second", deadline=in_(0.2))
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)

    assert (second.outcome, second.kind) == (Outcome.AGENT_ERROR, "deadline")
    assert second.attempts == ()  # it was never sent


async def test_the_number_of_attempts_can_be_chosen() -> None:
    with running_engine("503") as engine:
        async with client_of(engine.url, max_attempts=5) as client:
            failure = await failed(client)

    assert [attempt.kind for attempt in failure.attempts] == ["server"] * 5


async def test_context_and_prompt_are_counted_by_the_server() -> None:
    question = [ChatMessage(role="user", content="x" * 400)]
    with running_engine(settings=Settings(max_model_len=4_096)) as engine:
        async with client_of(endpoint(engine.url, max_model_len=None)) as client:
            told = await client.context_length(), await client.count_tokens(question)
    async with client_of(endpoint(DEAD, max_model_len=None)) as client:
        unknown = await client.context_length(), await client.count_tokens(question)

    assert (told, unknown) == ((4_096, 104), (None, None))
