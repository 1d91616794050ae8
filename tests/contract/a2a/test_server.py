"""Our server as its peers see it: raw HTTP in both dialects, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from services.contract.a2a.server import Limits, ServerSettings
from tests.contract.a2a.raw_peer import Peer, raw_http
from tests.support.a2a_server import serving
from tests.support.scripted_agent import SECRET, Scripted

DIALECTS = ("1.0", "0.3")
both_dialects = pytest.mark.parametrize("dialect", DIALECTS)


@dataclass
class Scene:
    """A running server, its agent and a peer."""

    agent: Scripted
    peer: Peer
    url: str


@asynccontextmanager
async def scene(dialect: str = "1.0", **settings: Any) -> AsyncIterator[Scene]:
    agent = Scripted()
    async with serving(agent, ServerSettings(**settings)) as url, aiohttp.ClientSession() as session:
        yield Scene(agent, Peer(url, dialect, session), url)


@both_dialects
class TestMessages:
    async def test_text_parts_are_joined_and_a_lone_data_part_is_json(self, dialect: str) -> None:
        async with scene(dialect) as here:
            joined, data = here.peer.message("say a"), here.peer.message("")
            joined["message"]["parts"].append(joined["message"]["parts"][0] | {"text": "b"})
            data["message"]["parts"] = [{"data": {"n": 3}} | ({"kind": "data"} if dialect == "0.3" else {})]
            answers = [(await here.peer.call("send", params))["result"] for params in (joined, data)]

        tasks = [answer if dialect == "0.3" else answer["task"] for answer in answers]
        assert [here.peer.texts(task["artifacts"][0]) for task in tasks] == [["a\nb"], [""]]

    async def test_the_agent_sees_metadata_that_are_strings_within_bounds(self, dialect: str) -> None:
        sent = {
            "assay/sample": "3",
            "number": 3,
            "object": {"a": "b"},
            "none": None,
            "long": "x" * 1_001,
            "k" * 1_001: "",
        }
        many = {f"key{number:03}": "x" for number in range(100)}
        async with scene(dialect) as here:
            seen = []
            for metadata in (None, sent, many):
                params = here.peer.message("metadata")
                params["message"] |= {} if metadata is None else {"metadata": metadata}
                result = (await here.peer.call("send", params))["result"]
                seen.append(json.loads(here.peer.texts(here.peer.unwrapped(result)["artifacts"][0])[0]))

        assert seen[:2] == [{}, {"assay/sample": "3"}]
        assert seen[2] == dict.fromkeys(sorted(many)[:32], "x")

    async def test_a_heartbeat_says_working_while_the_agent_is_silent(self, dialect: str) -> None:
        async with scene(dialect, heartbeat_s=0.01) as here:
            states = []
            async for event in here.peer.events("stream", here.peer.message("wait")):
                states.append((here.peer.state(event), "message" in event.get("status", {})))
                if states.count(("working", False)) == 3:
                    here.agent.go_on.set()

        assert states[0] == ("submitted", False)
        assert states[-1] == ("completed", False)
        assert states.count(("working", False)) >= 3


@both_dialects
class TestTasks:
    async def test_only_the_newest_messages_are_kept_beside_the_question(self, dialect: str) -> None:
        async with scene(dialect, limits=Limits(history=5)) as here:
            task = await here.peer.send("rows 20")

        said = [here.peer.texts(message)[0] for message in task["history"]]
        assert said == ["rows 20", *(f'{{"row": {number}}}' for number in range(15, 20))]

    async def test_ended_tasks_leave_when_there_are_too_many(self, dialect: str) -> None:
        async with scene(dialect, limits=Limits(ended_tasks=2)) as here:
            tasks = [(await here.peer.send(f"say {number}"))["id"] for number in range(4)]
            answers = [await here.peer.call("get", {"id": task}) for task in tasks]

        assert ["error" in answer for answer in answers] == [True, True, False, False]


@both_dialects
class TestCancelling:
    async def test_cancel_ends_the_handler_and_the_stream_says_so(self, dialect: str) -> None:
        async with scene(dialect) as here:
            stream = asyncio.create_task(here.peer.stream("wait"))
            await here.agent.started.wait()
            running = await self.only_task(here)
            cancelled = (await here.peer.call("cancel", {"id": running}))["result"]
            events = await stream

        assert here.peer.state(cancelled) == "canceled"
        assert here.peer.state(events[-1]) == "canceled"
        assert here.agent.interrupted == [running]

    async def test_a_handler_that_ignores_its_cancellation_is_left_behind(self, dialect: str) -> None:
        async with scene(dialect, cancel_s=0.05) as here:
            stream = asyncio.create_task(here.peer.stream("stubborn"))
            await here.agent.started.wait()
            cancelled = (await here.peer.call("cancel", {"id": await self.only_task(here)}))["result"]
            here.agent.go_on.set()
            await stream

        assert here.peer.state(cancelled) == "canceled"

    async def test_a_cancel_that_breaks_still_cancels_and_leaks_nothing(self, dialect: str) -> None:
        async with scene(dialect) as here:
            stream = asyncio.create_task(here.peer.stream("wait"))
            await here.agent.started.wait()
            here.agent.interrupted = ["cancel breaks"]
            answer = await here.peer.call("cancel", {"id": await self.only_task(here)})
            events = await stream

        assert here.peer.state(answer["result"]) == "canceled"
        assert SECRET not in json.dumps([answer, events])

    @staticmethod
    async def only_task(here: Scene) -> str:
        lister = Peer(here.url, "1.0", here.peer.session)
        tasks = (await lister.call("list", {}))["result"]["tasks"]
        return str(tasks[0]["id"])


@both_dialects
class TestBadRequests:
    async def test_what_json_cannot_be_read_as_is_a_parse_error(self, dialect: str) -> None:
        async with scene(dialect) as here:
            good = here.peer.body("send", here.peer.message("say a"))
            bodies = [
                b"\xff\xfe",
                b'{"jsonrpc":"2.0","id":%s,"method":"GetTask","params":{}}' % (b"9" * 5_000),
                json.dumps(good).replace("say a", "say \\ud800").encode(),
                json.dumps(good).replace('"id": 7', '"id": "\\ud800"').encode(),
            ]
            codes = [(await here.peer.post(body))[1]["error"]["code"] for body in bodies]
            nested = (await here.peer.post(b"[" * 100_000))[1]["error"]["code"]

        assert codes == [-32700] * 4
        assert nested == -32602

    async def test_too_deep_too_many_and_too_long_are_bad_params(self, dialect: str) -> None:
        async with scene(dialect, limits=Limits(part_bytes=1_000)) as here:
            deep, many, long = (here.peer.message("say a") for _ in range(3))
            nested: Any = 1
            for _ in range(70):
                nested = {"a": nested}
            deep["message"]["metadata"] = nested
            many["message"]["parts"] *= 65
            long["message"]["parts"][0]["text"] = "\u00e9" * 501
            codes = [await here.peer.code("send", params) for params in (deep, many, long)]

        assert codes == [-32602] * 3

    async def test_an_exception_reaches_no_peer_as_text(self, dialect: str) -> None:
        async with scene(dialect) as here:
            answer = await here.peer.call("send", here.peer.message("boom"))
            events = await here.peer.stream("boom")
            left_open = await here.peer.send("open")
            late = await here.peer.send("late")

        everything = json.dumps([answer, events, left_open])
        assert SECRET not in everything
        assert "RuntimeError" not in everything
        assert "Traceback" not in everything
        assert everything.count("internal error, reference ") == 3
        assert here.peer.state(events[-1]) == here.peer.state(left_open) == "failed"
        assert here.peer.state(late) == "completed"


class TestCard:
    async def test_rest_is_served_on_request(self) -> None:
        async with scene(rest=True) as here:
            status, answer = await here.peer.post(here.peer.message("say hello"), path="message:send")
            async with here.peer.session.get(here.url + ".well-known/agent-card.json") as response:
                card = await response.json()

        assert status == 200
        assert here.peer.state(answer["task"]) == "completed"
        assert ("HTTP+JSON", "1.0") in {
            (i["protocolBinding"], i["protocolVersion"]) for i in card["supportedInterfaces"]
        }


class TestCrowds:
    @both_dialects
    async def test_one_message_too_many_is_told_to_come_back(self, dialect: str) -> None:
        async with scene(dialect, max_in_flight=2, rest=True) as here:
            waiting = [here.peer.events("stream", here.peer.message("wait")) for _ in range(2)]
            for events in waiting:
                await anext(events)
            body = json.dumps(here.peer.body("send", here.peer.message("say a"))).encode()
            refused = []
            for path in ("", "message:send"):
                async with here.peer.session.post(here.url + path, data=body, headers=here.peer.headers) as response:
                    refused.append((response.status, response.headers.get("Retry-After")))
            here.agent.go_on.set()
            ends = [[here.peer.state(event) async for event in events][-1] for events in waiting]
            after = await here.peer.send("say a")

        assert refused == [(503, "1"), (503, "1")]
        assert ends == ["completed", "completed"]
        assert here.peer.state(after) == "completed"

    async def test_bad_requests_take_no_place(self) -> None:
        async with scene(max_in_flight=1) as here:
            codes = [await here.peer.code("send", {}) for _ in range(5)]
            task = await here.peer.send("say a")

        assert codes == [-32602] * 5
        assert here.peer.state(task) == "completed"


class TestSlowPeers:
    async def test_a_silent_connection_is_closed(self) -> None:
        async with scene(limits=Limits(header_s=0.05)) as here:
            assert await raw_http(here.url) == b""

    async def test_half_a_header_is_closed(self) -> None:
        async with scene(limits=Limits(header_s=0.05)) as here:
            assert await raw_http(here.url, b"POST / HTTP/1.1\r\nHost: x\r\n") == b""

    async def test_a_second_request_has_its_own_time(self) -> None:
        async with scene(limits=Limits(header_s=0.05)) as here:
            request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"

            answer = await raw_http(here.url, request, b"GET /healthz HT")

        assert answer.count(b"200 OK") == 1

    async def test_half_a_body_is_408(self) -> None:
        async with scene(limits=Limits(body_s=0.05)) as here:
            answer = await raw_http(here.url, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")

        assert answer.startswith(b"HTTP/1.1 408")

    @pytest.mark.parametrize("header", [b"X-Long: " + b"a" * 2_000, b"\r\n".join(b"X-%d: a" % n for n in range(500))])
    async def test_a_header_block_over_the_limit_is_refused(self, header: bytes) -> None:
        async with scene(limits=Limits(header_bytes=1_000, header_s=5)) as here:
            complete = await raw_http(here.url, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
            endless = await raw_http(here.url, b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + header)

        assert complete.startswith(b"HTTP/1.1 400")
        assert endless.startswith(b"HTTP/1.1 400")

    @pytest.mark.parametrize("further", [b"", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
    async def test_a_response_nobody_reads_is_cut(self, further: bytes) -> None:
        async with scene(limits=replace(Limits(), write_s=0.05)) as here:
            body = json.dumps(here.peer.body("send", here.peer.message("say " + "x" * 8_000_000))).encode()
            host, port = here.url.removeprefix("http://").rstrip("/").split(":")
            reader, writer = await asyncio.open_connection(host, int(port), limit=1_000)
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nA2A-Version: 1.0\r\nContent-Length: %d\r\n\r\n" % len(body))
            writer.write(body)
            await writer.drain()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            while (await here.peer.call("list", {}))["result"]["totalSize"] == 0:
                pass
            writer.write(further)
            await asyncio.sleep(0.5)  # the peer's silence is the subject
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            received = 0
            with suppress(ConnectionError):
                while piece := await reader.read(1 << 20):
                    received += len(piece)
            writer.close()

        assert received < 8_000_000
