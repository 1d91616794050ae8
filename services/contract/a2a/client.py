"""The client side: one `AgentClient` for each participant and assessment, one `Conversation` for each trial.

The SDK's client is not used: JSON-RPC in two dialects is little code over plain JSON, costs a fraction of the protobuf
round trip, and leaves sizes, cuts and retries in one hand.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress

from services.contract.a2a.cards import CardInfo, no_interface, read_card
from services.contract.a2a.exchange import Exchange, Route
from services.contract.a2a.failures import Cut, Unsent, http_failure, unreachable
from services.contract.a2a.reply import REPLY_BYTES, REPLY_EVENTS
from services.contract.a2a.road import Road, Timings
from services.contract.a2a.urls import UrlPolicy
from services.contract.a2a.watch import ArtifactReceived, Ended, Progress, Watcher
from services.contract.a2a.wire import NOTHING, Dialect, Method
from services.contract.conversation import Reply
from services.contract.outcomes import AgentFailure, Outcome

__all__ = [
    "AgentClient",
    "ArtifactReceived",
    "CardInfo",
    "Conversation",
    "Ended",
    "Progress",
    "Timings",
    "UrlPolicy",
]

CARD_BYTES = 256 << 10
WATCH_BYTES = 1 << 40
"""Rows stream through and are not held; an agent that answers megabytes to each task must not end the run."""
WATCH_LINE_BYTES = 256 << 20
"""A row of a trial with several full replies, every character escaped; green's last artifact, every row in short."""


class AgentClient:
    """The road to one agent, shared by all its conversations. Requests go to the origin of `url`, whatever the card says."""

    def __init__(
        self,
        url: str,
        *,
        concurrency: int = 16,
        token: str | None = None,
        a2a_version: str | None = None,
        follow_card_url: bool = False,
        policy: UrlPolicy | None = None,
        timings: Timings | None = None,
    ) -> None:
        """`concurrency` bounds the connections; `a2a_version` ("1.0", "0.3") forces a dialect.

        `follow_card_url` trusts the address in the card; the token is not sent to another origin even then.
        """
        self._url = url
        self._token = token
        self._forced = Dialect(a2a_version) if a2a_version else None
        self._follow = follow_card_url
        self._timings = timings or Timings()
        self._road = Road(connections=concurrency, policy=policy or UrlPolicy(), timings=self._timings)
        self._card: CardInfo | None = None
        self._card_line = asyncio.Lock()

    async def card(self) -> CardInfo:
        """The agent's card, fetched once. Raises AgentFailure: unreachable, http_<code>, auth, no_interface."""
        async with self._card_line:
            if self._card is None:
                self._card = await self._fetch_card()
            return self._card

    async def alive(self) -> bool:
        """True when the card answers now."""
        try:
            await self._fetch_card()
        except AgentFailure:
            return False
        return True

    def conversation(self, *, metadata: Mapping[str, str] = NOTHING) -> Conversation:
        """A new conversation, in a context of its own; each of its messages carries `metadata`."""
        return Conversation(self, metadata)

    async def watch(self, text: str, *, deadline: float | None) -> AsyncGenerator[Progress | ArtifactReceived | Ended]:
        """Send one message and yield what becomes of it, ending with one Ended; nothing is lost with a broken stream.

        Progress that came during a gap is replayed from the task's history. `deadline` is `loop.time()`; past it the task is
        cancelled and AgentFailure(agent_error, deadline) raised. Leaving early cancels nothing: see `cancel`.
        """
        exchange = Exchange(await self.route(), max_line=WATCH_LINE_BYTES, max_bytes=WATCH_BYTES)
        watcher = Watcher()
        async with aclosing(exchange.events(text)) as events:
            while True:
                try:
                    async with asyncio.timeout_at(deadline):
                        event = await anext(events, None)
                except TimeoutError:
                    await self.cancel(exchange.assembly.task_id)
                    raise _deadline_passed() from None
                if event is None:
                    return
                for news in watcher.news(event, exchange.assembly):
                    yield news

    async def cancel(self, task_id: str) -> None:
        """Ask the agent to stop a task: one attempt, `cancel_s` seconds, no complaint."""
        if not task_id:
            return
        with suppress(AgentFailure, Cut, Unsent, TimeoutError):
            async with asyncio.timeout(self._timings.cancel_s):
                exchange = Exchange(await self.route(), max_line=REPLY_BYTES, max_bytes=2 * REPLY_BYTES)
                exchange.assembly.task_id = task_id
                await exchange.one(Method.CANCEL)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._road.aclose()

    async def route(self) -> Route:
        """Where and how messages go."""
        card = await self.card()
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if card.dialect is Dialect.V1:
            headers["A2A-Version"] = "1.0"
        if self._token is not None and card.own_origin:
            headers["Authorization"] = f"Bearer {self._token}"
        return Route(
            road=self._road,
            url=card.url,
            headers=headers,
            dialect=card.dialect,
            streaming=card.streaming,
            timings=self._timings,
            alive=self.alive,
        )

    async def _fetch_card(self) -> CardInfo:
        base = self._url.rstrip("/") + "/.well-known/"
        headers = {} if self._token is None else {"Authorization": f"Bearer {self._token}"}
        status, body = 404, b""
        for name in ("agent-card.json", "agent.json"):
            if status == 404:
                try:
                    status, body = await self._road.get(base + name, headers, max_bytes=CARD_BYTES)
                except (Unsent, Cut) as error:
                    raise unreachable(f"{base}{name}: {error}") from error
                except AgentFailure as failure:
                    raise no_interface(f"{base}{name}: the agent card is larger than {CARD_BYTES} bytes") from failure
        if status not in {200, 404}:
            failed = http_failure(status, body[:2_000].decode("utf-8", "replace"))
            raise failed if failed.outcome is Outcome.INFRA_ERROR else no_interface(f"{base}: HTTP {status}, no card")
        return read_card(body, found=status == 200, url=self._url, forced=self._forced, follow=self._follow)


