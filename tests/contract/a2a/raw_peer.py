"""A peer that speaks to our server in plain HTTP: what it posts and what it reads is the wire itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

Json = dict[str, Any]
NAMES = {
    "0.3": {
        "send": "message/send",
        "stream": "message/stream",
        "get": "tasks/get",
        "cancel": "tasks/cancel",
        "subscribe": "tasks/resubscribe",
    },
    "1.0": {
        "send": "SendMessage",
        "stream": "SendStreamingMessage",
        "get": "GetTask",
        "cancel": "CancelTask",
        "subscribe": "SubscribeToTask",
        "list": "ListTasks",
    },
}


class Peer:
    """One client in one dialect."""

    def __init__(self, url: str, dialect: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.dialect = dialect
        self.session = session
        self.headers = {"A2A-Version": "1.0"} if dialect == "1.0" else {}

    def message(self, text: str, **fields: str) -> Json:
        """Params of a send."""
        part, role = {"text": text}, "ROLE_USER"
        if self.dialect == "0.3":
            part, role = part | {"kind": "text"}, "user"
        return {"message": {"messageId": "m-1", "role": role, "parts": [part], **fields}}

    def body(self, method: str, params: Json) -> Json:
        return {"jsonrpc": "2.0", "id": 7, "method": NAMES[self.dialect].get(method, method), "params": params}

    async def post(self, body: object, *, headers: Mapping[str, str] | None = None, path: str = "") -> tuple[int, Json]:
        """Status and JSON of a post; `body` may be bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = self.headers if headers is None else headers
        async with self.session.post(self.url + path, data=data, headers=sent) as response:
            return response.status, json.loads(await response.read() or b"null")

    async def call(self, method: str, params: Json) -> Json:
        """The whole JSON-RPC answer."""
        status, answer = await self.post(self.body(method, params))
        assert status == 200
        return answer

    async def send(self, text: str, **fields: str) -> Json:
        """The task a send ends in."""
        result: Json = (await self.call("send", self.message(text, **fields)))["result"]
        return result if self.dialect == "0.3" else result["task"]

    async def code(self, method: str, params: Json) -> int:
        """The error code of an answer."""
        return int((await self.call(method, params))["error"]["code"])

    async def events(self, method: str, params: Json) -> AsyncIterator[Json]:
        """Every event of a stream, unwrapped."""
        body = json.dumps(self.body(method, params)).encode()
        async with self.session.post(self.url, data=body, headers=self.headers) as response:
            assert response.content_type == "text/event-stream", await response.text()
            async for line in response.content:
                if line.startswith(b"data:"):
                    yield self.unwrapped(json.loads(line[5:])["result"])

    async def stream(self, text: str) -> list[Json]:
        """Every event of a streamed message."""
        return [event async for event in self.events("stream", self.message(text))]

    def unwrapped(self, result: Json) -> Json:
        return result if self.dialect == "0.3" else next(iter(result.values()))

    def state(self, event: Json) -> str:
        """State of a task or update, in the words of 0.3; empty for an artifact."""
        state = str(event.get("status", {}).get("state", ""))
        return state.removeprefix("TASK_STATE_").lower().replace("_", "-")

    def texts(self, holder: Json) -> list[str]:
        """Texts of a message or artifact."""
        return [part["text"] for part in holder["parts"]]


async def raw_http(url: str, *pieces: bytes | asyncio.Event) -> bytes:
    """Write the pieces to a connection, waiting at each event, and read until the server closes it."""
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                writer.write(piece)
                await writer.drain()
        return await reader.read()
    finally:
        writer.close()
