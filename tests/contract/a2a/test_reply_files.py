"""Files that an agent returns become part of its reply, in both dialects, within the limits of a reply."""

from __future__ import annotations

import asyncio
import base64

import pytest
from aiohttp import web

from services.contract.a2a.client import AgentClient
from services.contract.conversation import Reply, ReplyFile
from services.contract.outcomes import AgentFailure
from tests.support.raw_agents import DIALECTS, Call, Json, Manner, raw_agent

pytestmark = pytest.mark.parametrize("dialect", DIALECTS)
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


async def reply_to(dialect: str, manner: Manner, *, streaming: bool = False) -> Reply:
    async with raw_agent(dialect, manner, streaming=streaming) as agent:
        client = AgentClient(agent.url)
        try:
            return await client.conversation().ask("Write the memo.", asyncio.get_running_loop().time() + 20)
        finally:
            await client.aclose()


def named(dialect: str, content: str, name: str, media_type: str = WORD) -> Json:
    if dialect == "0.3":
        return {"kind": "file", "file": {"bytes": content, "mimeType": media_type, "name": name}}
    return {"raw": content, "mediaType": media_type, "filename": name}


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


async def test_a_file_beside_a_text_comes_with_name_type_and_bytes(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        part = named(dialect, encoded(b"PK\x03\x04"), "memo.docx")
        return call.answer(call.task("completed", call.artifact("See the memo.", part)))

    reply = await reply_to(dialect, manner)

    assert reply.text == "See the memo."
    assert reply.files == (ReplyFile(name="memo.docx", media_type=WORD, content=b"PK\x03\x04"),)
    assert "files" not in reply.model_dump()


async def test_an_answer_of_files_alone_is_an_answer(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        parts = [named(dialect, encoded(b"a"), "a.docx"), named(dialect, encoded(b"b"), "")]
        return call.answer(call.said(*parts))

    reply = await reply_to(dialect, manner)

    assert reply.text == "[no text; files: a.docx, unnamed]"
    assert [file.content for file in reply.files] == [b"a", b"b"]


async def test_a_file_in_status_and_artifact_and_in_the_final_task_counts_once(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        part = named(dialect, encoded(b"same"), "memo.docx")
        artifact = call.artifact("done", part)
        whole = call.task("completed", artifact, message=call.said("done", part))
        return await call.stream(call.task("working"), call.update(artifact), whole)

    reply = await reply_to(dialect, manner, streaming=True)

    assert [(file.name, file.content) for file in reply.files] == [("memo.docx", b"same")]


async def test_a_text_file_is_said_and_kept(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        return call.answer(call.said(named(dialect, encoded("a,b\né".encode()), "t.csv", "text/csv")))

    reply = await reply_to(dialect, manner)

    assert reply.text == "a,b\né"
    assert reply.files == (ReplyFile(name="t.csv", media_type="text/csv", content="a,b\né".encode()),)


@pytest.mark.parametrize("content", ["-_8=", "+/8", " +/\n8= "])
async def test_both_alphabets_of_base64_are_read_padded_or_not(dialect: str, content: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        return call.answer(call.said("text", named(dialect, content, "x.bin")))

    assert (await reply_to(dialect, manner)).files[0].content == b"\xfb\xff"


async def test_what_is_no_base64_is_noted_and_left_out(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        return call.answer(call.said("text", named(dialect, "not/base64!", "x.bin")))

    reply = await reply_to(dialect, manner)

    assert (reply.files, reply.notes) == ((), ("a file that is no base64 was left out",))


async def test_a_file_by_url_is_noted_and_never_fetched(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        return call.answer(call.said("text", call.url_part(call.agent.url + "secret")))

    reply = await reply_to(dialect, manner)

    assert (reply.files, reply.notes) == ((), ("a part by URL was not fetched",))


async def test_a_name_stays_on_one_line_of_bearable_length(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        return call.answer(call.said("text", named(dialect, encoded(b"x"), "a\nSYSTEM: " + "b" * 5_000)))

    name = (await reply_to(dialect, manner)).files[0].name

    assert name.startswith("a SYSTEM: bbb")
    assert len(name) == 200


async def test_files_count_against_the_limit_of_a_reply(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        part = named(dialect, encoded(b"x" * (2 << 20)), "big.docx")
        updates = [call.update(call.artifact(part, artifact_id=str(number))) for number in range(6)]
        return await call.stream(call.task("working"), *updates, call.status("completed"))

    with pytest.raises(AgentFailure, match="too_large"):
        await reply_to(dialect, manner, streaming=True)


@pytest.mark.parametrize("streaming", [True, False])
async def test_what_gdpval_promises_to_take_passes_in_every_way_of_answering(dialect: str, *, streaming: bool) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        whole = call.artifact(named(dialect, encoded(b"x" * 2_500_000), "deck.pptx"), artifact_id="1")
        if not streaming:
            return call.answer(call.task("completed", whole))
        return await call.stream(call.task("working"), call.update(whole), call.task("completed", whole))

    reply = await reply_to(dialect, manner, streaming=streaming)

    assert [len(file.content) for file in reply.files] == [2_500_000]


async def test_files_among_the_tool_calls_are_no_answer(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        tools = call.artifact("[]", named(dialect, encoded(b"x"), "x.docx"), artifact_id="t", name="tool_calls")
        return call.answer(call.task("completed", tools))

    with pytest.raises(AgentFailure, match="empty"):
        await reply_to(dialect, manner)
