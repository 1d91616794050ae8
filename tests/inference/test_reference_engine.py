"""The reference engine over HTTP: every endpoint, and every fault as a client sees it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from services.inference.reference_engine import FINGERPRINT, LABEL
from services.inference.reference_engine.app import Settings
from services.inference.reference_engine.policy import NO_ANSWER
from tests.support.engine import RunningEngine, running_engine

QUOTE_TOOL = {
    "type": "function",
    "function": {
        "name": "get_quote",
        "parameters": {"type": "object", "properties": {"ticker": {"type": "string"}}, "required": ["ticker"]},
    },
}


@pytest.fixture(scope="module")
def engine() -> Iterator[RunningEngine]:
    with running_engine(settings=Settings(max_model_len=512)) as running:
        yield running


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "reference", "messages": [{"role": "user", "content": text}], **more}


def ask(engine: RunningEngine, text: str = "ping", **more: Any) -> dict[str, Any]:
    reply = httpx.post(f"{engine.url}/chat/completions", json=chat(text, **more))
    reply.raise_for_status()
    body: dict[str, Any] = reply.json()
    return body


def chunks(engine: RunningEngine, text: str = "ping", **more: Any) -> tuple[list[dict[str, Any]], bool]:
    """The chunks of a stream, and whether it ended as it should."""
    body = httpx.post(f"{engine.url}/chat/completions", json=chat(text, stream=True, **more)).text
    lines = [line.removeprefix("data: ") for line in body.split("\n\n") if line]
    return [json.loads(line) for line in lines if line != "[DONE]"], lines[-1] == "[DONE]"


def test_the_label_is_on_every_answer_the_models_list_and_the_version(engine: RunningEngine) -> None:
    reply = httpx.post(f"{engine.url}/chat/completions", json=chat("ping"))
    models = httpx.get(f"{engine.url}/models").json()

    assert reply.headers["x-assay-engine"] == LABEL
    assert reply.json()["system_fingerprint"] == FINGERPRINT
    assert [(one["id"], one["owned_by"], one["max_model_len"]) for one in models["data"]] == [("reference", LABEL, 512)]
    assert httpx.get(f"{engine.root}/version").json() == {"version": FINGERPRINT, "engine": LABEL}


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_it_says_that_it_is_well(engine: RunningEngine, path: str) -> None:
    assert httpx.get(engine.root + path).status_code == 200


def test_the_same_request_gets_the_same_bytes(engine: RunningEngine) -> None:
    replies = {httpx.post(f"{engine.url}/chat/completions", json=chat("What now?")).content for _ in range(3)}

    assert len(replies) == 1
    assert NO_ANSWER in replies.pop().decode()


def test_usage_counts_four_bytes_a_token_and_four_tokens_a_message(engine: RunningEngine) -> None:
    usage = ask(engine, "ping")["usage"]

    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (5, 1, 6)


def test_several_choices_are_several_equal_answers(engine: RunningEngine) -> None:
    body = ask(engine, "ping", n=3)

    assert [choice["message"]["content"] for choice in body["choices"]] == ["pong"] * 3
    assert body["usage"]["completion_tokens"] == 3


def test_every_token_has_a_log_probability_of_zero(engine: RunningEngine) -> None:
    logprobs = ask(engine, "ping", logprobs=True)["choices"][0]["logprobs"]["content"]

    assert [(token["token"], token["logprob"]) for token in logprobs] == [("pong", 0.0)]


def test_a_stream_says_what_the_whole_answer_says_and_ends_with_usage(engine: RunningEngine) -> None:
    whole = ask(engine, "What?")
    parts, done = chunks(engine, "What?", stream_options={"include_usage": True})

    text = "".join(part["choices"][0]["delta"].get("content", "") for part in parts if part["choices"])
    assert text == whole["choices"][0]["message"]["content"] == NO_ANSWER
    assert parts[-2]["choices"][0]["finish_reason"] == "stop"
    assert parts[-1]["usage"] == whole["usage"]
    assert done


def test_a_streamed_tool_call_has_the_arguments_of_the_whole_one(engine: RunningEngine) -> None:
    call = ask(engine, "Quote ABC", tools=[QUOTE_TOOL])["choices"][0]["message"]["tool_calls"][0]
    parts, _ = chunks(engine, "Quote ABC", tools=[QUOTE_TOOL])

    deltas = [one for part in parts for one in part["choices"][0]["delta"].get("tool_calls", [])]
    assert deltas[0]["function"]["name"] == call["function"]["name"] == "get_quote"
    assert (
        "".join(delta["function"]["arguments"] for delta in deltas)
        == call["function"]["arguments"]
        == '{"ticker": "ABC"}'
    )
    assert parts[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_tools_may_be_forbidden_required_or_named(engine: RunningEngine) -> None:
    def calls(choice: Any) -> list[str]:
        message = ask(engine, "hello", tools=[QUOTE_TOOL], tool_choice=choice)["choices"][0]["message"]
        return [call["function"]["name"] for call in message["tool_calls"]]

    assert calls("none") == calls("auto") == []
    assert calls("required") == ["get_quote"]
    assert calls({"type": "function", "function": {"name": "get_quote"}}) == ["get_quote"]


def test_a_tool_choice_that_names_no_offered_tool_is_refused(engine: RunningEngine) -> None:
    choice = {"type": "function", "function": {"name": "other"}}
    body = chat("hello", tools=[QUOTE_TOOL], tool_choice=choice)

    assert httpx.post(f"{engine.url}/chat/completions", json=body).status_code == 400


@pytest.mark.parametrize(
    ("asked", "content"),
    [
        ({"response_format": {"type": "json_object"}}, {}),
        ({"structured_outputs": {"json": {"type": "integer", "minimum": 3}}}, 3),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {
                        "name": "verdict",
                        "schema": {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]},
                    },
                }
            },
            {"ok": True},
        ),
    ],
)
def test_an_asked_format_is_kept(engine: RunningEngine, asked: dict[str, Any], content: object) -> None:
    assert json.loads(ask(engine, "hello", **asked)["choices"][0]["message"]["content"]) == content


def test_an_answer_longer_than_max_tokens_is_cut(engine: RunningEngine) -> None:
    choice = ask(engine, "What?", max_tokens=2)["choices"][0]

    assert (choice["message"]["content"], choice["finish_reason"]) == (NO_ANSWER[:8], "length")


def test_a_tool_call_that_is_cut_comes_as_text(engine: RunningEngine) -> None:
    choice = ask(engine, "Quote ABC", tools=[QUOTE_TOOL], max_tokens=4)["choices"][0]

    assert choice["message"]["tool_calls"] == []
    assert choice["message"]["content"] == '<tool_call>\n{"na'
    assert choice["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (chat("x" * 4000), 400, "maximum context length is 512 tokens. However, your request has 1004 input tokens"),
        (chat("ping", max_tokens=508), 400, "is too large: 508"),
        (chat("ping") | {"model": "other"}, 404, "`other` does not exist"),
        ({"model": "reference", "messages": []}, 400, "messages"),
        (chat("ping", n=0), 400, "n: "),
    ],
)
def test_a_wrong_request_is_refused_in_the_shape_of_vllm(
    engine: RunningEngine, body: dict[str, Any], status: int, text: str
) -> None:
    reply = httpx.post(f"{engine.url}/chat/completions", json=body)

    error = reply.json()["error"]
    assert (reply.status_code, error["code"]) == (status, status)
    assert text in error["message"]


def test_the_longest_allowed_answer_is_allowed(engine: RunningEngine) -> None:
    assert ask(engine, "ping", max_tokens=507)["choices"][0]["message"]["content"] == "pong"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/v1/chat/completions", 405), ("POST", "/health", 405)],
)
def test_a_wrong_path_or_method_is_named(engine: RunningEngine, method: str, path: str, status: int) -> None:
    reply = httpx.request(method, engine.root + path)

    assert reply.status_code == status
    assert path in reply.json()["error"]["message"]


def test_plain_completions_are_answered_and_streamed(engine: RunningEngine) -> None:
    body = {"model": "reference", "prompt": "ping", "logprobs": 1}

    whole = httpx.post(f"{engine.url}/completions", json=body).json()
    stream = httpx.post(f"{engine.url}/completions", json=body | {"stream": True}).text

    assert (whole["choices"][0]["text"], whole["usage"]["prompt_tokens"]) == ("pong", 1)
    assert whole["choices"][0]["logprobs"]["token_logprobs"] == [0.0]
    assert '"text":"pong"' in stream
    assert stream.endswith("data: [DONE]\n\n")


def test_the_responses_api_answers_text_calls_and_their_results(engine: RunningEngine) -> None:
    def output(**body: Any) -> dict[str, Any]:
        reply = httpx.post(f"{engine.url}/responses", json={"model": "reference", **body})
        reply.raise_for_status()
        last: dict[str, Any] = reply.json()["output"][-1]
        return last

    tool = {"type": "function", **QUOTE_TOOL["function"]}  # type: ignore[dict-item] # the mapping is nested
    called = output(input="Quote ABC", tools=[tool])
    conversation = [
        {"role": "user", "content": [{"type": "input_text", "text": "Quote ABC"}]},
        {"type": "function_call", "call_id": "c", "name": "get_quote", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "12"},
    ]

    assert output(input="ping")["content"][0]["text"] == "pong"
    assert (called["name"], called["arguments"]) == ("get_quote", '{"ticker": "ABC"}')
    assert output(input=conversation)["content"][0]["text"] == "The quote is done."


def test_the_messages_api_answers_text_calls_and_their_results(engine: RunningEngine) -> None:
    def answer(*messages: Any, **more: Any) -> dict[str, Any]:
        body = {"model": "reference", "max_tokens": 64, "messages": list(messages), **more}
        reply = httpx.post(f"{engine.url}/messages", json=body)
        reply.raise_for_status()
        answered: dict[str, Any] = reply.json()
        return answered

    function: Any = QUOTE_TOOL["function"]
    tool = {"name": "get_quote", "input_schema": function["parameters"]}
    question = {"role": "user", "content": "Quote ABC"}
    called = answer(question, tools=[tool])
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "12"}]}

    assert answer({"role": "user", "content": "ping"})["content"] == [{"type": "text", "text": "pong"}]
    assert (called["stop_reason"], called["content"][0]["input"]) == ("tool_use", {"ticker": "ABC"})
    assert answer(question, {"role": "assistant", "content": called["content"]}, result)["content"][0]["text"] == (
        "The quote is done."
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/responses", {"input": "ping", "stream": True}),
        (
            "/messages",
            {"model": "reference", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "stream": True},
        ),
    ],
)
def test_a_stream_that_is_not_offered_is_refused_instead_of_ignored(
    engine: RunningEngine, path: str, body: dict[str, Any]
) -> None:
    reply = httpx.post(engine.url + path, json=body)

    assert reply.status_code == 400
    assert "does not stream" in reply.json()["error"]["message"]


def test_the_tokenizer_agrees_with_usage_and_gives_the_text_back(engine: RunningEngine) -> None:
    counted = httpx.post(f"{engine.root}/tokenize", json=chat("What now?")).json()
    encoded = httpx.post(f"{engine.root}/tokenize", json={"prompt": "What now?"}).json()
    decoded = httpx.post(f"{engine.root}/detokenize", json={"tokens": encoded["tokens"]}).json()

    assert counted["count"] == ask(engine, "What now?")["usage"]["prompt_tokens"]
    assert (encoded["count"], encoded["max_model_len"]) == (3, 512)
    assert decoded == {"prompt": "What now?"}


@pytest.mark.parametrize(("path", "body"), [("/tokenize", {}), ("/detokenize", {"tokens": [9]}), ("/tokenize", [])])
def test_a_tokenizer_request_that_makes_no_sense_is_refused(engine: RunningEngine, path: str, body: Any) -> None:
    assert httpx.post(engine.root + path, json=body).status_code == 400


def test_metrics_count_requests_and_tokens() -> None:
    with running_engine() as fresh:
        ask(fresh, "ping")

        page = httpx.get(f"{fresh.root}/metrics").text

    assert "reference_engine_requests_finished_total 1" in page
    assert "reference_engine_prompt_tokens_total 5" in page


@pytest.mark.parametrize("status", [401, 402, 429, 500, 503])
def test_an_http_fault_is_that_status_with_the_asked_retry_after(status: int) -> None:
    with running_engine(f"{status}:times=1:retry_after=7") as failing:
        first = httpx.post(f"{failing.url}/chat/completions", json=chat("ping"))
        second = httpx.post(f"{failing.url}/chat/completions", json=chat("ping"))

    assert (first.status_code, first.headers["retry-after"]) == (status, "7")
    assert second.json()["choices"][0]["message"]["content"] == "pong"


@pytest.mark.parametrize(
    ("fault", "said", "expected"),
    [
        ("refuse", "ping", {"content": None, "refusal": "I cannot help with that."}),
        ("cut", "What?", {"content": NO_ANSWER[:44]}),
        ("think-in-content", "ping", {"content": "<think>\nI think.\n</think>\n\npong"}),
        ("empty-content", "ping", {"content": None, "reasoning": "pong"}),
        ("tool-as-text", "Quote ABC", {"tool_calls": []}),
    ],
)
def test_a_fault_of_the_model_changes_the_message(fault: str, said: str, expected: dict[str, Any]) -> None:
    with running_engine(fault) as failing:
        message = ask(failing, said, tools=[QUOTE_TOOL])["choices"][0]["message"]

    assert {name: message[name] for name in expected} == expected


def test_a_tool_call_as_text_holds_the_call() -> None:
    with running_engine("tool-as-text") as failing:
        message = ask(failing, "Quote ABC", tools=[QUOTE_TOOL])["choices"][0]["message"]

    call = message["content"].removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
    assert json.loads(call) == {"name": "get_quote", "arguments": {"ticker": "ABC"}}


def test_a_malformed_tool_call_has_half_its_arguments() -> None:
    with running_engine("malformed-tool-call") as failing:
        call = ask(failing, "Quote ABC", tools=[QUOTE_TOOL])["choices"][0]["message"]["tool_calls"][0]

    assert call["function"]["arguments"] == '{"ticker"'


def test_wrong_usage_is_ten_times_too_high() -> None:
    with running_engine("wrong-usage") as failing:
        assert ask(failing, "ping")["usage"]["prompt_tokens"] == 50


def test_an_overflow_is_a_length_error_whatever_the_length() -> None:
    with running_engine("overflow") as failing:
        reply = httpx.post(f"{failing.url}/chat/completions", json=chat("ping"))

    assert reply.status_code == 400
    assert "maximum context length is 32768 tokens" in reply.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_answer_breaks_off_in_the_middle(stream: bool) -> None:  # noqa: FBT001 - a parameter of the test
    with running_engine("truncated") as failing, pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{failing.url}/chat/completions", json=chat("What?", stream=stream))


def test_a_stream_without_done_lacks_its_last_chunks() -> None:
    with running_engine("no-done") as failing:
        parts, done = chunks(failing, "ping", stream_options={"include_usage": True})

    assert not done
    assert [part["choices"][0]["finish_reason"] for part in parts] == [None, None]


def test_a_hanging_request_is_noticed_when_its_client_goes() -> None:
    with running_engine("hang") as failing:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{failing.url}/chat/completions", json=chat("ping"), timeout=0.2)
        health = httpx.get(f"{failing.root}/health")

    assert health.status_code == 200
    assert (failing.metrics.running, failing.metrics.aborted) == (0, 1)


def test_a_slow_engine_gives_its_slot_back_when_the_client_goes() -> None:
    with running_engine(settings=Settings(latency_s=0.3, max_concurrency=1)) as slow:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{slow.url}/chat/completions", json=chat("ping"), timeout=0.05)

        assert ask(slow, "ping")["choices"][0]["message"]["content"] == "pong"

    assert slow.metrics.aborted == 1


def test_a_slow_stream_sends_its_first_words_before_its_last() -> None:
    with (
        running_engine("slow-stream") as failing,
        httpx.stream("POST", f"{failing.url}/chat/completions", json=chat("ping", stream=True)) as reply,
    ):
        first = next(reply.iter_lines())

    assert json.loads(first.removeprefix("data: "))["choices"][0]["delta"]["role"] == "assistant"
    assert failing.metrics.finished == 0


def test_the_pace_of_a_stream_does_not_change_what_it_says() -> None:
    paced = Settings(latency_s=0.001, ttft_s=0.001, tokens_per_second=10_000)
    with running_engine(settings=paced) as slow:
        parts, done = chunks(slow, "What?")

    assert "".join(part["choices"][0]["delta"].get("content", "") for part in parts) == NO_ANSWER
    assert done
