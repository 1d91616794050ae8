"""Our server as its peers see it: raw HTTP in both dialects, over real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

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
    async def test_a_message_is_answered_with_its_completed_task(self, dialect: str) -> None:
        async with scene(dialect) as here:
            task = await here.peer.send("say hello")

        assert here.peer.state(task) == "completed"
        assert [here.peer.texts(artifact) for artifact in task["artifacts"]] == [["hello"]]
        assert [here.peer.texts(message) for message in task["history"]] == [["say hello"]]
        assert task["metadata"] == {"assay/usage": '{"calls":1}'}

    async def test_a_stream_begins_with_the_task_and_ends_with_one_terminal_state(self, dialect: str) -> None:
        async with scene(dialect) as here:
            events = await here.peer.stream("rows 2")

        states = [here.peer.state(event) for event in events]
        assert states == ["submitted", "working", "working", "", "completed"]
        rows = [event["status"]["message"] for event in events[1:3]]
        assert [here.peer.texts(row) for row in rows] == [['{"row": 0}'], ['{"row": 1}']]
        assert rows[1]["metadata"] == {"assay/kind": "task_result", "assay/seq": "1"}
        assert len({row["messageId"] for row in rows}) == 2

    async def test_json_travels_as_text_so_that_integers_stay_integers(self, dialect: str) -> None:
        async with scene(dialect) as here:
            artifact = (await here.peer.send("json"))["artifacts"][0]

        assert here.peer.texts(artifact) == ['{"n": 3, "share": 0.5}', "Assay result: fine"]
        assert (artifact["artifactId"], artifact["name"]) == ("evaluation_result", "evaluation_result")
        if dialect == "1.0":
            assert [part["mediaType"] for part in artifact["parts"]] == ["application/json", "text/plain"]

    @pytest.mark.parametrize(
        ("text", "state", "said"),
        [
            ("reject", "rejected", "no such thing"),
            ("fail", "failed", "model trouble"),
            ("decline", "failed", "context expired"),
        ],
    )
    async def test_other_ends_say_why(self, dialect: str, text: str, state: str, said: str) -> None:
        async with scene(dialect) as here:
            task = await here.peer.send(text)

        assert here.peer.state(task) == state
        assert here.peer.texts(task["status"]["message"]) == [said]

    async def test_a_failure_carries_its_kind(self, dialect: str) -> None:
        async with scene(dialect) as here:
            events = await here.peer.stream("fail")

        assert events[-1]["status"]["message"]["metadata"] == {
            "assay/outcome": "infra_error",
            "assay/fault": "http_503",
        }

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

    async def test_a_message_keeps_its_context_and_gets_one_when_it_has_none(self, dialect: str) -> None:
        async with scene(dialect) as here:
            first = await here.peer.send("say a")
            second = await here.peer.send("say b", contextId=first["contextId"])
            third = await here.peer.send("say c")

        assert second["contextId"] == first["contextId"] != third["contextId"]
        assert len({task["id"] for task in (first, second, third)}) == 3

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
    async def test_get_returns_the_task_with_its_history(self, dialect: str) -> None:
        async with scene(dialect) as here:
            task = await here.peer.send("rows 3")
            found = (await here.peer.call("get", {"id": task["id"]}))["result"]

        assert found == task
        assert len(found["history"]) == 4

    async def test_only_the_newest_messages_are_kept_beside_the_question(self, dialect: str) -> None:
        async with scene(dialect, limits=Limits(history=5)) as here:
            task = await here.peer.send("rows 20")

        said = [here.peer.texts(message)[0] for message in task["history"]]
        assert said == ["rows 20", *(f'{{"row": {number}}}' for number in range(15, 20))]

    async def test_an_unknown_task_is_not_found(self, dialect: str) -> None:
        async with scene(dialect) as here:
            codes = [await here.peer.code(method, {"id": "nope"}) for method in ("get", "cancel")]

        assert codes == [-32001, -32001]

    async def test_a_message_to_an_ended_task_or_a_foreign_context_is_refused(self, dialect: str) -> None:
        async with scene(dialect) as here:
            task = await here.peer.send("say a")
            ended = await here.peer.code("send", here.peer.message("say b", taskId=task["id"]))
            mismatch = await here.peer.code("send", here.peer.message("b", taskId=task["id"], contextId="other"))
            unknown = await here.peer.code("send", here.peer.message("say b", taskId="nope"))

        assert (ended, mismatch, unknown) == (-32004, -32602, -32001)

    async def test_ended_tasks_leave_when_there_are_too_many(self, dialect: str) -> None:
        async with scene(dialect, limits=Limits(ended_tasks=2)) as here:
            tasks = [(await here.peer.send(f"say {number}"))["id"] for number in range(4)]
            answers = [await here.peer.call("get", {"id": task}) for task in tasks]

        assert ["error" in answer for answer in answers] == [True, True, False, False]

    async def test_tasks_of_one_owner_are_unknown_to_another(self, dialect: str) -> None:
        agent = Scripted()
        async with serving(agent, through=pretend_peers) as url, aiohttp.ClientSession() as session:
            mine, theirs = (Peer(url, dialect, session) for _ in range(2))
            theirs.headers["X-Pretend-Peer"] = "192.0.2.7"
            events = mine.events("stream", mine.message("wait"))
            task = await anext(events)
            foreign = [await theirs.code(method, {"id": task["id"]}) for method in ("get", "cancel")]
            follow_up = await theirs.code("send", theirs.message("say a", taskId=task["id"]))
            owner = await theirs.send("owner")
            agent.go_on.set()
            ends = [mine.state(event) async for event in events]

        assert (foreign, follow_up) == ([-32001, -32001], -32001)
        assert theirs.texts(owner["artifacts"][0]) == ["192.0.2.7"]
        assert ends[-1] == "completed"


def pretend_peers(app: ASGIApp) -> ASGIApp:
    """Requests come from the address they claim, which on loopback no socket can show."""

    async def pretending(scope: Scope, receive: Receive, send: Send) -> None:
        claimed = [value.decode() for name, value in scope.get("headers", []) if name == b"x-pretend-peer"]
        await app({**scope, "client": (claimed[0], 1)} if claimed else scope, receive, send)

    return pretending


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

    async def test_a_cancelled_task_cannot_be_cancelled_again(self, dialect: str) -> None:
        async with scene(dialect) as here:
            task = await here.peer.send("say a")

            assert await here.peer.code("cancel", {"id": task["id"]}) == -32002

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

    async def test_a_peer_that_leaves_cancels_nothing_and_can_come_back(self, dialect: str) -> None:
        async with scene(dialect) as here:
            events = here.peer.events("stream", here.peer.message("wait"))
            task = await anext(events)
            await here.agent.started.wait()
            await events.aclose()  # type: ignore[attr-defined]
            back = here.peer.events("subscribe", {"id": task["id"]})
            snapshot = await anext(back)
            here.agent.go_on.set()
            later = [event async for event in back]
            final = (await here.peer.call("get", {"id": task["id"]}))["result"]

        assert here.peer.state(snapshot) == "working"
        assert here.peer.state(later[-1]) == here.peer.state(final) == "completed"
        assert here.agent.interrupted == []

    async def test_who_subscribes_late_is_told_what_was_said(self, dialect: str) -> None:
        async with scene(dialect) as here:
            events = here.peer.events("stream", here.peer.message("wait"))
            task = await anext(events)
            await here.agent.started.wait()
            while here.peer.state(await anext(events)) != "working":
                pass
            snapshot = await anext(here.peer.events("subscribe", {"id": task["id"]}))

        said = [here.peer.texts(message) for message in snapshot.get("history", [])]
        assert [*said, here.peer.texts(snapshot["status"]["message"])] == [["wait"], ["waiting"]]

    @staticmethod
    async def only_task(here: Scene) -> str:
        lister = Peer(here.url, "1.0", here.peer.session)
        tasks = (await lister.call("list", {}))["result"]["tasks"]
        return str(tasks[0]["id"])


@both_dialects
class TestBadRequests:
    async def test_malformed_requests_get_the_specified_codes(self, dialect: str) -> None:
        async with scene(dialect) as here:
            good = here.peer.body("send", here.peer.message("say a"))
            bodies: list[object] = [
                b"{",
                b"\xff\xfe",
                b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":NaN}}',
                b'{"jsonrpc":"2.0","id":%s,"method":"GetTask","params":{}}' % (b"9" * 5_000),
                json.dumps(good).replace("say a", "say \\ud800").encode(),
                json.dumps(good).replace('"id": 7', '"id": "\\ud800"').encode(),
                b"[" * 100_000,
                [],
                [good],
                good | {"jsonrpc": "1.0"},
                good | {"id": {}},
                good | {"method": "NoSuchMethod"},
                good | {"params": {}},
                good | {"params": []},
                good | {"params": {"message": {"parts": "x"}}},
                here.peer.body("get", {}),
            ]
            codes = [(await here.peer.post(body))[1]["error"]["code"] for body in bodies]

        assert codes == [*[-32700] * 6, -32602, *[-32600] * 4, -32601, *[-32602] * 4]

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

    async def test_a_body_over_the_limit_is_413_and_one_below_is_taken(self, dialect: str) -> None:
        async with scene(dialect, limits=Limits(body_bytes=20_000)) as here:
            fits = await here.peer.send("say " + "x" * 19_000)
            with suppress(aiohttp.ClientError):  # the server may close before it has read everything
                status, answer = await here.peer.post(here.peer.body("send", here.peer.message("x" * 30_000)))
                assert (status, answer["error"]["code"]) == (413, -32600)
            small = await here.peer.send("say still here")

        assert [here.peer.state(task) for task in (fits, small)] == ["completed", "completed"]

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


class TestVersions:
    @pytest.mark.parametrize("version", [None, "", "0.3", "2.0", "banana"])
    async def test_1_0_methods_need_their_version(self, version: str | None) -> None:
        async with scene() as here:
            headers = {} if version is None else {"A2A-Version": version}
            _, answer = await here.peer.post(here.peer.body("send", here.peer.message("say a")), headers=headers)

        assert answer["error"]["code"] == -32009

    async def test_any_1_x_will_do(self) -> None:
        async with scene() as here:
            body = here.peer.body("send", here.peer.message("say a"))
            _, answer = await here.peer.post(body, headers={"A2A-Version": "1.7"})

        assert here.peer.state(answer["result"]["task"]) == "completed"

    async def test_push_notifications_are_not_supported(self) -> None:
        async with scene() as here:
            task = await here.peer.send("say a")
            params = {"taskId": task["id"], "url": "https://example.com/"}
            code = await here.peer.code("CreateTaskPushNotificationConfig", params)

        assert code == -32003

    async def test_list_shows_the_owners_tasks(self) -> None:
        async with scene() as here:
            tasks = {(await here.peer.send(f"say {number}"))["id"] for number in range(3)}
            listed = (await here.peer.call("list", {}))["result"]

        assert {task["id"] for task in listed["tasks"]} == tasks
        assert listed["totalSize"] == 3


class TestCard:
    async def test_the_card_lists_both_dialects_and_has_an_alias(self) -> None:
        async with scene(card_url="http://green:9009") as here:
            cards = []
            for path in ("agent-card.json", "agent.json"):
                async with here.peer.session.get(f"{here.url}.well-known/{path}") as response:
                    cards.append(await response.json())
                    assert response.headers["Cache-Control"] == "public, max-age=60"
                    etag = response.headers["ETag"]
            async with here.peer.session.get(response.url, headers={"If-None-Match": etag}) as again:
                assert again.status == 304

        interfaces = [(i["protocolBinding"], i["protocolVersion"], i["url"]) for i in cards[0]["supportedInterfaces"]]
        assert interfaces == [("JSONRPC", "1.0", "http://green:9009/"), ("JSONRPC", "0.3", "http://green:9009/")]
        assert cards[0] == cards[1]
        assert (cards[0]["url"], cards[0]["preferredTransport"]) == ("http://green:9009/", "JSONRPC")
        assert cards[0]["protocolVersion"].startswith("0.3")
        assert (cards[0]["name"], cards[0]["version"]) == ("Test agent", "1.2.3")
        assert cards[0]["capabilities"]["streaming"] is True
        assert cards[0]["skills"] == [
            {"id": "answer", "name": "Answer", "description": "Answers.", "tags": ["test"]},
        ]

    async def test_a_1_0_card_lists_1_0_only(self) -> None:
        async with (
            scene(card_dialect="1.0") as here,
            here.peer.session.get(here.url + ".well-known/agent-card.json") as response,
        ):
            card = await response.json()

        assert [i["protocolVersion"] for i in card["supportedInterfaces"]] == ["1.0"]
        assert "url" not in card

    async def test_health_other_paths_and_methods(self) -> None:
        async with scene() as here:
            session, answers = here.peer.session, []
            for method, path in (("GET", "healthz"), ("GET", ""), ("GET", "nope"), ("POST", "message:send")):
                async with session.request(method, here.url + path) as response:
                    answers.append((response.status, "server" in response.headers))

        assert answers == [(200, False), (405, False), (404, False), (404, False)]

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


class TestToken:
    async def test_everything_but_card_and_health_needs_the_token(self) -> None:
        async with scene(auth_token="right-token", rest=True) as here:
            session, answers = here.peer.session, []
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer right-token"}):
                body = json.dumps(here.peer.body("send", here.peer.message("owner"))).encode()
                async with session.post(here.url, data=body, headers={"A2A-Version": "1.0", **headers}) as response:
                    answers.append((response.status, response.headers.get("WWW-Authenticate")))
            open_paths = []
            for path in (".well-known/agent-card.json", ".well-known/agent.json", "healthz", "tasks"):
                async with session.get(here.url + path) as response:
                    open_paths.append(response.status)
                    if path.endswith("card.json"):
                        card = await response.json()

        assert answers == [(401, "Bearer"), (401, "Bearer"), (200, None)]
        assert open_paths == [200, 200, 200, 401]
        assert card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"] == "Bearer"

    async def test_the_owner_is_the_token(self) -> None:
        async with scene(auth_token="right-token") as here:
            here.peer.headers["Authorization"] = "Bearer right-token"
            task = await here.peer.send("owner")

        assert here.peer.texts(task["artifacts"][0]) == ["token"]


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

    async def test_a_response_nobody_reads_is_cut(self) -> None:
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
            await asyncio.sleep(0.5)  # the peer's silence is the subject
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            received = 0
            with suppress(ConnectionError):
                while piece := await reader.read(1 << 20):
                    received += len(piece)
            writer.close()

        assert received < 8_000_000
