"""The client against foreign agents with every manner, in both dialects, over real sockets."""

import asyncio
import json
import socket
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from services.contract.a2a.client import AgentClient, Timings, UrlPolicy
from services.contract.conversation import Reply, Usage
from services.contract.outcomes import AgentFailure
from tests.support.raw_agents import (
    DIALECTS,
    Call,
    Manner,
    RawAgent,
    drips,
    floods,
    hangs,
    hangs_in_stream,
    raw_agent,
    replies,
)

QUICK = Timings(
    connect_s=2.0,
    card_s=2.0,
    idle_s=5.0,
    cancel_s=2.0,
    send_delays_s=(0.01, 0.01, 0.01),
    max_retry_after_s=0.01,
    poll_delays_s=(0.01, 0.02),
    poll_v03_s=0.1,
)
pytestmark = pytest.mark.parametrize("dialect", DIALECTS)


async def asked(agent: RawAgent, *, deadline_s: float = 20.0, timings: Timings = QUICK) -> Reply:
    client = AgentClient(agent.url, timings=timings)
    try:
        return await client.conversation().ask("What is 6 x 7?", asyncio.get_running_loop().time() + deadline_s)
    finally:
        await client.aclose()


async def reply_to(dialect: str, manner: Manner, *, streaming: bool = False) -> Reply:
    async with raw_agent(dialect, manner, streaming=streaming) as agent:
        return await asked(agent)


async def failure_of(
    dialect: str, manner: Manner, *, streaming: bool = False, deadline_s: float = 20.0
) -> AgentFailure:
    async with raw_agent(dialect, manner, streaming=streaming) as agent:
        with pytest.raises(AgentFailure) as caught:
            await asked(agent, deadline_s=deadline_s)
        return caught.value


def verdict(failure: AgentFailure) -> str:
    return f"{failure.outcome}/{failure.kind}"


