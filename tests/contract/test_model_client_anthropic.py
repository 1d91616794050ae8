"""The client in Anthropic's dialect, against the reference engine and scripted servers."""

from __future__ import annotations

from typing import Any

import pytest

from services.contract.endpoints import Endpoint
from services.contract.model_client import ChatMessage, Completion, ResponseFormat, Sampling, ToolCall, ToolSpec
from services.contract.outcomes import Outcome
from tests.contract.calling import KEY, client_of, completed, endpoint, failed, in_, key_of
from tests.support.engine import running_engine
from tests.support.raw_http import raw_server, response

GET_QUOTE = ToolSpec(
    name="get_quote",
    description="Last price.",
    parameters={"type": "object", "properties": {"ticker": {"type": "string"}}, "required": ["ticker"]},
)


def place(url: str, **changes: Any) -> Endpoint:
    return endpoint(url, provider="anthropic", **changes)


def message(*content: dict[str, Any], stop: str = "end_turn", **more: Any) -> bytes:
    counts = {"input_tokens": 10, "output_tokens": 4}
    return response({"type": "message", "content": list(content), "stop_reason": stop, "usage": counts} | more)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def refused(said: str, status: int = 400) -> bytes:
    return response({"type": "error", "error": {"type": "invalid_request_error", "message": said}}, status=status)


async def test_a_conversation_with_a_tool_works_end_to_end() -> None:
    with running_engine() as engine:
        async with client_of(place(engine.url)) as client:
            called = await completed(client, "Quote ABC", tools=[GET_QUOTE])
            messages = [
                ChatMessage(role="system", content="Be brief."),
                ChatMessage(role="user", content="Quote ABC"),
                ChatMessage(role="assistant", content=None, tool_calls=called.tool_calls),
                ChatMessage(role="tool", content="12.5", tool_call_id=called.tool_calls[0].id),
            ]
            answer = await client.complete(messages, tools=[GET_QUOTE], deadline=in_(20), key=KEY)

    assert [(call.name, call.arguments) for call in called.tool_calls] == [("get_quote", '{"ticker": "ABC"}')]
    assert called.finish == "tool_calls"
    assert isinstance(answer, Completion)
    assert answer.text == "The quote is done."


async def test_what_is_sent_has_the_shape_of_the_messages_api() -> None:
    history = [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content="Compare."),
        ChatMessage(
            role="assistant",
            content="Both.",
            tool_calls=(
                ToolCall(id="a", name="get_quote", arguments='{"ticker": "A"}'),
                ToolCall(id="b", name="get_quote", arguments="not json"),
            ),
        ),
        ChatMessage(role="tool", content="1", tool_call_id="a"),
        ChatMessage(role="tool", content="2", tool_call_id="b"),
    ]
    async with (
        raw_server([message(text("ok"))]) as server,
        client_of(place(server.url, api_key=key_of("an-anthropic-key"))) as client,
    ):
        answer = await client.complete(
            history,
            tools=[GET_QUOTE],
            response_format=ResponseFormat(schema={"type": "object"}),
            deadline=in_(20),
            key=KEY,
        )

    [seen] = server.seen
    assert (seen.path, seen.headers["x-api-key"]) == ("/v1/messages", "an-anthropic-key")
    assert seen.body == {
        "model": "reference",
        "max_tokens": 4096,
        "temperature": 0.0,
        "system": "Be brief.",
        "messages": [
            {"role": "user", "content": "Compare."},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Both."},
                    {"type": "tool_use", "id": "a", "name": "get_quote", "input": {"ticker": "A"}},
                    {"type": "tool_use", "id": "b", "name": "get_quote", "input": {"arguments": "not json"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                    {"type": "tool_result", "tool_use_id": "b", "content": "2"},
                ],
            },
        ],
        "tools": [{"name": "get_quote", "description": "Last price.", "input_schema": GET_QUOTE.parameters}],
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    }
    assert isinstance(answer, Completion)
    assert answer.sampling == Sampling(temperature=0.0, max_tokens=4096)


async def test_a_history_of_calls_is_sent_with_its_tools_even_when_no_further_call_is_wanted() -> None:
    history = [
        ChatMessage(role="user", content="Quote A"),
        ChatMessage(role="assistant", content=None, tool_calls=(ToolCall(id="a", name="get_quote", arguments="{}"),)),
        ChatMessage(role="tool", content="1", tool_call_id="a"),
    ]
    async with raw_server([message(text("ok"))]) as server, client_of(place(server.url)) as client:
        await client.complete(history, tools=[GET_QUOTE], tool_choice="none", deadline=in_(20), key=KEY)

    [seen] = server.seen
    assert [tool["name"] for tool in seen.body["tools"]] == ["get_quote"]
    assert seen.body["tool_choice"] == {"type": "none"}


