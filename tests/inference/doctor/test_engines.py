"""Shapes and faults of real engines, told by what they were seen to answer."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest

from services.inference.doctor.examination import exit_code
from services.inference.failures import ExitCode
from services.inference.planning.presets import catalogue
from tests.inference.doctor.examining import examined, finding, ids, one
from tests.support.altered_engine import Exchange, Instead, altered_engine
from tests.support.raw_http import Seen, raw_server, response

TOOLS = {"D05", "D06", "D07", "D08"}


def messages(seen: Exchange) -> list[dict[str, Any]]:
    """The message of an answer, or the pieces of a stream's event."""
    if not seen.is_chat or not isinstance(seen.answer, dict) or "choices" not in seen.answer:
        return []
    return [choice.get("message") or choice.get("delta") for choice in seen.answer["choices"]]


def calls_lost(seen: Exchange) -> Any:
    """vLLM with --tool-call-parser qwen3_xml on a model that writes Hermes calls: HTTP 200, content null, no call."""
    for message in messages(seen):
        message.pop("tool_calls", None)
    for choice in seen.answer.get("choices", []) if seen.is_chat else []:
        choice["finish_reason"] = choice["finish_reason"] and "stop"
    return seen.answer


async def test_a_wrong_tool_parser_that_swallows_calls_is_told_with_the_right_one() -> None:
    preset = catalogue().preset("qwen3-32b")
    async with altered_engine(calls_lost) as url:
        found = await one(url, preset=preset, engine="vllm")

    assert ids(found, "fail") == TOOLS
    lost = finding(found, "D07")
    assert "the call is lost: content null, no tool call, finish stop" in lost.seen
    assert "--enable-auto-tool-choice --tool-call-parser hermes" in lost.cure


@pytest.mark.parametrize(
    ("engine", "flag"), [("sglang", "--tool-call-parser qwen25"), ("trtllm", "--tool_parser qwen3")]
)
async def test_the_cure_speaks_the_language_of_the_engine(engine: str, flag: str) -> None:
    async with altered_engine(calls_lost) as url:
        found = await one(url, preset=catalogue().preset("qwen3-32b"), engine=engine, only={"D07"})

    assert flag in finding(found, "D07").cure


async def test_an_engine_without_a_parser_for_the_model_is_no_place_for_tools() -> None:
    async with altered_engine(calls_lost) as url:
        found = await one(url, preset=catalogue().preset("llama-3.1-70b"), engine="trtllm", only={"D07"})

    assert "trtllm has no tool parser for llama-3.1-70b" in finding(found, "D07").cure


async def test_a_vllm_that_was_started_without_tools_is_told_so() -> None:
    said = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'

    def without(seen: Exchange) -> Any:
        if seen.is_chat and seen.request.get("tool_choice") == "auto":
            return Instead(status=400, body={"error": {"message": said}})
        return seen.answer

    async with altered_engine(without) as url:
        found = await one(url, preset=catalogue().preset("qwen3-32b"), engine="vllm", only={"D05", "D07", "D09"})

    assert ids(found, "fail") == {"D07", "D09"}
    assert "started without tool support, which `inference up` sets" in finding(found, "D07").cure
    assert "--tool-call-parser hermes" in finding(found, "D07").cure


async def test_answers_in_the_reasoning_field_are_told_with_the_switch_of_the_template() -> None:
    def swallowed(seen: Exchange) -> Any:
        for message in messages(seen):
            if message.get("content"):
                message["reasoning"], message["content"] = message["content"], None
        return seen.answer

    async with altered_engine(swallowed) as url:
        found = await one(url)

    assert ids(found, "fail") == {"D10", "D11"}
    assert "content null, all of the answer in reasoning" in finding(found, "D11").seen
    assert "--default-chat-template-kwargs '{\"enable_thinking\": false}'" in finding(found, "D11").cure


async def test_thinking_that_can_be_switched_off_does_not_excuse_the_default() -> None:
    def by_default(seen: Exchange) -> Any:
        if seen.is_chat and "chat_template_kwargs" not in seen.request:
            for message in messages(seen):
                message["reasoning"], message["content"] = message.get("content"), None
        return seen.answer

    async with altered_engine(by_default) as url:
        assert "thinking default" in finding(await one(url, only={"D11"}), "D11").seen