class TestReplies:
    @pytest.mark.parametrize("streaming", [False, True])
    async def test_a_completed_task_is_a_reply(self, dialect: str, *, streaming: bool) -> None:
        async with raw_agent(dialect, replies("42"), streaming=streaming) as agent:
            reply = await asked(agent)

        assert (reply.text, reply.state, reply.size) == ("42", "completed", 2)
        assert agent.calls == ["stream" if streaming else "send"]

    @pytest.mark.parametrize("streaming", [False, True])
    async def test_every_message_of_a_conversation_carries_its_metadata(self, dialect: str, *, streaming: bool) -> None:
        async with raw_agent(dialect, replies("42"), streaming=streaming) as agent, AsyncExitStack() as stack:
            client = AgentClient(agent.url, timings=QUICK)
            stack.push_async_callback(client.aclose)
            numbered, plain = client.conversation(metadata={"assay/sample": "3"}), client.conversation()
            for talk in (numbered, numbered, plain):
                await talk.ask("What is 6 x 7?", asyncio.get_running_loop().time() + 20)

        messages = [body["params"]["message"] for body in agent.bodies]
        assert [message.get("metadata") for message in messages] == [{"assay/sample": "3"}] * 2 + [None]
        assert messages[1]["contextId"]

    async def test_a_bare_message_is_a_reply(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.said("forty-two"))

        assert (await reply_to(dialect, manner)).text == "forty-two"

    async def test_a_bare_message_as_the_only_event_of_a_stream_is_a_reply(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return await call.stream(call.said("forty-two"))

        assert (await reply_to(dialect, manner, streaming=True)).text == "forty-two"

    async def test_a_json_answer_to_a_stream_request_is_a_reply(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.task("completed", call.artifact("42")))

        assert (await reply_to(dialect, manner, streaming=True)).text == "42"

    async def test_text_that_is_only_in_the_final_status_is_the_reply(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            working = call.status("working", call.said("thinking"))
            return await call.stream(call.task("submitted"), working, call.status("completed", call.said("42")))

        assert (await reply_to(dialect, manner, streaming=True)).text == "42"

    async def test_a_status_equal_to_the_artifact_counts_once(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.task("completed", call.artifact("42"), message=call.said("42")))

        assert (await reply_to(dialect, manner)).text == "42"

    async def test_status_and_artifacts_are_joined_in_order_and_leading_space_stays(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            first, second = call.artifact("    return 1", artifact_id="a"), call.artifact("2", artifact_id="b")
            return call.answer(call.task("completed", first, second, message=call.said("done")))

        assert (await reply_to(dialect, manner)).text == "done\n    return 1\n2"

    async def test_a_data_part_becomes_compact_json_with_whole_numbers(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.said(call.data_part({"answer": 42.0, "share": 0.5, "list": [1.0, None]})))

        assert (await reply_to(dialect, manner)).text == '{"answer":42,"share":0.5,"list":[1,null]}'

    async def test_text_files_are_decoded_and_urls_are_noted_but_never_fetched(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            file, link = call.file_part(b"4\xff2", "text/plain"), call.url_part("http://127.0.0.1:9/secret")
            return call.answer(call.task("completed", call.artifact(file, link)))

        reply = await reply_to(dialect, manner)

        assert reply.text == "4\ufffd2"
        assert reply.notes == ("invalid UTF-8 was replaced", "a part by URL was not fetched")

    async def test_chunks_of_an_artifact_are_closed_up_and_the_final_task_does_not_tear_them(
        self, dialect: str
    ) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return await call.stream(
                call.task("working"),
                call.update(call.artifact("forty")),
                call.update(call.artifact("-"), append=True),
                call.update(call.artifact("two"), append=True),
                call.task("completed", call.artifact("forty", "-", "two")),
            )

        assert (await reply_to(dialect, manner, streaming=True)).text == "forty-two"

    async def test_an_artifact_sent_again_replaces_the_first(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            draft, final = call.update(call.artifact("41")), call.update(call.artifact("42"))
            return await call.stream(call.task("working"), draft, final, call.status("completed"))

        assert (await reply_to(dialect, manner, streaming=True)).text == "42"

    async def test_tool_calls_are_apart_from_the_text(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            calls = call.artifact('[{"name": "price"}]', artifact_id="tool_calls", name="tool_calls")
            return call.answer(call.task("completed", call.artifact("42"), calls))

        reply = await reply_to(dialect, manner)

        assert (reply.text, reply.tool_calls) == ("42", ({"name": "price"},))

    @pytest.mark.parametrize("streaming", [False, True])
    async def test_usage_is_read_from_the_metadata(self, dialect: str, *, streaming: bool) -> None:
        usage = {"assay/usage": json.dumps({"input_tokens": 7, "output_tokens": 2, "calls": 1})}

        async def manner(call: Call) -> web.StreamResponse:
            if streaming:
                answer = call.update(call.artifact("42"))
                return await call.stream(call.task("working"), answer, call.status("completed", metadata=usage))
            return call.answer(call.task("completed", call.artifact("42"), metadata=usage))

        reply = await reply_to(dialect, manner, streaming=streaming)

        assert reply.usage == Usage(input_tokens=7, output_tokens=2, calls=1)

    async def test_unreadable_usage_is_noted_and_costs_nothing(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.task("completed", call.artifact("42"), metadata={"assay/usage": "lots"}))

        reply = await reply_to(dialect, manner)

        assert (reply.text, reply.usage) == ("42", None)
        assert reply.notes == ("the agent's report assay/usage is not readable",)

    @pytest.mark.parametrize(
        "usage", [{"input_tokens": -1}, {"output_tokens": 10**400}, {"calls": 1e15}, {"cost_usd": 1e300}]
    )
    async def test_usage_that_cannot_be_is_noted_and_costs_nothing(
        self, dialect: str, usage: dict[str, object]
    ) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.task("completed", call.artifact("42"), metadata={"assay/usage": usage}))

        reply = await reply_to(dialect, manner)

        assert (reply.text, reply.usage) == ("42", None)
        assert len(reply.notes) == 1

    @pytest.mark.parametrize("usage", [{"input_tokens": 10**300}, {"cost_usd": 1e300}, {"output_tokens": 10**13}])
    async def test_a_trace_with_usage_that_cannot_be_is_noted_and_not_kept(
        self, dialect: str, usage: dict[str, object]
    ) -> None:
        trace = {"strategy": "s", "iterations": [{"solution": "42"}, {"solution": "42", "usage": {"verify": usage}}]}

        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.task("completed", call.artifact("42"), metadata={"assay/trace": trace}))

        reply = await reply_to(dialect, manner)

        assert (reply.text, reply.trace) == ("42", None)
        assert reply.notes == ("the agent's report assay/trace is beyond belief",)

    async def test_a_model_with_a_name_of_a_megabyte_is_noted_and_not_kept(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            facts = {"provider": "p", "model": "m" * 1_000_000}
            return call.answer(call.task("completed", call.artifact("42"), metadata={"assay/model": facts}))

        reply = await reply_to(dialect, manner)

        assert (reply.text, reply.model) == ("42", None)
        assert reply.notes == ("the agent's report assay/model is not readable",)

    async def test_input_required_is_a_reply_and_the_next_message_names_the_task(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            if call.text == "first":
                return call.answer(call.task("input-required", message=call.said("which one?")))
            return call.answer(call.task("completed", call.artifact("42")))

        async with raw_agent(dialect, manner) as agent:
            client = AgentClient(agent.url, timings=QUICK)
            talk, deadline = client.conversation(), asyncio.get_running_loop().time() + 20
            first = await talk.ask("first", deadline)
            await talk.ask("second", deadline)
            await talk.ask("third", deadline)
            await client.aclose()

        sent = [body["params"]["message"] for body in agent.bodies]
        assert (first.text, first.state) == ("which one?", "input-required")
        assert [message.get("taskId") for message in sent] == [None, first.task_id, None]
        assert [message.get("contextId") for message in sent] == [None, first.context_id, first.context_id]

    async def test_a_changed_context_id_is_followed_and_noted(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            call.context_id = f"context-{len(call.agent.bodies)}"
            return call.answer(call.task("completed", call.artifact("42")))

        async with raw_agent(dialect, manner) as agent:
            client = AgentClient(agent.url, timings=QUICK)
            talk, deadline = client.conversation(), asyncio.get_running_loop().time() + 20
            notes = [(await talk.ask("go on", deadline)).notes for _ in range(3)]
            await client.aclose()

        assert notes[0] == ()
        assert notes[1] == ("the agent changed the context id from 'context-1'",)
        assert agent.bodies[2]["params"]["message"]["contextId"] == "context-2"

    async def test_two_conversations_share_no_context(self, dialect: str) -> None:
        async with raw_agent(dialect, replies("42")) as agent:
            client = AgentClient(agent.url, timings=QUICK)
            deadline = asyncio.get_running_loop().time() + 20
            one, other = await asyncio.gather(*(client.conversation().ask("hi", deadline) for _ in range(2)))
            await client.aclose()

        assert one.context_id != other.context_id
        assert ["contextId" in body["params"]["message"] for body in agent.bodies] == [False, False]

    async def test_invalid_utf8_is_replaced_and_noted(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            body = call.envelope(call.wrapped(call.said("4\u00ff2"))).replace("\u00ff".encode(), b"\xff")
            return web.Response(body=body, content_type="application/json")

        reply = await reply_to(dialect, manner)

        assert (reply.text, reply.notes) == ("4\ufffd2", ("invalid UTF-8 was replaced",))


class TestFailures:
    @pytest.mark.parametrize(
        ("state", "expected"),
        [
            ("failed", "agent_error/failed"),
            ("rejected", "agent_error/refused"),
            ("auth-required", "agent_error/auth_required"),
            ("canceled", "agent_error/canceled"),
        ],
    )
    async def test_an_end_without_reply_is_the_agents_error(self, dialect: str, state: str, expected: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return await call.stream(call.task("working"), call.status(state, call.said("I will not")))

        assert verdict(await failure_of(dialect, manner, streaming=True)) == expected

    async def test_a_failure_that_tells_of_its_engine_is_a_claimed_infrastructure_fault(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.task("failed", message=call.said("Error code: 402 - Insufficient credits")))

        failure = await failure_of(dialect, manner)

        assert verdict(failure) == "infra_error/http_402"
        assert failure.self_reported

    async def test_assay_metadata_decides_before_the_text(self, dialect: str) -> None:
        claim = {"assay/outcome": "infra_error", "assay/fault": "overloaded"}
        own = {"assay/outcome": "agent_error", "assay/fault": "refused"}

        async def claims(call: Call) -> web.StreamResponse:
            return call.answer(call.task("failed", message=call.said("no luck", metadata=claim)))

        async def confesses(call: Call) -> web.StreamResponse:
            return call.answer(call.task("failed", message=call.said("timed out"), metadata=own))

        assert verdict(await failure_of(dialect, claims)) == "infra_error/overloaded"
        assert verdict(await failure_of(dialect, confesses)) == "agent_error/refused"

    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            (500, "infra_error/http_500"),
            (402, "infra_error/http_402"),
            (401, "infra_error/auth"),
            (403, "infra_error/auth"),
            (404, "agent_error/protocol"),
            (302, "agent_error/protocol"),
        ],
    )
    async def test_an_http_error_is_not_asked_twice(self, dialect: str, status: int, expected: str) -> None:
        async def manner(_call: Call) -> web.StreamResponse:
            return web.Response(status=status, text="no", headers={"Location": "/elsewhere"})

        async with raw_agent(dialect, manner) as agent:
            with pytest.raises(AgentFailure) as caught:
                await asked(agent)

        assert verdict(caught.value) == expected
        assert agent.calls == ["send"]

    @pytest.mark.parametrize("status", [429, 503])
    async def test_a_busy_agent_is_asked_three_times_more(self, dialect: str, status: int) -> None:
        async def manner(_call: Call) -> web.StreamResponse:
            return web.Response(status=status, headers={"Retry-After": "1"})

        async with raw_agent(dialect, manner) as agent:
            with pytest.raises(AgentFailure) as caught:
                await asked(agent)

        assert verdict(caught.value) == f"infra_error/http_{status}"
        assert agent.calls == ["send"] * 4

    async def test_an_agent_that_was_busy_once_costs_nothing(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return web.Response(status=503) if len(call.agent.calls) == 1 else await replies("42")(call)

        assert (await reply_to(dialect, manner)).text == "42"

    async def test_a_refused_connection_is_unreachable(self, dialect: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        client = AgentClient(url, a2a_version=dialect, timings=QUICK)

        with pytest.raises(AgentFailure) as caught:
            await client.card()
        alive = await client.alive()
        await client.aclose()

        assert verdict(caught.value) == "infra_error/unreachable"
        assert not alive

    async def test_an_agent_that_vanished_after_its_card_is_unreachable(self, dialect: str) -> None:
        async with raw_agent(dialect, replies("42")) as agent:
            client = AgentClient(agent.url, timings=QUICK)
            await client.card()
        # Until its end is noticed, a pooled connection may take the message; that is a lost request, not this case.
        assert not await client.alive()

        with pytest.raises(AgentFailure) as caught:
            await client.conversation().ask("hi", asyncio.get_running_loop().time() + 20)
        await client.aclose()

        assert verdict(caught.value) == "infra_error/unreachable"

    @pytest.mark.parametrize("streaming", [False, True])
    @pytest.mark.parametrize("manner", [hangs, drips])
    async def test_no_answer_before_the_deadline_is_the_agents_error(
        self, dialect: str, manner: Manner, *, streaming: bool
    ) -> None:
        failure = await failure_of(dialect, manner, streaming=streaming, deadline_s=0.3)

        assert verdict(failure) == "agent_error/deadline"

    async def test_past_the_deadline_the_task_is_cancelled(self, dialect: str) -> None:
        async with raw_agent(dialect, hangs_in_stream, streaming=True) as agent:
            with pytest.raises(AgentFailure) as caught:
                await asked(agent, deadline_s=0.3)
            await asyncio.wait_for(agent.cancelled.wait(), 5)

        assert verdict(caught.value) == "agent_error/deadline"
        assert agent.calls == ["stream", "cancel"]

    async def test_a_cancelled_question_cancels_the_task(self, dialect: str) -> None:
        seen = asyncio.Event()

        async def manner(call: Call) -> web.StreamResponse:
            async with call.opened() as stream:
                await stream.send(call.task("working"))
                seen.set()
                await asyncio.Event().wait()
            return stream.response

        async with raw_agent(dialect, manner, streaming=True) as agent:
            question = asyncio.create_task(asked(agent))
            await seen.wait()
            while not agent.cancelled.is_set():
                question.cancel()  # the first may come before the client has read the task id
                await asyncio.wait([question])
                if agent.calls[-1] != "cancel":
                    question = asyncio.create_task(asked(agent))
                    await asyncio.wait([question], timeout=0.1)

        assert question.cancelled()
        assert agent.calls[-1] == "cancel"

    async def test_an_empty_reply_is_the_agents_error(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.task("completed", call.artifact("  \n")))

        assert verdict(await failure_of(dialect, manner)) == "agent_error/empty"

    async def test_a_flood_is_cut_off(self, dialect: str) -> None:
        failure = await failure_of(dialect, floods, streaming=True)

        assert verdict(failure) == "agent_error/too_large"

    async def test_a_reply_of_30_mb_in_one_piece_is_cut_off(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.said("x" * 30_000_000))

        assert verdict(await failure_of(dialect, manner)) == "agent_error/too_large"

    async def test_five_million_letters_are_too_large_and_four_are_not(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.said("x" * 5_000_000))

        async def fits(call: Call) -> web.StreamResponse:
            return call.answer(call.said("x" * 4_000_000))

        assert verdict(await failure_of(dialect, manner)) == "agent_error/too_large"
        assert (await reply_to(dialect, fits)).size == 4_000_000

    @pytest.mark.parametrize(
        "text",
        ["Error code: 402 - no credits", "litellm.RateLimitError: slow", "Traceback (most recent call last):\n  f"],
    )
    async def test_the_text_of_an_error_is_never_a_reply(self, dialect: str, text: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.answer(call.task("completed", call.artifact(text)))

        failure = await failure_of(dialect, manner)

        assert verdict(failure) == "agent_error/error_text"
        assert failure.evidence == text

    @pytest.mark.parametrize(
        ("code", "message", "expected"),
        [
            (-32602, "bad params", "agent_error/protocol"),
            (-32601, "no such method", "agent_error/protocol"),
            (-32004, "unsupported", "agent_error/protocol"),
            (-32603, "it broke", "agent_error/internal"),
            (-32099, "engine overloaded", "infra_error/overloaded"),
            (-32099, "whatever", "agent_error/internal"),
        ],
    )
    @pytest.mark.parametrize("streaming", [False, True])
    async def test_json_rpc_errors_are_told_apart(
        self, dialect: str, code: int, message: str, expected: str, *, streaming: bool
    ) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.error(code, message)

        assert verdict(await failure_of(dialect, manner, streaming=streaming)) == expected

    @pytest.mark.parametrize("body", ["", "not json", "[]", '{"result": 7}', '{"result": {"task": {}}}', "[" * 100_000])
    async def test_an_answer_that_is_no_a2a_is_a_protocol_error(self, dialect: str, body: str) -> None:
        async def manner(_call: Call) -> web.StreamResponse:
            return web.Response(text=body, content_type="application/json")

        assert verdict(await failure_of(dialect, manner)) == "agent_error/protocol"

    @pytest.mark.parametrize("code", [[1], {"code": 1}, "1", None])
    async def test_an_error_without_a_usable_code_is_a_protocol_error(self, dialect: str, code: object) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return web.json_response({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": ["no"]}})

        assert verdict(await failure_of(dialect, manner)) == "agent_error/protocol"

    @pytest.mark.parametrize("calls", ["[" * 65 + "]" * 65, "[" * 9_000, '["\\ud83d"]', "[NaN]", f"[{'9' * 5_000}]"])
    async def test_tool_calls_that_no_row_can_hold_are_a_protocol_error(self, dialect: str, calls: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            told = call.artifact(calls, artifact_id="tool_calls", name="tool_calls")
            return call.answer(call.task("completed", call.artifact("42"), told))

        assert verdict(await failure_of(dialect, manner)) == "agent_error/protocol"

    async def test_a_metadata_kind_that_is_no_text_is_not_taken(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            metadata = {"assay/outcome": "infra_error", "assay/fault": {"kind": 1}}
            return call.answer(call.task("failed", message=call.said("no"), metadata=metadata))

        assert verdict(await failure_of(dialect, manner)) == "infra_error/failed"


class TestBrokenStreams:
    async def test_a_flood_in_pieces_over_many_broken_streams_is_cut_off(self, dialect: str) -> None:
        sent = 0

        async def manner(call: Call) -> web.StreamResponse:
            nonlocal sent
            if call.method == "get":
                return call.answer(call.task("working"))
            async with call.opened() as stream:
                await stream.send(call.task("working"))
                for _ in range(8):
                    sent += 1
                    await stream.send(call.update(call.artifact("x" * 500_000, artifact_id=str(sent))))
            return stream.response

        failure = await failure_of(dialect, manner, streaming=True)

        # A 0.3 stream is not joined again, so that its flood ends with the first.
        assert verdict(failure) == ("agent_error/too_large" if dialect == "1.0" else "agent_error/dropped")
        assert sent <= 24

    async def test_a_connection_dropped_before_any_answer_is_a_lost_request_and_not_sent_again(
        self, dialect: str
    ) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            return call.cut()

        async with raw_agent(dialect, manner) as agent:
            with pytest.raises(AgentFailure) as caught:
                await asked(agent)

        assert verdict(caught.value) == "infra_error/lost_request"
        assert agent.calls == ["send"]

    @pytest.mark.parametrize("properly", [False, True])
    async def test_a_task_that_ended_during_the_gap_is_fetched(self, dialect: str, *, properly: bool) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            if call.method == "get":
                return call.answer(call.task("completed", call.artifact("42")))
            async with call.opened() as stream:
                await stream.send(call.task("working"))
                if not properly:
                    stream.cut()
            return stream.response

        async with raw_agent(dialect, manner, streaming=True) as agent:
            reply = await asked(agent)

        assert reply.text == "42"
        assert agent.calls == ["stream", "get"]

    async def test_a_running_task_is_followed_to_its_end(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            if call.method == "get":
                ended = call.agent.calls.count("get") > 2
                return call.answer(call.task("completed", call.artifact("42")) if ended else call.task("working"))
            async with call.opened() as stream:
                await stream.send(call.task("working"))
                stream.cut()
            return stream.response

        async with raw_agent(dialect, manner, streaming=True) as agent:
            reply = await asked(agent)

        assert reply.text == "42"
        assert agent.calls.count("stream") == 1
        assert agent.calls.count("get") == 3
        assert ("subscribe" in agent.calls) is (dialect == "1.0")

    async def test_a_silent_stream_counts_as_cut_once_the_task_is_known(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            if call.method == "get":
                return call.answer(call.task("completed", call.artifact("42")))
            return await hangs_in_stream(call)

        async with raw_agent(dialect, manner, streaming=True) as agent:
            reply = await asked(agent, timings=Timings(idle_s=0.05))

        assert reply.text == "42"

    async def test_a_task_the_agent_forgot_was_dropped_by_the_agent(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            if call.method != "stream":
                return call.error(-32001, "task not found")
            async with call.opened() as stream:
                await stream.send(call.task("working"))
                stream.cut()
            return stream.response

        assert verdict(await failure_of(dialect, manner, streaming=True)) == "agent_error/dropped"

    async def test_a_stream_that_stays_open_after_the_end_costs_no_deadline(self, dialect: str) -> None:
        async def manner(call: Call) -> web.StreamResponse:
            async with call.opened() as stream:
                await stream.send(call.task("completed", call.artifact("42")))
                await asyncio.Event().wait()
            return stream.response

        async with raw_agent(dialect, manner, streaming=True) as agent:
            reply = await asked(agent, timings=Timings(settle_s=0.01))

        assert reply.text == "42"

    async def test_an_agent_that_dies_in_the_middle_is_lost(self, dialect: str) -> None:
        async with raw_agent(dialect, hangs_in_stream, streaming=True) as agent:
            client = AgentClient(agent.url, timings=QUICK)
            question = asyncio.create_task(client.conversation().ask("hi", asyncio.get_running_loop().time() + 20))
            await agent.asked.wait()

        # The agent is gone from here on. Before its first event was read, the request itself is what is lost.
        with pytest.raises(AgentFailure) as caught:
            await question
        await client.aclose()

        assert verdict(caught.value) in {"infra_error/agent_lost", "infra_error/lost_request"}


async def test_a_0_3_task_that_never_moves_again_is_dropped(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        if call.method == "get":
            return call.answer(call.task("working"))
        async with call.opened() as stream:
            await stream.send(call.task("working"))
            stream.cut()
        return stream.response

    failure = await failure_of(dialect, manner, streaming=True, deadline_s=1.0)

    # A 1.0 agent is followed up to the deadline; of a 0.3 agent nothing more is to be expected.
    assert verdict(failure) == ("agent_error/dropped" if dialect == "0.3" else "agent_error/deadline")


async def test_a_task_that_was_only_accepted_is_asked_after_until_it_ends(dialect: str) -> None:
    async def manner(call: Call) -> web.StreamResponse:
        if call.method == "get" and call.agent.calls.count("get") > 12:  # long after a cut 0.3 task is given up
            return call.answer(call.task("completed", call.artifact("42")))
        return call.error(-32004, "no streams") if call.method == "subscribe" else call.answer(call.task("working"))

    assert (await reply_to(dialect, manner)).text == "42"


class TestCards:
    async def test_a_card_of_odd_characters_and_sizes_is_read_and_can_be_stored(self, dialect: str) -> None:
        async with raw_agent(dialect, replies("42"), card_url="http://h/\ud83d") as agent:
            agent.card |= {"name": "\ud83d" * 1_000, "version": ["9"]}
            client = AgentClient(agent.url, timings=QUICK)
            card = await client.card()
            await client.aclose()

        assert (card.name, card.version) == ("?" * 200, "['9']")
        assert card.url == agent.url

    async def test_a_foreign_address_in_the_card_is_reduced_to_its_path(self, dialect: str) -> None:
        async with raw_agent(dialect, replies("42"), card_url="http://0.0.0.0:1/a2a/v1") as agent:
            client = AgentClient(agent.url, timings=QUICK)
            card = await client.card()
            reply = await client.conversation().ask("hi", asyncio.get_running_loop().time() + 20)
            await client.aclose()

        assert card.url == agent.url + "a2a/v1"
        assert reply.text == "42"

    async def test_the_cards_origin_is_followed_only_on_request_and_without_the_token(self, dialect: str) -> None:
        async with (
            raw_agent(dialect, replies("from the other")) as other,
            raw_agent(dialect, replies("42"), card_url=other.url) as agent,
        ):
            client = AgentClient(agent.url, follow_card_url=True, token="secret-token-1", timings=QUICK)
            reply = await client.conversation().ask("hi", asyncio.get_running_loop().time() + 20)
            await client.aclose()

        assert reply.text == "from the other"
        assert "Authorization" not in other.headers[0]

    async def test_the_token_goes_to_the_configured_origin(self, dialect: str) -> None:
        async with raw_agent(dialect, replies("42")) as agent:
            client = AgentClient(agent.url, token="secret-token-1", timings=QUICK)
            await client.conversation().ask("hi", asyncio.get_running_loop().time() + 20)
            await client.aclose()

        assert agent.headers[0]["Authorization"] == "Bearer secret-token-1"
        assert agent.headers[0].get("A2A-Version") == ("1.0" if dialect == "1.0" else None)

    async def test_the_old_card_path_is_tried_second(self, dialect: str) -> None:
        async with raw_agent(dialect, replies("42"), old_path=True) as agent:
            assert (await asked(agent)).text == "42"

    async def test_a_card_of_both_dialects_is_spoken_to_in_1_0_unless_forced(self, dialect: str) -> None:
        async with raw_agent(dialect, replies("42")) as agent:
            agent.card = {
                "name": "Both",
                "version": "9",
                "capabilities": {"streaming": True},
                "url": agent.url,
                "preferredTransport": "JSONRPC",
                "supportedInterfaces": [
                    {"url": agent.url, "protocolBinding": "GRPC", "protocolVersion": "1.0"},
                    {"url": agent.url, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"},
                    {"url": agent.url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"},
                ],
            }
            free, forced = AgentClient(agent.url), AgentClient(agent.url, a2a_version=dialect)
            cards = [await free.card(), await forced.card()]
            await free.aclose()
            await forced.aclose()

        assert [card.dialect for card in cards] == ["1.0", dialect]
        assert (cards[0].name, cards[0].version, cards[0].streaming) == ("Both", "9", True)

    @pytest.mark.parametrize(
        "card",
        [
            {"name": "no interface"},
            {"supportedInterfaces": [{"url": "http://x/", "protocolBinding": "GRPC", "protocolVersion": "1.0"}]},
            {"supportedInterfaces": [{"url": "http://x/", "protocolBinding": "JSONRPC", "protocolVersion": "2.0"}]},
            {"supportedInterfaces": ["nonsense"]},
        ],
    )
    async def test_a_card_without_a_way_to_speak_stops_the_assessment(
        self, dialect: str, card: dict[str, object]
    ) -> None:
        async with raw_agent(dialect, replies("42")) as agent:
            agent.card = card
            with pytest.raises(AgentFailure) as caught:
                await asked(agent)

        assert verdict(caught.value) == "infra_error/no_interface"

    async def test_a_metadata_address_is_never_connected_to(self, dialect: str) -> None:
        client = AgentClient("http://169.254.169.254/", a2a_version=dialect, timings=QUICK)

        with pytest.raises(AgentFailure, match="metadata address") as caught:
            await client.card()
        await client.aclose()

        assert verdict(caught.value) == "infra_error/unreachable"

    async def test_a_name_that_leads_to_a_denied_address_is_not_connected_to(self, dialect: str) -> None:
        async with raw_agent(dialect, replies("42")) as agent:
            url = agent.url.replace("127.0.0.1", "localhost")
            client = AgentClient(url, policy=UrlPolicy.parse("public"), timings=QUICK)
            with pytest.raises(AgentFailure, match="not a public address") as caught:
                await client.card()
            await client.aclose()

        assert verdict(caught.value) == "infra_error/unreachable"
        assert agent.calls == []
