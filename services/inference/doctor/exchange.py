"""One server, spoken to in raw HTTP: what came back, whole or as a stream, and nothing repaired."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

import httpx
from pydantic import JsonValue

MAX_BODY: Final = 16 << 20
"""More of an answer is not read: no check needs it, and a stream may never end."""
CONNECT_S: Final = 10.0
_CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})
_LINE_END: Final = re.compile(r"\r\n|\n|\r")
"""Of server-sent events. JSON may hold other marks that Python takes for the end of a line."""


class NoAnswerError(Exception):
    """No HTTP answer: refused, closed in the middle, or no HTTP at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A whole response."""

    status: int
    text: str

    @property
    def body(self) -> JsonValue:
        """Its JSON; None when it is none."""
        return parsed(self.text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Streamed:
    """A stream of server-sent events. An error comes as a whole text and without chunks."""

    status: int
    text: str
    chunks: tuple[JsonValue, ...]
    done: bool
    """It ended with [DONE]."""


class Exchange:
    """A client of one base URL. Has no deadline of its own: who asks sets one."""

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        self.base = base
        self.root = base.removesuffix("/v1")
        self._headers = dict(headers)
        here = is_loopback(base)
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=64),
            trust_env=not here,
            # Reading the certificates takes longer than half of the questions; a plain connection needs none.
            verify=not (here and base.startswith("http:")),
            follow_redirects=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, url: str) -> Answer:
        """Raises NoAnswerError."""
        async with self._sent("GET", url, None) as response:
            return Answer(status=response.status_code, text=await _read(response))

    async def post(self, url: str, payload: Mapping[str, JsonValue], *, anonymous: bool = False) -> Answer:
        """`anonymous`: without the key. Raises NoAnswerError."""
        async with self._sent("POST", url, payload, anonymous=anonymous) as response:
            return Answer(status=response.status_code, text=await _read(response))

    async def stream(self, url: str, payload: Mapping[str, JsonValue]) -> Streamed:
        """All of a stream. Raises NoAnswerError."""
        async with self._sent("POST", url, payload) as response:
            text, status = await _read(response), response.status_code
        if status != 200:
            return Streamed(status=status, text=text, chunks=(), done=False)
        lines = _LINE_END.split(text)
        events = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
        done = bool(events) and events[-1] == "[DONE]"
        chunks = tuple(parsed(event) for event in events if event != "[DONE]")
        return Streamed(status=status, text=text, chunks=chunks, done=done)

    @asynccontextmanager
    async def _sent(
        self, method: str, url: str, payload: Mapping[str, JsonValue] | None, *, anonymous: bool = False
    ) -> AsyncIterator[httpx.Response]:
        body = None if payload is None else dict(payload)
        headers = {name: value for name, value in self._headers.items() if not (anonymous and name in _CREDENTIALS)}
        try:
            async with self._client.stream(method, url, json=body, headers=headers) as response:
                yield response
        except httpx.HTTPError as error:
            raise NoAnswerError(f"{type(error).__name__}: {error}".rstrip(": ")) from error


def parsed(text: str) -> JsonValue:
    """The JSON in a text; None when it is none."""
    try:
        value: JsonValue = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def is_loopback(url: str) -> bool:
    """True for addresses that only this machine reaches."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _read(response: httpx.Response) -> str:
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            raise NoAnswerError(f"the answer has more than {MAX_BODY >> 20} MiB")
    return b"".join(parts).decode(errors="replace")
