"""Servers that try to fool the doctor, to make it print what it should not, or to keep it busy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.contract.fitness import Examination
from services.inference.doctor.examination import exit_code
from services.inference.doctor.table import table_of
from services.inference.failures import ExitCode
from tests.inference.doctor.examining import examined, finding, ids, one
from tests.support.altered_engine import Change, Exchange, Instead, altered_engine
from tests.support.raw_http import raw_server, response

HOME = "/v1/models"


def page(path: str, body: Any) -> Change:
    return lambda seen: Instead(status=200, body=body) if seen.path == path else seen.answer


def card(**told: Any) -> Change:
    def changed(seen: Exchange) -> Any:
        if seen.path == HOME:
            seen.answer["data"][0] |= told
        return seen.answer

    return changed


def choices(change: Callable[[Exchange, dict[str, Any]], None]) -> Change:
    """Alters the message of every answer, or the pieces of every stream."""

    def changed(seen: Exchange) -> Any:
        if seen.is_chat and isinstance(seen.answer, dict):
            for choice in seen.answer.get("choices", []):
                change(seen, choice.get("message") or choice.get("delta"))
        return seen.answer

    return changed


@pytest.mark.parametrize("name", ["x" * 1_000_000, "a\x1b[31mb", "two\nlines"])
async def test_a_name_that_is_none_is_neither_sent_nor_stored_nor_printed(name: str) -> None:
    async with altered_engine(card(id=name)) as url:
        found = await one(url)

    kept = Examination(endpoints=(found,))
    assert (found.model, ids(found, "fail"), exit_code([found])) == (None, {"D01"}, ExitCode.FAILED)
    assert len(kept.model_dump_json()) < 10_000
    assert "\x1b" not in table_of(kept)


async def test_facts_are_kept_short_and_printable() -> None:
    async with altered_engine(page("/version", {"version": "\x1b[31m" + "9" * 1_000_000})) as url:
        version = (await one(url, only={"D17"})).facts["version"]

    assert (len(version), version.isprintable()) == (300, True)


@pytest.mark.parametrize(
    "text", ["vllm:cache_config_info{\n" * 100_000, "vllm:cache_config_info{" + "a" * 1_000_000 + "}"]
)
async def test_metrics_without_end_are_read_in_time(text: str) -> None:
    async with altered_engine(page("/metrics", text)) as url:
        assert ids(await one(url, only={"D17"}, engine="vllm"), "pass") == {"D17"}


@pytest.mark.parametrize(
    ("length", "second", "last"), [(10**12, "pass", "skip"), (-5, "warn", "skip"), ("unknown", "warn", "skip")]
)
async def test_a_length_beyond_reason_costs_no_memory_and_one_that_is_none_is_not_believed(
    length: Any, second: str, last: str
) -> None:
    async with altered_engine(card(max_model_len=length)) as url:
        found = await one(url, only={"D02", "D13"})

    assert [seen.verdict for seen in found.findings] == [second, last]


@pytest.mark.parametrize("body", ["[" * 100_000, '{"error": {"message": ' + "[" * 900 + "]" * 900 + "}}"])
async def test_an_error_that_is_nested_deeply_is_an_error(body: str) -> None:
    async with altered_engine(lambda seen: Instead(status=400, body=body) if seen.is_chat else seen.answer) as url:
        assert "HTTP 400" in finding(await one(url), "D03").seen


@asynccontextmanager
async def endless(part: bytes) -> AsyncIterator[str]:
    """A server that begins an answer and never comes to its end."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.01 if len(part) == 1 else 0)
        except ConnectionError:
            return
        finally:
            writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    finally:
        listener.close()


@pytest.mark.parametrize(
    ("part", "said"), [(b" " * (1 << 20), "has more than 16 MiB"), (b" ", "no answer within 0.5 s")]
)
async def test_an_answer_without_end_ends_with_the_limit_or_the_deadline(part: bytes, said: str) -> None:
    async with endless(part) as url:
        found = await one(url, deadline_s=30 if len(part) > 1 else 0.5)

    assert (found.reachable, said in finding(found, "D01").seen) == (False, True), found.findings[0]


async def test_the_key_follows_no_redirect() -> None:
    paths = [HOME, "/v1/chat/completions"]
    async with raw_server([response({"data": []})], paths=paths) as other:
        away = response("", status=307, headers={"location": other.url.removesuffix("/v1") + HOME})
        async with raw_server([away], paths=paths) as server:
            found = await one(server.url, key="of-this-" + "server", model="m")

    assert (other.seen, other.others) == ([], [])
    assert "HTTP 307" in finding(found, "D01").seen


@pytest.mark.parametrize(
    ("status", "verdict", "code"), [(503, "fail", ExitCode.NOT_READY), (429, "warn", ExitCode.DONE)]
)
async def test_a_list_of_models_that_is_not_to_be_had_now_says_nothing_about_the_model(
    status: int, verdict: str, code: ExitCode
) -> None:
    async with altered_engine(
        lambda seen: Instead(status=status, body="not now") if seen.path == HOME else seen.answer
    ) as url:
        found = await one(url, model="reference", only={"D01", "D03"})

    assert (finding(found, "D01").verdict, exit_code([found])) == (verdict, code)


