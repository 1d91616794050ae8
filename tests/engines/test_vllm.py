"""What vLLM does with the tiny model: forced calls, schemas, limits, cancelled calls, repeats."""

from __future__ import annotations

import asyncio

import pytest

from services.contract.model_client import ResponseFormat, Sampling
from services.inference.engines.log import facts
from tests.contract.calling import client_of, completed, failed, in_, until
from tests.engines.raw import QUOTE, VERDICT, VERDICT_FORMAT, metric, place, said
from tests.engines.servers import KV_TOKENS, MAX_MODEL_LEN, Served

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_quote"}}])
def test_forced_call_comes_even_where_the_model_would_not_call(vllm_server: Served, choice: object) -> None:
    assert said(vllm_server, "ping", tools=[QUOTE]).message["content"] == "pong"
    forced = said(vllm_server, "ping", tools=[QUOTE], tool_choice=choice)
    assert forced.calls == [("get_quote", {"ticker": "ABC"})]


def test_named_call_ends_with_stop_so_that_clients_have_to_look_at_the_calls(vllm_server: Served) -> None:
    named = {"type": "function", "function": {"name": "get_quote"}}
    assert said(vllm_server, "ping", tools=[QUOTE], tool_choice=named).finish == "stop"


def test_schema_binds_an_answer_that_the_model_would_not_give(vllm_server: Served) -> None:
    bound = said(vllm_server, "ping", response_format=VERDICT_FORMAT)
    assert bound.message["content"] == '{"score":4,"verdict":"pass"}'


def test_thinking_is_kept_apart_from_the_answer(vllm_server: Served) -> None:
    thinking = {"chat_template_kwargs": {"enable_thinking": True}}
    found = said(vllm_server, "Think: about it", **thinking).message
    assert (found["content"].strip(), found["reasoning"].strip()) == ("Done.", "I think.")


async def test_unknown_model_is_no_reason_to_try_again(vllm_server: Served) -> None:
    async with client_of(place(vllm_server, model="another")) as client:
        found = await failed(client)
    assert (found.kind, len(found.attempts), found.attempts[0].status) == ("model_missing", 1, 404)


async def test_prompt_over_the_context_is_an_overflow_with_both_sizes(vllm_server: Served) -> None:
    """The client is told of a longer context, so that the engine itself refuses."""
    async with client_of(place(vllm_server, max_model_len=100_000)) as client:
        found = await failed(client, "ping " * 2_000, sampling=Sampling(max_tokens=1))
    assert (found.kind, found.attempts[0].status, found.context_limit) == ("context_overflow", 400, MAX_MODEL_LEN)
    assert found.prompt_tokens is not None
    assert found.prompt_tokens > MAX_MODEL_LEN


async def test_answer_over_the_context_is_an_overflow(vllm_server: Served) -> None:
    async with client_of(place(vllm_server, max_model_len=100_000)) as client:
        found = await failed(client, sampling=Sampling(max_tokens=MAX_MODEL_LEN + 1))
    assert (found.kind, found.attempts[0].status, found.context_limit) == ("context_overflow", 400, MAX_MODEL_LEN)


async def test_known_context_leaves_room_without_asking_for_too_much(vllm_server: Served) -> None:
    async with client_of(place(vllm_server, max_model_len=None)) as client:
        assert await client.context_length() == MAX_MODEL_LEN
        found = await completed(client, sampling=Sampling(max_tokens=MAX_MODEL_LEN))
    assert (found.text, found.attempts) == ("pong", ())
    assert found.sampling.max_tokens is not None
    assert found.sampling.max_tokens < MAX_MODEL_LEN


async def test_call_at_its_deadline_frees_its_slot_in_the_engine(vllm_server: Served) -> None:
    endless = ResponseFormat(name="list", schema={"type": "array", "items": VERDICT, "minItems": 500})
    before = metric(vllm_server, "vllm:generation_tokens_total")
    async with client_of(place(vllm_server), probe_s=10) as client:
        found = await failed(client, response_format=endless, deadline=in_(1))
    assert (found.outcome, found.kind) == ("agent_error", "deadline")
    await until(lambda: metric(vllm_server, "vllm:num_requests_running") == 0)
    generated = metric(vllm_server, "vllm:generation_tokens_total") - before
    assert 0 < generated < MAX_MODEL_LEN * 0.9  # to its end it would have gone on to the limit


def test_greedy_answers_repeat(vllm_server: Served) -> None:
    options = {"seed": 7, "max_tokens": 48, "ignore_eos": True}
    alone = {said(vllm_server, "Hello there", **options).message["content"] for _ in range(5)}
    assert len(alone) == 1


async def test_hundred_chats_at_once_are_all_answered(vllm_server: Served) -> None:
    async with client_of(place(vllm_server), max_connections=100) as client:
        answers = await asyncio.gather(*(completed(client) for _ in range(100)))
    assert [answer.text for answer in answers] == ["pong"] * 100


def test_log_of_the_engine_says_its_version_and_how_much_fits_into_its_cache(vllm_server: Served) -> None:
    assert vllm_server.log is not None
    said = facts(vllm_server.log.read_text(errors="replace"))
    assert (said.version, said.kv_tokens, said.concurrency) == ("0.32.0", KV_TOKENS, KV_TOKENS / MAX_MODEL_LEN)