async def test_transformers_serve_ignores_what_it_does_not_know_and_that_is_told() -> None:
    def ignores(seen: Exchange) -> Any:
        if seen.path in {"/tokenize", "/metrics"}:
            return Instead(status=404, body={"detail": "Not Found"})
        for choice, message in zip(seen.answer.get("choices", []), messages(seen), strict=True):
            choice["logprobs"] = None
            if seen.user == "say hello":
                message.pop("tool_calls", None)
                message["content"] = "OK."
        return seen.answer

    async with altered_engine(ignores) as url:
        found = await one(url, engine="transformers")

    assert (ids(found, "fail"), ids(found, "warn"), ids(found, "skip")) == ({"D05", "D06", "D10"}, {"D12"}, {"D16"})
    assert "tool_choice named: no call; the model says 'OK.'" in finding(found, "D05").seen
    assert "transformers serve ignores tool_choice" in finding(found, "D05").cure
    assert "response_format is ignored: 'OK.'" in finding(found, "D10").seen


async def test_an_sglang_server_tells_its_flags_and_its_thoughts_have_another_field() -> None:
    told = {
        "version": "0.5.23",
        "tp_size": 2,
        "tool_call_parser": "qwen25",
        "reasoning_parser": "qwen3",
        "max_total_num_tokens": 9,
    }

    def sglang(seen: Exchange) -> Any:
        if seen.path == "/v1/models":
            seen.answer["data"][0]["owned_by"] = "sglang"
        if seen.path == "/server_info":
            return Instead(status=200, body=told)
        for message in messages(seen):
            if "reasoning" in message:
                message["reasoning_content"] = message.pop("reasoning")
        return seen.answer

    async with altered_engine(sglang) as url:
        found = await one(url, only={"D04", "D11", "D17"})

    assert ids(found, "fail") == set()
    facts = found.facts
    assert (facts["engine"], facts["version"], facts["tp"], facts["tool_parser"]) == ("sglang", "0.5.23", "2", "qwen25")
    assert (facts["kv_tokens"], facts["reasoning_field"]) == ("9", "reasoning_content")


async def test_a_tensorrt_llm_server_reports_less_and_takes_arguments_as_it_likes() -> None:
    def trtllm(seen: Exchange) -> Any:
        if seen.path == "/v1/models":
            card = seen.answer["data"][0]
            card["owned_by"] = "tensorrt_llm"
            del card["max_model_len"]
        if seen.path in {"/metrics", "/tokenize"}:
            return Instead(status=200 if seen.path == "/metrics" else 404, body=[])
        for message in messages(seen):
            for call in message.get("tool_calls") or []:
                if not seen.request.get("stream"):
                    call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        return seen.answer

    async with altered_engine(trtllm) as url:
        found = await one(url)
        known = await one(url, preset=catalogue().preset("qwen3-32b"), only={"D13"})

    assert (ids(found, "fail"), ids(found, "warn"), ids(found, "skip")) == (set(), {"D02"}, {"D13", "D16"})
    assert found.facts["engine"] == "trtllm"
    assert "give --preset" in finding(found, "D13").seen
    assert finding(known, "D13").verdict == "pass"  # by the preset's hard limit


async def test_the_size_of_vllms_cache_is_read_from_its_metrics() -> None:
    page = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="512",gpu_memory_utilization="0.9",cache_dtype="auto"} 1.0\n'

    def vllm(seen: Exchange) -> Any:
        if seen.path == "/v1/models":
            seen.answer["data"][0]["owned_by"] = "vllm"
        return page if seen.path == "/metrics" else seen.answer

    async with altered_engine(vllm) as url:
        facts = (await one(url, only={"D17"})).facts

    assert (facts["kv_tokens"], facts["memory_fraction"]) == ("8192", "0.9")


