"""The client against servers that answer oddly: routers, old engines, hosted models that reject parameters, redirects."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import pytest

from services.contract.endpoints import Price
from services.contract.model_client import ChatMessage, ResponseFormat, Sampling, ToolCall, ToolSpec
from services.contract.outcomes import Outcome
from tests.contract.calling import KEY, Sleeper, call, client_of, completed, endpoint, failed, in_, key_of
from tests.support.raw_http import Seen, raw_server, response


def said(
    message: dict[str, Any] | None = None, *, finish: str = "stop", usage: dict[str, Any] | None = None, **more: Any
) -> bytes:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "hello"} | (message or {}),
        "finish_reason": finish,
    }
    return response({"id": "x", "choices": [choice], "usage": usage, **more})


def refused(message: str, **more: Any) -> bytes:
    return response({"error": {"message": message, **more}}, status=400)


async def test_what_is_sent_is_what_the_specification_says_and_nothing_else() -> None:
    tool = ToolSpec(name="f", description="d", parameters={"type": "object", "properties": {}})
    async with raw_server([said()]) as server, client_of(server.url) as client:
        await completed(client, tools=[tool], response_format=ResponseFormat(name="a", schema={"type": "object"}))

    [seen] = server.seen
    assert seen.body == {
        "model": "reference",
        "messages": [{"role": "user", "content": "ping"}],
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 4096,
        "seed": KEY.seed,
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "d", "parameters": tool.parameters}},
        ],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True},
        },
    }


async def test_top_k_is_sent_only_when_it_is_set() -> None:
    async with raw_server([said()]) as server, client_of(server.url) as client:
        await completed(client, sampling=Sampling(top_k=20))
        await completed(client)

    assert [seen.body.get("top_k") for seen in server.seen] == [20, None]


async def test_missing_usage_is_unknown_and_not_zero() -> None:
    async with raw_server([said()]) as server, client_of(server.url) as client:
        usage = (await completed(client)).usage

    assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens) == (None,) * 4
    assert usage.calls == 1


async def test_cached_and_reasoning_tokens_are_kept_apart_and_priced() -> None:
    counts = {
        "prompt_tokens": 1000,
        "completion_tokens": 200,
        "prompt_tokens_details": {"cached_tokens": 400},
        "completion_tokens_details": {"reasoning_tokens": 150},
    }
    price = {"as_of": "2026-11-01", "input_usd": 2, "cached_input_usd": 1, "output_usd": 10}
    async with raw_server([said(usage=counts)]) as server, client_of(endpoint(server.url, price=price)) as client:
        usage = (await completed(client)).usage

    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens) == (
        1000,
        400,
        200,
        150,
    )
    assert usage.cost_usd == pytest.approx((600 * 2 + 400 * 1 + 200 * 10) / 1_000_000)


async def test_a_parameter_that_a_hosted_model_rejects_is_dropped_recorded_and_not_sent_again() -> None:
    no = refused("Unsupported value: 'temperature' does not support 0.0 with this model.", param="temperature")
    sleeper = Sleeper()
    async with raw_server([no, said(), said()]) as server, client_of(server.url, sleep=sleeper) as client:
        first, second = await completed(client), await completed(client)

    assert ["temperature" in seen.body for seen in server.seen] == [True, False, False]
    assert first.sampling.temperature is None
    assert first.flags == second.flags == ("dropped_temperature",)
    assert [attempt.kind for attempt in first.attempts] == ["rejected_temperature"]
    assert (second.attempts, sleeper.waits) == ((), [])


async def test_calls_in_flight_together_all_survive_the_rejection_of_a_parameter() -> None:
    def strict(seen: Seen) -> bytes:
        return refused("Unknown parameter: 'seed'", param="seed") if "seed" in seen.body else said()

    async with raw_server(strict) as server, client_of(server.url) as client:
        answers = await asyncio.gather(*(completed(client) for _ in range(16)))

    assert {answer.flags for answer in answers} == {("dropped_seed",)}


async def test_max_tokens_is_sent_by_its_new_name_where_the_old_one_is_rejected() -> None:
    no = refused(
        "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead.", param="max_tokens"
    )
    async with raw_server([no, said()]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert [(seen.body.get("max_tokens"), seen.body.get("max_completion_tokens")) for seen in server.seen] == [
        (4096, None),
        (None, 4096),
    ]
    assert answer.sampling.max_tokens == 4096


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_a_server_that_rejects_both_names_of_max_tokens_is_not_asked_for_ever(provider: str) -> None:
    no = refused("Unsupported parameter: neither max_tokens nor max_completion_tokens is supported by this model")
    async with raw_server([no] * 20) as server, client_of(endpoint(server.url, provider=provider)) as client:
        failure = await failed(client)

    assert (failure.outcome, failure.kind, len(server.seen)) == (Outcome.INFRA_ERROR, "bad_request", 3)


async def test_calls_whose_arguments_are_no_object_go_back_in_a_form_that_engines_can_parse() -> None:
    texts = ('{"a": 1,', "[" * 20_000, '{"a": NaN}', "[1]", '{"a":1}', "")
    calls = tuple(ToolCall(id=str(number), name="f", arguments=text) for number, text in enumerate(texts))
    history = [ChatMessage(role="user", content="go"), ChatMessage(role="assistant", content=None, tool_calls=calls)]
    async with raw_server([said()]) as server, client_of(server.url) as client:
        await client.complete(history, deadline=in_(20), key=KEY)

    sent = [call["function"]["arguments"] for call in server.seen[0].body["messages"][1]["tool_calls"]]
    assert [json.loads(text) for text in sent[:4]] == [{"arguments": text} for text in texts[:4]]
    assert sent[4:] == ['{"a":1}', "{}"]


async def test_arguments_nested_beyond_all_measure_are_flagged_and_break_nothing() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": '{"a":' + "[" * 100_000}}
    async with raw_server([said({"tool_calls": [call]})]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert answer.flags == ("invalid_tool_arguments",)


async def test_reasoning_nested_beyond_all_measure_is_not_taken_for_the_asked_json() -> None:
    odd = said({"content": None, "reasoning": "[" * 100_000})
    async with raw_server([odd]) as server, client_of(server.url) as client:
        failure = await failed(client, response_format=ResponseFormat())

    assert failure.kind == "empty_content"


async def test_a_text_that_no_encoding_has_is_a_failure_and_nobody_is_asked() -> None:
    async with raw_server([said()]) as server, client_of(server.url) as client:
        failure = await failed(client, "half a pair: \ud83d")

    assert (failure.outcome, failure.kind, server.seen) == (Outcome.INFRA_ERROR, "bad_request", [])
    assert "surrogates not allowed" in failure.message


@pytest.mark.parametrize("count", [-5, 10**30, "many", 2.5, True])
async def test_an_answer_is_not_lost_over_a_count_that_is_none(count: object) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": count}}
    async with raw_server([said(usage=usage)]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert (answer.usage.input_tokens, answer.usage.cached_tokens, answer.usage.output_tokens) == (None, None, 7)


async def test_a_cost_is_never_negative() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 9}}
    price = Price(as_of=date(2026, 11, 1), input_usd=2.0, output_usd=8.0, cached_input_usd=0.0)
    async with raw_server([said(usage=usage)]) as server, client_of(endpoint(server.url, price=price)) as client:
        assert (await completed(client)).usage.cost_usd == 0.0


async def test_a_value_out_of_range_is_the_callers_error() -> None:
    no = refused("temperature must be between 0 and 2", param="temperature")
    async with raw_server([no]) as server, client_of(server.url) as client:
        failure = await failed(client)

    assert (failure.outcome, failure.kind, len(server.seen)) == (Outcome.INFRA_ERROR, "bad_request", 1)
    assert failure.message == "temperature must be between 0 and 2"


async def test_the_body_of_an_error_is_recorded_without_secrets() -> None:
    secret = "sk-" + "a" * 30
    no = refused(f"Incorrect request with key {secret}")
    async with raw_server([no]) as server, client_of(endpoint(server.url, api_key=key_of(secret))) as client:
        failure = await failed(client)

    assert secret not in failure.message + failure.attempts[0].message
    assert "Incorrect request" in failure.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "Rate limited upstream", "code": 429}}, "rate_limited"),
        ({"error": {"message": "No credit", "code": 402}}, "payment"),
        ({"error": {"message": "Provider returned error", "code": "oops"}}, "server"),
        ("<html>Bad gateway</html>", "server"),
        ({"choices": []}, "server"),
        ({"choices": [{"message": {}, "finish_reason": "error"}]}, "server"),
        ("[]", "server"),
    ],
)
async def test_an_error_with_status_200_is_never_an_answer(body: Any, kind: str) -> None:
    async with raw_server([response(body)]) as server, client_of(server.url) as client:
        failure = await failed(client)

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, kind)


@pytest.mark.parametrize(
    ("status", "kind"), [(402, "payment"), (403, "auth"), (404, "model_missing"), (422, "bad_request")]
)
async def test_other_errors_are_reported_at_once(status: int, kind: str) -> None:
    async with raw_server([response("no", status=status)]) as server, client_of(server.url) as client:
        failure = await failed(client)

    assert (failure.kind, failure.message, len(server.seen)) == (kind, "no", 1)


@pytest.mark.parametrize(("status", "kind"), [(408, "server"), (409, "server"), (502, "server"), (529, "server")])
async def test_passing_errors_are_retried(status: int, kind: str) -> None:
    async with raw_server([response("wait", status=status), said()]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert [(attempt.kind, attempt.status) for attempt in answer.attempts] == [(kind, status)]


async def test_a_spent_quota_is_a_matter_of_payment_though_it_comes_as_429() -> None:
    no = response({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, status=429)
    async with raw_server([no]) as server, client_of(server.url) as client:
        failure = await failed(client)

    assert (failure.kind, len(server.seen)) == ("payment", 1)


async def test_a_connection_closed_without_an_answer_is_tried_again() -> None:
    async with raw_server([b"", said()]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert [attempt.kind for attempt in answer.attempts] == ["connection"]


async def test_a_redirect_is_not_followed() -> None:
    async with raw_server([said()]) as elsewhere:
        moved = response("", status=307, headers={"location": f"{elsewhere.url}/chat/completions"})
        async with raw_server([moved]) as server, client_of(server.url) as client:
            failure = await failed(client)

    assert (failure.kind, elsewhere.seen) == ("bad_request", [])


async def test_the_key_of_the_endpoint_is_sent_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer from-the-environment")
    async with raw_server([said()]) as server:
        async with client_of(endpoint(server.url, api_key=key_of("mine-and-only-mine"))) as client:
            await completed(client)
        async with client_of(server.url) as client:
            await completed(client)

    assert [seen.headers["authorization"] for seen in server.seen] == ["Bearer mine-and-only-mine", "Bearer none"]
    assert "from-the-environment" not in str([seen.headers for seen in server.seen])


async def test_another_key_of_the_environment_goes_to_no_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS"):
        monkeypatch.setenv(name, "X-Gateway-Token: from-the-environment")
    async with raw_server([said()]) as server:
        for provider in ("openai", "anthropic"):
            async with client_of(endpoint(server.url, provider=provider), max_attempts=1) as client:
                await call(client)

    assert len(server.seen) == 2
    assert "from-the-environment" not in str([seen.headers for seen in server.seen])


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_reasoning_that_was_cut_before_the_answer_is_an_empty_cut_answer(field: str) -> None:
    message = {"content": None, field: "Let me think"}
    async with raw_server([said(message, finish="length")]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert (answer.text, answer.finish, answer.flags) == ("", "length", ("cut_before_text",))


async def test_tool_calls_count_whatever_the_finish_reason_and_get_an_id_where_they_have_none() -> None:
    calls = [{"function": {"name": "f", "arguments": {"a": 1}}}, {"id": "c2", "function": {"name": "g"}}]
    async with raw_server([said({"content": None, "tool_calls": calls})]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("call_0", "f", '{"a": 1}'),
        ("c2", "g", "{}"),
    ]
    assert answer.finish == "tool_calls"


async def test_a_tool_call_that_was_cut_off_is_none() -> None:
    calls = [{"id": "c", "function": {"name": "f", "arguments": '{"a": '}}]
    message = {"content": None, "tool_calls": calls}
    async with raw_server([said(message, finish="length")]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert (answer.tool_calls, answer.finish, answer.flags) == ((), "length", ("cut_tool_call", "cut_before_text"))


async def test_a_content_filter_is_a_refusal() -> None:
    async with (
        raw_server([said({"content": None}, finish="content_filter")]) as server,
        client_of(server.url) as client,
    ):
        answer = await completed(client)

    assert (answer.refused, answer.text, answer.finish) == (True, "", "content_filter")


async def test_an_unknown_finish_reason_is_kept_as_a_flag() -> None:
    async with raw_server([said(finish="eos")]) as server, client_of(server.url) as client:
        answer = await completed(client)

    assert (answer.text, answer.finish, answer.flags) == ("hello", "stop", ("finish_eos",))


async def test_without_a_tokenizer_a_prompt_is_counted_as_a_third_of_its_bytes() -> None:
    async with raw_server([said()]) as server, client_of(endpoint(server.url, max_model_len=8_000)) as client:
        answer = await completed(client, "x" * 18_000)
        again = await completed(client, "x" * 18_000)

    assert answer.sampling.max_tokens == again.sampling.max_tokens == 8_000 - 6_000 - 16
    assert [seen.path for seen in server.others] == ["/tokenize"]


async def test_a_tokenizer_beside_the_api_is_asked_when_the_room_may_be_short() -> None:
    paths = ["/v1/chat/completions", "/tokenize"]
    async with (
        raw_server([response({"count": 7_000}), said()], paths=paths) as server,
        client_of(endpoint(server.url, max_model_len=8_000)) as client,
    ):
        answer = await completed(client, "x" * 18_000)

    assert answer.sampling.max_tokens == 8_000 - 7_000 - 16


async def test_an_unknown_length_leaves_the_answer_as_long_as_asked() -> None:
    async with raw_server([said()]) as server, client_of(endpoint(server.url, max_model_len=None)) as client:
        answer = await completed(client, "x" * 90_000)
        await completed(client)

    assert answer.sampling.max_tokens == 4096
    assert [seen.path for seen in server.others] == ["/v1/models"]


async def test_a_server_that_is_silent_about_its_length_still_answers_and_of_calls_together_one_asks() -> None:
    def silent_about_itself(seen: Seen) -> bytes | None:
        return None if seen.path == "/v1/models" else said()

    async with (
        raw_server(silent_about_itself, paths=["/v1/models", "/v1/chat/completions"]) as server,
        client_of(endpoint(server.url, max_model_len=None), probe_s=0.2) as client,
    ):
        answers = await asyncio.gather(*(completed(client) for _ in range(8)))
        told = await client.context_length()

    assert [answer.attempts for answer in answers] == [()] * 8
    assert told is None
    assert [seen.path for seen in server.seen].count("/v1/models") == 2


async def test_an_error_of_an_old_engine_without_an_envelope_is_understood() -> None:
    body = {
        "object": "error",
        "message": "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
    }
    async with raw_server([response(body, status=400)]) as server, client_of(server.url) as client:
        failure = await failed(client)

    assert (failure.kind, failure.prompt_tokens, failure.context_limit) == ("context_overflow", 61_709, 40_960)


async def test_a_server_that_accepts_and_stays_silent_is_stalled() -> None:
    async with raw_server([None]) as server, client_of(server.url, probe_s=0.2) as client:
        failure = await failed(client, deadline=in_(0.2))

    assert (failure.outcome, failure.kind) == (Outcome.INFRA_ERROR, "engine_stalled")
