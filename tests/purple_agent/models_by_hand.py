"""Model servers by hand: OpenAI-compatible HTTP whose answers a test writes, and which keep what was asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.asgi import serving_app

Body = dict[str, Any]


@dataclass
class ModelServer:
    """Answers each completion, of a chat or of a text, with what `script` makes of the request and its 0-based number."""

    script: Callable[[Body, int], Response | Body]
    url: str = ""
    asked: list[Body] = field(default_factory=list)
    tokens: int | None = None
    """What the tokenizer counts in any prompt; None: there is no tokenizer."""
    hang_on: str | None = None
    """Text in the last message that makes a request wait until its client leaves."""
    together: asyncio.Barrier | None = None
    """Every request waits here for the others."""
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    abandoned: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client closed a request that was waiting."""

    async def complete(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.asked.append(body)
        if self.hang_on is not None and self.hang_on in json.dumps(body.get("messages", [""])[-1]):
            self.waiting.set()
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.abandoned.set()
        if self.together is not None:
            await self.together.wait()
        answer = self.script(body, len(self.asked) - 1)
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    async def tokenize(self, _request: Request) -> Response:
        return JSONResponse({"count": self.tokens}) if self.tokens is not None else Response(status_code=404)


@contextlib.asynccontextmanager
async def model_server(
    script: Callable[[Body, int], Response | Body], *, hang_on: str | None = None, tokens: int | None = None
) -> AsyncIterator[ModelServer]:
    """A model server until the block ends; `url` ends in `/v1`."""
    server = ModelServer(script=script, hang_on=hang_on, tokens=tokens)
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", server.complete, methods=["POST"]),
            Route("/v1/completions", server.complete, methods=["POST"]),
            Route("/tokenize", server.tokenize, methods=["POST"]),
        ]
    )
    async with serving_app(lambda _: app) as url:
        server.url = f"{url}v1"
        yield server


def completion(
    text: str | None = None, *, calls: tuple[tuple[str, Any], ...] = (), finish: str | None = None, **message: Any
) -> Body:
    """A chat completion with a text, or with calls of (name, arguments)."""
    tool_calls = [
        {"id": f"call-{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for number, (name, arguments) in enumerate(calls)
    ]
    said = {"role": "assistant", "content": text, **({"tool_calls": tool_calls} if calls else {}), **message}
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 0,
        "model": "by-hand",
        "system_fingerprint": "by-hand-1",
        "choices": [{"index": 0, "message": said, "finish_reason": finish or ("tool_calls" if calls else "stop")}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }


def continuation(text: str, *, finish: str = "stop") -> Body:
    """A text completion."""
    return {
        "id": "1",
        "object": "text_completion",
        "created": 0,
        "model": "by-hand",
        "choices": [{"index": 0, "text": text, "finish_reason": finish}],
        "usage": {"prompt_tokens": 30, "completion_tokens": 5, "total_tokens": 35},
    }


def http_error(status: int, message: str) -> Response:
    """An error body in the shape engines and gateways use."""
    return JSONResponse({"error": {"message": message, "type": "error", "code": status}}, status)


def say(text: str) -> Callable[[Body, int], Body]:
    """The same text to everyone."""
    return lambda _body, _number: completion(text)


def heard(body: Body) -> list[tuple[str, str]]:
    """Role and text of each message of a request."""
    return [(message["role"], message.get("content") or "") for message in body["messages"]]