@pytest.mark.parametrize(
    ("wording", "verdict"),
    [
        ("The input (40000 tokens) is longer than the model's context length (32768 tokens).", "pass"),
        ("Prompt length (40000) exceeds maximum input length (32768)", "pass"),
        ("Your prompt is way too big, sorry.", "fail"),
    ],
)
async def test_an_overflow_must_be_told_in_words_that_the_model_client_knows(wording: str, verdict: str) -> None:
    def worded(seen: Exchange) -> Any:
        return Instead(status=400, body={"message": wording}) if seen.status == 400 else seen.answer

    async with altered_engine(worded) as url:
        assert finding(await one(url, only={"D13"}), "D13").verdict == verdict


async def test_a_prompt_that_is_cut_in_silence_fails_and_a_lowered_answer_warns() -> None:
    def truncates(seen: Exchange) -> Any:
        return _hello() if seen.status == 400 and len(seen.user) > 100 else seen.answer

    def lowers(seen: Exchange) -> Any:
        return _hello() if seen.status == 400 and len(seen.user) < 100 else seen.answer

    async with altered_engine(truncates) as url:
        cut = finding(await one(url, only={"D13"}), "D13")
    async with altered_engine(lowers) as url:
        lowered = finding(await one(url, only={"D13"}), "D13")

    assert (cut.verdict, lowered.verdict) == ("fail", "warn")
    assert "cut in silence" in cut.seen


