"""A server that says exactly what a test wants, for answers no well-behaved engine gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: Any
    """The JSON of the body, None without one."""


@dataclass(kw_only=True, slots=True)
class RawServer:
    """Answers requests under `paths` with the scripted responses, in turn, the last one again and again; others with 404."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    """Requests that took a scripted response."""
    others: list[Seen] = field(default_factory=list)


def response(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP response; a body that is not text is sent as JSON."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Scripted", f"content-length: {len(data)}", "content-type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


@asynccontextmanager
async def raw_server(
    responses: Sequence[bytes | None] | Callable[[Seen], bytes | None],
    *,
    paths: Sequence[str] = ("/v1/chat/completions", "/v1/messages"),
    port: int = 0,
) -> AsyncIterator[RawServer]:
    """A server on a free port, or on one that a test held before. Responses are a script, or a function of the request.

    No bytes close the connection without an answer, None keeps it open."""
    server = RawServer()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (seen := await _read(reader)) is not None:
                answer: bytes | None
                if seen.path in paths:
                    answer = _chosen(responses, seen, len(server.seen))
                    server.seen.append(seen)
                else:
                    answer = response({"error": {"message": "not here"}}, status=404)
                    server.others.append(seen)
                if answer is None:
                    await reader.read()
                if not answer:
                    break
                writer.write(answer)
                await writer.drain()
        finally:
            writer.close()

    listener = await asyncio.start_server(handle, "127.0.0.1", port)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()


def _chosen(
    responses: Sequence[bytes | None] | Callable[[Seen], bytes | None], seen: Seen, number: int
) -> bytes | None:
    return responses(seen) if callable(responses) else responses[min(number, len(responses) - 1)]


async def _read(reader: asyncio.StreamReader) -> Seen | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    data = await reader.readexactly(int(headers.get("content-length", "0")))
    return Seen(method=method, path=path, headers=headers, body=json.loads(data) if data else None)
