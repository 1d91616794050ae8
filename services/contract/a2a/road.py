"""HTTP to one agent: a pool of connections, bounded reads, server-sent events, and what a broken connection means.

aiohttp itself, not httpx over it: httpx reports a connection cut after sending as a failed connect, and only a request that
certainly never left may be sent again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp

from services.contract.a2a.failures import Cut, Unsent, http_failure, too_large
from services.contract.a2a.urls import CheckedResolver, UrlPolicy

SPARE_CONNECTIONS: Final = 4
"""For CancelTask and GetTask while every other connection streams."""
_EXCERPT_BYTES: Final = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Waits of the client in seconds (interop specification 3.2 to 3.4). Tests shorten them."""

    connect_s: float = 5.0
    card_s: float = 10.0
    idle_s: float = 30.0
    """A stream whose task is known and that is silent for this long counts as cut. Servers ping about every 15 s."""
    cancel_s: float = 2.0
    settle_s: float = 0.25
    """Wait for the end of a stream after the last event, so that its connection can be used again."""
    send_delays_s: tuple[float, ...] = (0.5, 1.0, 2.0)
    max_retry_after_s: float = 30.0
    poll_delays_s: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    """Between GetTask calls after a cut stream; the last one repeats."""
    poll_v03_s: float = 30.0
    """A 0.3 task that lost its executor keeps its last state for ever, so polling it must end."""


class Road:
    """The connections to one agent."""

    def __init__(self, *, connections: int, policy: UrlPolicy, timings: Timings) -> None:
        self._connections = connections
        self._policy = policy
        self._timings = timings
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def get(self, url: str, headers: Mapping[str, str], *, max_bytes: int) -> tuple[int, bytes]:
        """Status and body of a GET, at most `card_s` seconds. Raises Unsent and Cut, AgentFailure when too large."""
        try:
            async with (
                asyncio.timeout(self._timings.card_s),
                self._answer("GET", url, None, headers) as response,
            ):
                return response.status, await read_all(response, max_bytes=max_bytes)
        except TimeoutError:
            raise Cut(f"no answer within {self._timings.card_s:g} s") from None

    @asynccontextmanager
    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, once: bool = False
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A 2xx answer to a JSON post, its body unread. Raises AgentFailure for another status, Unsent, Cut.

        Unless `once`, an attempt that certainly was not taken (no connection, HTTP 429 or 503) is repeated.
        """
        delays = () if once else self._timings.send_delays_s
        for delay_s in (*delays, None):
            try:
                async with self._answer("POST", url, body, headers) as response:
                    if response.status < 300:
                        yield response
                        return
                    if response.status not in {429, 503} or delay_s is None:
                        raise http_failure(response.status, await _excerpt(response))
                    wait_s = self._retry_after(response) or delay_s
            except Unsent:
                if delay_s is None:
                    raise
                wait_s = delay_s
            await asyncio.sleep(wait_s * random.uniform(1.0, 1.25))  # noqa: S311 - jitter

    @asynccontextmanager
    async def _answer(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if fault := self._policy.url_fault(url):
            raise Unsent(fault)
        session = self._open()
        try:
            async with session.request(method, url, data=body, headers=headers, allow_redirects=False) as response:
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise Unsent(str(error)) from error
        except aiohttp.ClientError as error:
            raise Cut(f"the connection broke ({type(error).__name__})") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections + SPARE_CONNECTIONS,
                keepalive_timeout=30.0,
                resolver=CheckedResolver(self._policy),
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timings.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        return self._session

    def _retry_after(self, response: aiohttp.ClientResponse) -> float | None:
        """Seconds; a date or nonsense counts as absent."""
        value = response.headers.get("Retry-After", "")
        return min(float(value), self._timings.max_retry_after_s) if value.isdigit() and value.isascii() else None


class IdleLimit:
    """How long a stream may be silent, which changes while it is read. None: as long as the deadline allows."""

    def __init__(self) -> None:
        self.seconds: float | None = None

    async def bound(self, reading: Coroutine[None, None, bytes]) -> bytes:
        """What is read, or Cut."""
        if self.seconds is None:
            return await reading
        try:
            async with asyncio.timeout(self.seconds):
                return await reading
        except TimeoutError:
            raise Cut(f"silent for {self.seconds:g} s") from None


async def read_all(response: aiohttp.ClientResponse, *, max_bytes: int) -> bytes:
    """The body. Raises AgentFailure when it is larger, without reading the rest."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise too_large(max_bytes)
    return bytes(body)


async def _excerpt(response: aiohttp.ClientResponse) -> str:
    return (await response.content.read(_EXCERPT_BYTES)).decode("utf-8", "replace")


async def server_sent(
    response: aiohttp.ClientResponse, *, max_line: int, max_bytes: int, idle: IdleLimit
) -> AsyncIterator[bytes]:
    """The data of each event. Raises AgentFailure past a bound, Cut when silent for longer than `idle` says."""
    received = waiting = 0
    pending: list[bytes] = []
    data: list[bytes] = []
    while chunk := await idle.bound(response.content.readany()):
        received += len(chunk)
        if received > max_bytes:
            raise too_large(max_bytes)
        head, *lines = chunk.split(b"\n")
        pending.append(head)
        waiting += len(head)
        for line in lines:
            whole, pending, waiting = b"".join(pending).removesuffix(b"\r"), [line], len(line)
            if whole.startswith(b"data:"):
                data.append(whole[5:].removeprefix(b" "))
            elif not whole and data:
                yield b"\n".join(data)
                data = []
        if waiting > max_line:
            raise too_large(max_line)
    if data:
        yield b"\n".join(data)