async def test_a_tool_that_is_named_in_vain_is_told() -> None:
    def ignores(seen: Exchange, message: dict[str, Any]) -> None:
        if isinstance(seen.request.get("tool_choice"), dict) and seen.user == "say hello":
            message.pop("tool_calls", None)
            message["content"] = "hello"

    async with altered_engine(choices(ignores)) as url:
        assert ids(await one(url), "fail") == {"D05", "D06"}


async def test_calls_without_an_id_are_no_calls() -> None:
    def nameless(_: Exchange, message: dict[str, Any]) -> None:
        for call in message.get("tool_calls") or []:
            call.pop("id", None)

    async with altered_engine(choices(nameless)) as url:
        found = await one(url)

    assert ids(found, "fail") == {"D05", "D06", "D07", "D08"}
    assert "without an id" in finding(found, "D07").seen


async def test_an_id_that_comes_again_in_a_conversation_is_told() -> None:
    def again(seen: Exchange, message: dict[str, Any]) -> None:
        if any(said["role"] == "tool" for said in seen.request["messages"]):
            function = {"name": "get_quote", "arguments": '{"ticker": "ABC"}'}
            call = {"id": seen.request["messages"][1]["tool_calls"][0]["id"], "type": "function", "function": function}
            message |= {"content": None, "tool_calls": [call]}

    async with altered_engine(choices(again)) as url:
        assert ids(await one(url), "fail") == {"D09"}


@pytest.mark.parametrize(
    "counts",
    [{"prompt_tokens": 0}, {"completion_tokens": 0}, {"completion_tokens": 10**9}, {"completion_tokens": None}],
)
async def test_counts_that_cannot_be_true_are_told_without_a_tokenizer(counts: dict[str, Any]) -> None:
    def counted(seen: Exchange) -> Any:
        if seen.path == "/tokenize":
            return Instead(status=404, body={})
        if seen.is_chat and seen.answer.get("usage"):
            seen.answer["usage"] |= counts
        return seen.answer

    async with altered_engine(counted) as url:
        assert ids(await one(url, only={"D14"}), "fail") == {"D14"}


async def test_who_says_nothing_passes_no_check_of_words() -> None:
    def mute(_: Exchange, message: dict[str, Any]) -> None:
        message |= {"content": None, "reasoning": None}

    async with altered_engine(choices(mute)) as url:
        found = await one(url)

    assert (ids(found, "fail"), ids(found, "skip")) == ({"D04", "D09", "D10", "D11"}, {"D15"})


async def test_blanks_are_no_answer_beside_thoughts() -> None:
    def blank(_: Exchange, message: dict[str, Any]) -> None:
        if message.get("content"):
            message["reasoning"], message["content"] = message["content"], "\n\n"

    async with altered_engine(choices(blank)) as url:
        found = await one(url)

    assert ids(found, "fail") == {"D10", "D11"}
    assert "thinking switched off" in finding(found, "D10").cure


async def test_a_line_separator_within_a_word_ends_no_event() -> None:
    def separates(seen: Exchange) -> Any:
        if not seen.is_chat or "choices" not in seen.answer:
            return seen.answer
        for choice in seen.answer["choices"]:
            message = choice.get("message") or choice.get("delta")
            if message.get("content"):
                message["content"] = "po\u2028ng"
        return json.dumps(seen.answer, ensure_ascii=False)

    async with altered_engine(separates) as url:
        assert ids(await one(url, only={"D04"}), "pass") == {"D04"}


@pytest.mark.parametrize(("wants", "verdict"), [("authorization", "pass"), ("host", "warn")])
async def test_a_key_that_nobody_asks_for_guards_no_door(wants: str, verdict: str) -> None:
    def asks(seen: Exchange) -> Any:
        if wants not in seen.headers:
            return Instead(status=401, body={"error": "Unauthorized"})
        return seen.answer

    async with altered_engine(asks) as url:
        # The same machine by an address that is not known to be one.
        found = await one(url.replace("127.0.0.1", "127.1"), key="of-this-" + "server", only={"D18"})

    assert finding(found, "D18").verdict == verdict


async def test_replicas_are_compared_also_when_the_first_is_lost_and_by_the_model_they_serve() -> None:
    dead = "http://127.0.0.1:9/v1"
    async with altered_engine(lambda seen: seen.answer) as first, altered_engine(card(id="another")) as second:
        lost, whole, other = await examined(dead, first, second, only={"D17"})

    assert (lost.reachable, ids(whole, "fail"), ids(other, "fail")) == (False, set(), {"D17"})
    assert f"unlike {first}: model another instead of reference" in finding(other, "D17").seen
