"""The reference engine with its answers altered on the way out: the shapes and faults of other engines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from services.inference.reference_engine.app import Engine, Settings
from tests.support.asgi import serving_app


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """One request and what the reference engine answers to it."""

    path: str
    headers: dict[str, str]
    request: Any
    """Its JSON; None without a body."""
    status: int
    answer: Any
    """Its JSON; of a stream one event."""

    @property
    def is_chat(self) -> bool:
        return self.path == "/v1/chat/completions"

    @property
    def user(self) -> str:
        """The last message of the user."""
        said = [one["content"] for one in (self.request or {}).get("messages", []) if one["role"] == "user"]
        return said[-1] if said else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instead:
    """Another answer. `status` counts before a stream has begun only."""

    status: int
    body: Any


Change = Callable[[Exchange], Any]
"""The JSON to send; Instead(...) for another status; None drops an event of a stream."""


@asynccontextmanager
async def altered_engine(change: Change, *, settings: Settings | None = None) -> AsyncIterator[str]:
    """Base URL of the API, ending in /v1."""
    engine = Engine(settings or Settings())
    async with serving_app(lambda _: _Altered(engine, change)) as url:
        yield f"{url}v1"


class _Altered:
    def __init__(self, engine: Engine, change: Change) -> None:
        self._engine = engine
        self._change = change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        sent: list[Message] = []
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return given.pop() if given else await receive()

        async def keep(message: Message) -> None:
            sent.append(message)

        await self._engine(scope, again, keep)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status = sent[0]["status"]
        text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
        request = json.loads(body) if body else None

        def changed(answer: Any) -> Any:
            seen = Exchange(path=scope["path"], headers=headers, request=request, status=status, answer=answer)
            return self._change(seen)

        if text.startswith("data: "):
            out = _stream(text, changed)
        else:
            answer = json.loads(text) if text.startswith("{") else text
            out = changed(answer)
        if isinstance(out, Instead):
            status, out = out.status, out.body
        data = (out if isinstance(out, str) else json.dumps(out)).encode()
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-length", str(len(data)).encode())],
            }
        )
        await send({"type": "http.response.body", "body": data})


def _stream(text: str, changed: Change) -> Any:
    events = []
    for event in text.strip().split("\n\n"):
        data = event.removeprefix("data: ")
        out = data if data == "[DONE]" else changed(json.loads(data))
        if isinstance(out, Instead):
            return out
        if out is not None:
            events.append(f"data: {out if isinstance(out, str) else json.dumps(out)}\n\n")
    return "".join(events)
