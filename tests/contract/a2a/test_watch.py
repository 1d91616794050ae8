"""The runner's view of green: every row once, whatever happens to the stream."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress

import pytest
from aiohttp import web

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended, Progress, Timings
from services.contract.a2a.server import Limits, ServerSettings
from services.contract.outcomes import AgentFailure
from tests.support.a2a_server import serving
from tests.support.raw_agents import DIALECTS, Call, Json, raw_agent
from tests.support.scripted_agent import Scripted

QUICK = Timings(send_delays_s=(0.01,), poll_delays_s=(0.01, 0.02), poll_v03_s=0.1)
News = Progress | ArtifactReceived | Ended


async def news(client: AgentClient, text: str = "assess", deadline_s: float = 20.0) -> list[News]:
    deadline = asyncio.get_running_loop().time() + deadline_s
    async with aclosing(client):
        return [item async for item in client.watch(text, deadline=deadline)]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_our_server_tells_every_row_the_artifact_and_the_end(dialect: str) -> None:
    async with serving(Scripted()) as url:
        told = await news(AgentClient(url, a2a_version=dialect), "rows 300")

    rows = [item for item in told if isinstance(item, Progress)]
    assert [row.text for row in rows] == [f'{{"row": {number}}}' for number in range(300)]
    assert rows[7].metadata == {"assay/kind": "task_result", "assay/seq": "7"}
    assert len({row.message_id for row in rows}) == 300
    assert len({row.task_id for row in rows}) == 1
    assert told[300:] == [
        ArtifactReceived(name="evaluation_result", texts=("{}",)),
        Ended(state="completed", text="", metadata={}),
    ]


@pytest.mark.parametrize(
    ("text", "state", "said"), [("reject", "rejected", "no such thing"), ("fail", "failed", "model trouble")]
)
async def test_other_ends_are_news_and_no_exception(text: str, state: str, said: str) -> None:
    async with serving(Scripted()) as url:
        told = await news(AgentClient(url), text)

    end = told[-1]
    assert isinstance(end, Ended)
    assert (end.state, end.text) == (state, said)


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_rows_missed_in_a_gap_are_told_from_the_history(dialect: str) -> None:
    def row(call: Call, number: int) -> Json:
        return call.said(f"row {number}", message_id=f"m{number}", metadata={"assay/seq": str(number)})

    async def manner(call: Call) -> web.StreamResponse:
        if call.method == "get":
            history = [row(call, number) for number in range(4)]
            return call.answer(
                call.task("completed", call.artifact("all four"), history=history, message=call.said("ok"))
            )
        async with call.opened() as stream:
            await stream.send(call.task("submitted"))
            for number in range(2):
                await stream.send(call.status("working", row(call, number)))
            stream.cut()
        return stream.response

    async with raw_agent(dialect, manner, streaming=True) as agent:
        told = await news(AgentClient(agent.url, timings=QUICK))

    assert [item.text for item in told if isinstance(item, Progress)] == ["row 0", "row 1", "row 2", "row 3"]
    assert told[-2:] == [
        ArtifactReceived(name="answer", texts=("all four",)),
        Ended(state="completed", text="ok", metadata={}),
    ]


async def test_a_cut_connection_to_our_server_loses_no_row_and_doubles_none() -> None:
    agent = Scripted()
    async with serving(agent) as url, cutting_proxy(url) as (proxied, cut):
        client = AgentClient(proxied, timings=QUICK)
        told: list[News] = []
        async with aclosing(client):
            async for item in client.watch("wait", deadline=None):
                told.append(item)
                if len(told) == 1:
                    cut()
                    agent.go_on.set()

    assert [item.text for item in told if isinstance(item, Progress)] == ["waiting"]
    assert told[1:] == [
        ArtifactReceived(name="reply", texts=("waited",)),
        Ended(state="completed", text="", metadata={}),
    ]


async def test_an_artifact_that_grows_is_told_with_everything() -> None:
    async def manner(call: Call) -> web.StreamResponse:
        return await call.stream(
            call.task("working"),
            call.update(call.artifact("a")),
            call.update(call.artifact("b"), append=True),
            call.status("completed"),
        )

    async with raw_agent("1.0", manner, streaming=True) as agent:
        told = await news(AgentClient(agent.url))

    assert [item.texts for item in told if isinstance(item, ArtifactReceived)] == [("a",), ("ab",)]


async def test_an_agent_without_streams_is_watched_too() -> None:
    async def manner(call: Call) -> web.StreamResponse:
        return call.answer(call.task("completed", call.artifact("result"), history=[call.said("row 0")]))

    async with raw_agent("0.3", manner) as agent:
        told = await news(AgentClient(agent.url))

    assert [type(item).__name__ for item in told] == ["Progress", "ArtifactReceived", "Ended"]


async def test_past_the_deadline_the_task_is_cancelled() -> None:
    agent = Scripted()
    async with serving(agent) as url:
        with pytest.raises(AgentFailure) as caught:
            await news(AgentClient(url), "wait", deadline_s=0.2)
        assert len(agent.interrupted) == 1

    assert (caught.value.outcome, caught.value.kind) == ("agent_error", "deadline")


async def test_leaving_early_cancels_nothing_and_cancel_does() -> None:
    agent = Scripted()
    async with serving(agent) as url, aclosing(AgentClient(url)) as client:
        async with aclosing(client.watch("wait", deadline=None)) as watching:
            first = await anext(watching)
        assert isinstance(first, Progress)
        assert agent.interrupted == []
        await client.cancel(first.task_id)

    assert agent.interrupted == [first.task_id]


async def test_a_history_shorter_than_the_gap_still_ends_with_the_artifact() -> None:
    async with serving(Scripted(), ServerSettings(limits=Limits(history=2))) as url:
        told = await news(AgentClient(url), "rows 10")

    assert isinstance(told[-2], ArtifactReceived)


@asynccontextmanager
async def cutting_proxy(url: str) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """The URL of a TCP proxy before `url`, and what drops its connections."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    writers: set[asyncio.StreamWriter] = set()
    pumps: set[asyncio.Task[None]] = set()

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writers.update((writer, far_writer))
        for source, sink in ((reader, far_writer), (far_reader, writer)):
            pumps.add(asyncio.create_task(pump(source, sink)))

    def cut() -> None:
        for writer in writers:
            writer.transport.abort()
        writers.clear()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", cut
    finally:
        server.close()
        cut()
        await asyncio.gather(*pumps)