async def test_a_model_that_takes_no_temperature_is_asked_again_without_it_and_the_record_says_so() -> None:
    no = refused("`temperature` is deprecated for this model")
    async with raw_server([no, message(text("ok"))]) as server, client_of(place(server.url)) as client:
        answer = await completed(client)

    assert ["temperature" in seen.body for seen in server.seen] == [True, False]
    assert (answer.sampling.temperature, answer.flags) == (None, ("dropped_temperature",))


async def test_of_two_parameters_that_exclude_each_other_temperature_stays() -> None:
    no = refused("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    async with raw_server([no, message(text("ok"))]) as server, client_of(place(server.url)) as client:
        answer = await completed(client, sampling=Sampling(top_p=0.9))

    assert (answer.sampling.temperature, answer.sampling.top_p) == (0.0, None)


@pytest.mark.parametrize(
    ("stop", "finish", "refused_", "flags"),
    [
        ("end_turn", "stop", False, ()),
        ("stop_sequence", "stop", False, ()),
        ("max_tokens", "length", False, ()),
        ("model_context_window_exceeded", "length", False, ()),
        ("refusal", "content_filter", True, ()),
        ("something_new", "stop", False, ("finish_something_new",)),
    ],
)
async def test_every_stop_reason_has_its_finish(stop: str, finish: str, refused_: bool, flags: tuple[str, ...]) -> None:  # noqa: FBT001 - a parameter of the test
    async with raw_server([message(text("words"), stop=stop)]) as server, client_of(place(server.url)) as client:
        answer = await completed(client)

    assert (answer.text, answer.finish, answer.refused, answer.flags) == ("words", finish, refused_, flags)


async def test_usage_adds_what_was_read_from_and_written_to_the_cache() -> None:
    counts = {
        "input_tokens": 100,
        "cache_read_input_tokens": 900,
        "cache_creation_input_tokens": 50,
        "output_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 20},
    }
    async with raw_server([message(text("ok"), usage=counts)]) as server, client_of(place(server.url)) as client:
        usage = (await completed(client)).usage

    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens) == (1050, 900, 30, 20)


async def test_json_without_a_schema_cannot_be_asked_for_and_is_flagged() -> None:
    async with raw_server([message(text("{}"))]) as server, client_of(place(server.url)) as client:
        answer = await completed(client, response_format=ResponseFormat())

    assert "output_config" not in server.seen[0].body
    assert answer.flags == ("response_format_not_sent",)


@pytest.mark.parametrize(
    ("answer", "kind", "attempts"),
    [
        (refused("prompt is too long: 207791 tokens > 200000 maximum"), "context_overflow", 1),
        (refused("Your credit balance is too low to access the Anthropic API."), "payment", 1),
        (refused("invalid x-api-key", 401), "auth", 1),
        (refused("model: claude-9", 404), "model_missing", 1),
        (refused("Overloaded", 529), "server", 4),
        (refused("max_tokens: Field required"), "bad_request", 1),
        (response("<html>"), "server", 4),
        (b"", "connection", 4),
    ],
)
async def test_errors_have_the_same_kinds_as_in_the_other_dialect(answer: bytes, kind: str, attempts: int) -> None:
    async with raw_server([answer]) as server, client_of(place(server.url)) as client:
        failure = await failed(client)

    assert (failure.outcome, failure.kind, len(failure.attempts)) == (Outcome.INFRA_ERROR, kind, attempts)


async def test_the_apis_own_counter_measures_a_prompt_that_may_be_too_long() -> None:
    paths = ["/v1/messages", "/v1/messages/count_tokens"]
    async with (
        raw_server([response({"input_tokens": 7_000}), message(text("ok"))], paths=paths) as server,
        client_of(place(server.url, max_model_len=8_000)) as client,
    ):
        answer = await completed(client, "x" * 18_000)

    assert answer.sampling.max_tokens == 8_000 - 7_000 - 16
    assert "max_tokens" not in server.seen[0].body


async def test_the_key_of_the_endpoint_is_sent_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Api-Key: from-the-environment")
    async with (
        raw_server([message(text("ok"))]) as server,
        client_of(place(server.url, api_key=key_of("mine-and-only-mine"))) as client,
    ):
        await completed(client)

    assert server.seen[0].headers["x-api-key"] == "mine-and-only-mine"
    assert "from-the-environment" not in str(server.seen[0].headers)
