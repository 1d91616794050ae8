"""The server as a process: where it listens, how it stops, what its flags do."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from services.contract.a2a.client import AgentClient, Progress
from services.contract.outcomes import AgentFailure
from tests.contract.a2a.raw_peer import Peer

ROOT = Path(__file__).parents[3]


@dataclass
class Served:
    """A server process that listens."""

    url: str
    process: asyncio.subprocess.Process


async def start(*flags: str, **variables: str) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "tests.contract.a2a.echo_server", *flags)
    return await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=os.environ | variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


@asynccontextmanager
async def served(tmp_path: Path, *flags: str, **variables: str) -> AsyncIterator[Served]:
    ready = tmp_path / "ready"
    process = await start("--ready-file", str(ready), *flags, **variables)
    try:
        async with asyncio.timeout(30):
            while not ready.exists():
                assert process.returncode is None, await process.communicate()
                await asyncio.sleep(0.02)
        yield Served(ready.read_text().strip(), process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_free_port_is_told_and_sigterm_ends_it_with_0(tmp_path: Path) -> None:
    async with served(tmp_path) as server, aclosing(AgentClient(server.url)) as client:
        reply = await client.conversation().ask("say hello", asyncio.get_running_loop().time() + 20)
        server.process.terminate()
        code = await server.process.wait()

    assert reply.text == "hello"
    assert code == 0
    assert server.url.startswith("http://127.0.0.1:")


async def test_running_messages_end_before_it_stops_and_new_ones_get_503(tmp_path: Path) -> None:
    async with served(tmp_path, "--drain-s", "1") as server, aiohttp.ClientSession() as session:
        peer = Peer(server.url, "1.0", session)
        events = peer.events("stream", peer.message("wait"))
        first = await anext(events)
        server.process.send_signal(signal.SIGINT)
        body = peer.body("send", peer.message("say a"))
        while (status := await status_of(peer, body)) == 200:
            pass
        async with session.get(server.url + ".well-known/agent-card.json") as card:
            card_status = card.status
        states = [peer.state(event) async for event in events]
        code = await server.process.wait()

    assert peer.state(first) == "submitted"
    assert (status, card_status) == (503, 200)
    assert states[-1] == "canceled"
    assert code == 0


async def status_of(peer: Peer, body: object) -> int:
    async with peer.session.post(peer.url, json=body, headers=peer.headers) as response:
        return response.status


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, "--drain-s", "600") as server, aclosing(AgentClient(server.url)) as client:
        watching = client.watch("wait", deadline=None)
        assert isinstance(await anext(watching), Progress)
        server.process.terminate()
        async with asyncio.timeout(30):
            while server.process.returncode is None:
                await asyncio.sleep(0.05)  # two signals at once may be one
                if server.process.returncode is None:
                    server.process.terminate()
        await watching.aclose()

    assert server.process.returncode != 0


async def test_a_taken_port_is_an_exit_with_1(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        port = server.url.rstrip("/").rpartition(":")[2]
        second = await start("--port", port)
        log, _ = await second.communicate()

    assert second.returncode == 1
    assert b"server_could_not_listen" in log


async def test_a_token_named_but_not_set_is_exit_2() -> None:
    process = await start("--auth-token-env", "NO_SUCH_VARIABLE")
    _, log = await process.communicate()

    assert process.returncode == 2
    assert b"NO_SUCH_VARIABLE, which is not set" in log


@pytest.mark.parametrize("url", ["green-agent:9009", "ftp://agent.test/", "http://", "http://user@agent.test/"])
async def test_a_card_url_that_no_peer_could_use_is_exit_2(url: str) -> None:
    process = await start("--card-url", url)
    _, log = await process.communicate()

    assert process.returncode == 2
    assert f"--card-url: expected http://HOST[:PORT]/, got '{url}'" in log.decode()


async def test_what_cannot_be_begun_is_exit_2_and_no_port_is_opened(tmp_path: Path) -> None:
    for flags, said in (
        (("--no-such-flag",), "--no-such-flag"),
        (("--ready-file", str(tmp_path / "nowhere" / "ready")), "--ready-file: there is no folder"),
    ):
        process = await start(*flags)
        _, log = await process.communicate()

        assert process.returncode == 2
        assert said in log.decode()
        assert "server_started" not in log.decode()


async def test_the_token_is_asked_for_and_the_card_says_where(tmp_path: Path) -> None:
    flags = ("--auth-token-env", "MY_TOKEN", "--card-url", "http://agent.test:9009", "--card-dialect", "1.0", "--rest")
    async with served(tmp_path, *flags, MY_TOKEN="a-token-of-mine") as server:
        deadline = asyncio.get_running_loop().time() + 20
        async with aclosing(AgentClient(server.url)) as stranger:
            card = await stranger.card()
            with pytest.raises(AgentFailure) as caught:
                await stranger.conversation().ask("say a", deadline)
        async with aclosing(AgentClient(server.url, token="a-token-of-mine")) as friend:
            reply = await friend.conversation().ask("say a", deadline)
        async with aiohttp.ClientSession() as session, session.get(f"{server.url}.well-known/agent-card.json") as got:
            interfaces = (await got.json())["supportedInterfaces"]

    assert (card.dialect, card.url) == ("1.0", server.url)
    assert (caught.value.outcome, caught.value.kind) == ("infra_error", "auth")
    assert reply.text == "a"
    assert [(i["protocolBinding"], i["protocolVersion"], i["url"]) for i in interfaces] == [
        ("JSONRPC", "1.0", "http://agent.test:9009/"),
        ("HTTP+JSON", "1.0", "http://agent.test:9009/"),
    ]