def _hello() -> Instead:
    return Instead(status=200, body={"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]})


async def test_texts_that_differ_warn_and_fail_where_equal_ones_were_promised() -> None:
    number = count()

    def differs(seen: Exchange) -> Any:
        for message in messages(seen):
            message["content"] = f"{next(number)}"
        return seen.answer

    async with altered_engine(differs) as url:
        found = await one(url, only={"D15"})
        promised = await one(url, only={"D15"}, deterministic=True)

    assert (finding(found, "D15").verdict, finding(promised, "D15").verdict) == ("warn", "fail")
    assert (found.facts["equal_alone"], found.facts["equal_in_batch"]) == ("20 %", "0 %")
    assert "--deterministic" in finding(promised, "D15").cure


def another_model(seen: Exchange) -> Any:
    if seen.path == "/v1/models":
        seen.answer["data"] = [seen.answer["data"][0] | {"id": name} for name in ("qwen3-14b", "qwen3-32b")]
    return seen.answer


async def test_a_model_that_is_not_served_is_named_with_those_that_are() -> None:
    async with altered_engine(another_model) as url:
        found = await one(url, model="reference")
        nameless = await one(url)

    first = finding(found, "D01")
    assert (first.verdict, exit_code([found])) == ("fail", ExitCode.FAILED)
    assert "'reference' is not served; the server lists qwen3-14b, qwen3-32b" in first.seen
    assert "--served-model-name" in first.cure
    assert "several models and none named: qwen3-14b, qwen3-32b" in finding(nameless, "D01").seen
    assert {seen.verdict for seen in found.findings[1:]} == {"skip"}


async def test_a_server_that_lists_no_models_is_judged_by_its_answers() -> None:
    def unlisted(seen: Exchange) -> Any:
        return Instead(status=404, body={}) if seen.path == "/v1/models" else seen.answer

    async with altered_engine(unlisted) as url:
        named, strange = await one(url, model="reference"), await one(url, model="another")
        nameless = await one(url)

    assert (ids(named, "fail"), ids(named, "warn")) == (set(), {"D01", "D02"})
    assert "does not exist" in finding(strange, "D03").seen
    assert finding(nameless, "D01").verdict == "fail"


async def test_a_base_url_may_end_otherwise_than_in_v1() -> None:
    said = {"choices": [{"message": {"content": "pong"}, "finish_reason": "stop"}]}

    def answer(seen: Seen) -> bytes:
        return response({"data": [{"id": "m"}]} if seen.path.endswith("/models") else said)

    paths = ["/v1beta/openai/models", "/v1beta/openai/chat/completions"]
    async with raw_server(answer, paths=paths) as server:
        found = await one(server.url.removesuffix("/v1") + "/v1beta/openai", only={"D01", "D03"})

    assert ids(found, "pass") == {"D01", "D03"}


async def test_a_server_that_wants_a_key_says_so_and_takes_the_right_one() -> None:
    key = "of-this-" + "server"

    def locked(seen: Exchange) -> Any:
        if seen.path.startswith("/v1") and seen.headers.get("authorization") != f"Bearer {key}":
            return Instead(status=401, body={"error": "Unauthorized"})
        return seen.answer

    async with altered_engine(locked) as url:
        without, wrong, right = await one(url), await one(url, key="another"), await one(url, key=key, only={"D03"})

    assert "HTTP 401: the server wants a key" in finding(without, "D01").seen
    assert "and not this one" in finding(wrong, "D01").seen
    assert "--api-key-file" in finding(without, "D01").cure
    assert ids(right, "fail") == set()


async def test_a_server_that_hates_max_tokens_generates_all_the_same() -> None:
    def picky(seen: Exchange) -> Any:
        if seen.is_chat and "max_tokens" in seen.request:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return Instead(status=400, body={"error": {"message": said}})
        return seen.answer

    async with altered_engine(picky) as url:
        assert finding(await one(url, only={"D03"}), "D03").verdict == "pass"


async def test_a_template_that_cannot_render_a_result_fails_by_its_turn_alone() -> None:
    def strict(seen: Exchange) -> Any:
        if seen.is_chat and any(one["role"] == "tool" for one in seen.request["messages"]):
            return Instead(status=400, body={"message": "Tool call id must be nine characters"})
        return seen.answer

    async with altered_engine(strict) as url:
        found = await one(url)

    assert ids(found, "fail") == {"D09"}
    assert "--tokenizer-mode mistral" in finding(found, "D09").cure


async def test_words_lost_in_a_stream_fail_and_calls_that_differ_too() -> None:
    def loses(seen: Exchange) -> Any:
        if seen.is_chat and seen.request.get("stream"):
            for message in messages(seen):
                if message.get("content"):
                    message["content"] = ""
                for call in message.get("tool_calls") or []:
                    text = call["function"].get("arguments", "")
                    call["function"]["arguments"] = text.replace("ABC", "XYZ")
        return seen.answer

    async with altered_engine(loses) as url:
        found = await one(url)

    assert ids(found, "fail") == {"D04", "D06", "D08"}


async def test_replicas_that_are_not_the_same_are_told_apart() -> None:
    def older(seen: Exchange) -> Any:
        if seen.path == "/version":
            return {"version": "0.1"}
        if seen.path == "/tokenize":
            seen.answer["tokens"] = [7]
        return seen.answer

    async with altered_engine(lambda seen: seen.answer) as first, altered_engine(older) as second:
        whole, other = await examined(first, second, only={"D16", "D17"})
        same, twin = await examined(first, first, only={"D16", "D17"})

    assert (ids(whole, "fail"), ids(other, "fail")) == (set(), {"D16", "D17"})
    assert f"unlike {first}: version 0.1 instead of" in finding(other, "D17").seen
    assert (ids(same, "fail"), ids(twin, "fail")) == (set(), set())


async def test_usage_may_be_missing_and_that_is_a_failure() -> None:
    def without(seen: Exchange) -> Any:
        if seen.is_chat:
            seen.answer.pop("usage", None)
        return seen.answer

    async with altered_engine(without) as url:
        assert ids(await one(url), "fail") == {"D04", "D14"}


async def test_what_is_no_model_server_is_told() -> None:
    async with altered_engine(lambda _: Instead(status=200, body="<html>welcome</html>")) as url:
        found = await one(url)

    assert (found.reachable, "no list of models" in finding(found, "D01").seen) == (True, True)


async def test_anthropics_api_is_examined_where_it_has_the_same_things() -> None:
    async with altered_engine(lambda seen: seen.answer) as url:
        found = await one(url.removesuffix("/v1"), anthropic=True)

    assert (ids(found, "fail"), ids(found, "warn")) == (set(), set())
    assert ids(found, "skip") == {"D04", "D06", "D08", "D12", "D16"}


async def test_no_control_character_of_a_server_reaches_the_terminal() -> None:
    async with altered_engine(lambda _: Instead(status=500, body="\x1b[31mred\nnext \x00" + "x" * 9_000)) as url:
        seen = finding(await one(url), "D01").seen

    assert seen.isprintable()
    assert len(seen) <= 300