class Conversation:
    """The messages of one trial, in one context."""

    def __init__(self, client: AgentClient, metadata: Mapping[str, str] = NOTHING) -> None:
        self._client = client
        self._metadata = metadata
        self._context_id = ""
        self._open_task_id = ""

    async def ask(self, text: str, deadline: float) -> Reply:
        """Send one message and await its reply; `deadline` is `loop.time()`. Raises AgentFailure(outcome, kind, ...).

        Past the deadline, and when cancelled, the agent is asked to stop, best effort.
        """
        started_at = time.monotonic()
        exchange = Exchange(
            await self._client.route(), max_line=REPLY_BYTES, max_bytes=2 * REPLY_BYTES, max_events=REPLY_EVENTS
        )
        try:
            async with asyncio.timeout_at(deadline):
                async with aclosing(
                    exchange.events(
                        text, context_id=self._context_id, task_id=self._open_task_id, metadata=self._metadata
                    )
                ) as events:
                    async for _ in events:
                        pass
        except TimeoutError:
            await self._client.cancel(exchange.assembly.task_id)
            raise _deadline_passed() from None
        except asyncio.CancelledError:
            await self._client.cancel(exchange.assembly.task_id)
            raise
        assembly = exchange.assembly
        if self._context_id and assembly.context_id != self._context_id:
            assembly.note(f"the agent changed the context id from {self._context_id!r}")
        reply = assembly.reply(latency_s=exchange.rested_at - started_at)
        self._context_id = assembly.context_id
        self._open_task_id = assembly.task_id if assembly.state == "input-required" else ""
        return reply


def _deadline_passed() -> AgentFailure:
    return AgentFailure(Outcome.AGENT_ERROR, "deadline", "the deadline passed before the agent had answered")
