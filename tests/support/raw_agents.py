"""Foreign agents over raw HTTP, in both dialects, with every manner met in the field. Nothing of the product is used here.

`async with raw_agent("0.3", manner) as agent:` serves one at `agent.url`; `agent.calls` lists the methods it was asked.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]
DIALECTS = ("1.0", "0.3")
_METHODS = {
    "SendMessage": "send",
    "SendStreamingMessage": "stream",
    "GetTask": "get",
    "CancelTask": "cancel",
    "SubscribeToTask": "subscribe",
    "message/send": "send",
    "message/stream": "stream",
    "tasks/get": "get",
    "tasks/cancel": "cancel",
    "tasks/resubscribe": "subscribe",
}


@dataclass
class Call:
    """One JSON-RPC request and the ways to answer it."""

    dialect: str
    body: Json
    request: web.Request
    agent: RawAgent
    task_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    context_id: str = ""

    def __post_init__(self) -> None:
        message = self.body["params"].get("message", {})
        self.context_id = message.get("contextId") or uuid.uuid4().hex
        self.task_id = self.body["params"].get("id") or message.get("taskId") or self.task_id

    @property
    def method(self) -> str:
        """send, stream, get, cancel or subscribe."""
        return _METHODS[self.body["method"]]

    @property
    def message(self) -> Json:
        """The user's message, as it came."""
        return dict(self.body["params"]["message"])

    @property
    def text(self) -> str:
        """Text of its first part."""
        return str(self.message["parts"][0]["text"])

    def state(self, state: str) -> str:
        """A state in the words of the dialect."""
        return state if self.dialect == "0.3" else "TASK_STATE_" + state.upper().replace("-", "_")

    def text_part(self, text: str) -> Json:
        return {"kind": "text", "text": text} if self.dialect == "0.3" else {"text": text}

    def data_part(self, data: Any) -> Json:
        return {"kind": "data", "data": data} if self.dialect == "0.3" else {"data": data}

    def file_part(self, content: bytes, media_type: str) -> Json:
        encoded = base64.b64encode(content).decode()
        if self.dialect == "0.3":
            return {"kind": "file", "file": {"bytes": encoded, "mimeType": media_type}}
        return {"raw": encoded, "mediaType": media_type}

    def url_part(self, url: str) -> Json:
        return {"kind": "file", "file": {"uri": url}} if self.dialect == "0.3" else {"url": url}

    def said(self, *parts: Json | str, metadata: Json | None = None, message_id: str = "") -> Json:
        """A message of the agent, bare."""
        message: Json = {
            "messageId": message_id or uuid.uuid4().hex,
            "role": "agent" if self.dialect == "0.3" else "ROLE_AGENT",
            "contextId": self.context_id,
            "parts": [self.text_part(part) if isinstance(part, str) else part for part in parts],
        }
        if metadata is not None:
            message["metadata"] = metadata
        return message | ({"kind": "message"} if self.dialect == "0.3" else {})

    def artifact(self, *parts: Json | str, artifact_id: str = "answer", name: str = "answer") -> Json:
        texts = [self.text_part(part) if isinstance(part, str) else part for part in parts]
        return {"artifactId": artifact_id, "name": name, "parts": texts}

    def task(
        self,
        state: str,
        *artifacts: Json,
        message: Json | None = None,
        history: Sequence[Json] = (),
        metadata: Json | None = None,
    ) -> Json:
        """A task, bare, as GetTask answers it."""
        status: Json = {"state": self.state(state)} | ({} if message is None else {"message": message})
        task: Json = {"id": self.task_id, "contextId": self.context_id, "status": status}
        task |= {"artifacts": list(artifacts)} if artifacts else {}
        task |= {"history": list(history)} if history else {}
        task |= {"metadata": metadata} if metadata else {}
        return task | ({"kind": "task"} if self.dialect == "0.3" else {})

    def status(self, state: str, message: Json | None = None, metadata: Json | None = None) -> Json:
        """A status update, wrapped."""
        status: Json = {"state": self.state(state)} | ({} if message is None else {"message": message})
        update: Json = {"taskId": self.task_id, "contextId": self.context_id, "status": status}
        update |= {"metadata": metadata} if metadata else {}
        if self.dialect == "0.3":
            return update | {"kind": "status-update", "final": state not in {"submitted", "working"}}
        return {"statusUpdate": update}

    def update(self, artifact: Json, *, append: bool = False) -> Json:
        """An artifact update, wrapped."""
        update: Json = {"taskId": self.task_id, "contextId": self.context_id, "artifact": artifact, "append": append}
        return update | {"kind": "artifact-update"} if self.dialect == "0.3" else {"artifactUpdate": update}

    def wrapped(self, result: Json) -> Json:
        """A bare task or message as the result of a send or a stream."""
        if self.dialect == "0.3" or "statusUpdate" in result or "artifactUpdate" in result:
            return result
        return {"task": result} if "status" in result else {"message": result}

    def envelope(self, result: Json) -> bytes:
        return json.dumps({"jsonrpc": "2.0", "id": self.body["id"], "result": result}, ensure_ascii=False).encode()

    def answer(self, result: Json) -> web.Response:
        """The single answer to a send, or to a get or cancel, which 1.0 does not wrap."""
        bare = self.method in {"get", "cancel"}
        return web.Response(
            body=self.envelope(result if bare else self.wrapped(result)), content_type="application/json"
        )

    def error(self, code: int, message: str) -> web.Response:
        """A JSON-RPC error."""
        return web.json_response({"jsonrpc": "2.0", "id": self.body["id"], "error": {"code": code, "message": message}})

    @contextlib.asynccontextmanager
    async def opened(self) -> AsyncIterator[Stream]:
        """A stream of events that the manner writes; it ends properly unless it is cut."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(self.request)
        stream = Stream(self, response)
        yield stream
        if not stream.was_cut:
            await response.write_eof()

    async def stream(self, *results: Json) -> web.StreamResponse:
        """All the results as one stream."""
        async with self.opened() as stream:
            for result in results:
                await stream.send(result)
        return stream.response

    def cut(self) -> web.Response:
        """Drop the connection without an answer."""
        transport = self.request.transport
        assert transport is not None
        transport.abort()
        return web.Response()


@dataclass
class Stream:
    """An open stream of server-sent events."""

    call: Call
    response: web.StreamResponse
    was_cut: bool = False

    async def send(self, result: Json) -> None:
        await self.raw(b"data: " + self.call.envelope(self.call.wrapped(result)) + b"\r\n\r\n")

    async def raw(self, data: bytes) -> None:
        await self.response.write(data)

    def cut(self) -> None:
        """Drop the connection in the middle."""
        self.was_cut = True
        self.call.cut()


Manner = Callable[[Call], Awaitable[web.StreamResponse]]


@dataclass
class RawAgent:
    """A served agent and what it was asked."""

    url: str
    card: Json
    calls: list[str] = field(default_factory=list)
    bodies: list[Json] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first message."""
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by CancelTask."""


def card_of(dialect: str, url: str, *, streaming: bool = False) -> Json:
    """A card as agents of that generation write it."""
    common = {"name": "Raw", "description": "raw", "version": "0.0.1", "capabilities": {"streaming": streaming}}
    common |= {"defaultInputModes": ["text/plain"], "defaultOutputModes": ["text/plain"]}  # required by the 0.3 SDK
    if dialect == "0.3":
        return common | {"url": url, "preferredTransport": "JSONRPC", "protocolVersion": "0.3.0", "skills": []}
    interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    return common | {"supportedInterfaces": [interface], "skills": []}


@contextlib.asynccontextmanager
async def raw_agent(
    dialect: str, manner: Manner, *, streaming: bool = False, card_url: str | None = None, old_path: bool = False
) -> AsyncIterator[RawAgent]:
    """Serve an agent of one manner. `card_url` is what its card claims; `old_path` serves `agent.json` only."""
    agent = RawAgent(url="", card={})

    async def rpc(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        agent.bodies.append(body)
        agent.headers.append(request.headers)
        call = Call(dialect=dialect, body=body, request=request, agent=agent)
        agent.calls.append(call.method)
        if call.method == "cancel":
            agent.cancelled.set()
            return call.answer(call.task("canceled"))
        if call.method in {"send", "stream"}:
            agent.asked.set()
        return await manner(call)

    async def card(_request: web.Request) -> web.Response:
        return web.json_response(agent.card)

    app = web.Application()
    app.router.add_post("/", rpc)
    app.router.add_post("/a2a/v1", rpc)
    app.router.add_get("/.well-known/agent.json" if old_path else "/.well-known/agent-card.json", card)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    agent.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    agent.card = card_of(dialect, card_url or agent.url, streaming=streaming)
    try:
        yield agent
    finally:
        await runner.cleanup()


def replies(text: str) -> Manner:
    """Answers every message with a completed task, as a stream where asked for one."""

    async def manner(call: Call) -> web.StreamResponse:
        if call.method == "stream":
            return await call.stream(
                call.task("submitted"),
                call.status("working"),
                call.update(call.artifact(text)),
                call.status("completed"),
            )
        return call.answer(call.task("completed", call.artifact(text)))

    return manner


async def hangs(_call: Call) -> web.StreamResponse:
    """Takes the message and never answers."""
    await asyncio.Event().wait()
    raise AssertionError


async def hangs_in_stream(call: Call) -> web.StreamResponse:
    """Starts a task and never goes on."""
    async with call.opened() as stream:
        await stream.send(call.task("working"))
        await asyncio.Event().wait()
    return stream.response


async def drips(call: Call) -> web.StreamResponse:
    """A byte now and then, for ever, so that no read ever times out."""
    async with call.opened() as stream:
        while True:
            await stream.raw(b".")
            await asyncio.sleep(0.02)


async def floods(call: Call) -> web.StreamResponse:
    """A reply of 30 MB in pieces of 64 KiB, as one artifact."""
    piece = call.update(call.artifact("x" * 65_536), append=True)
    async with call.opened() as stream:
        await stream.send(call.task("working"))
        for _ in range(480):
            await stream.send(piece)
        await stream.send(call.status("completed"))
    return stream.response
