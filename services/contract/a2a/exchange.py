"""One message and everything that comes of it, also when the stream breaks on the way (interop specification 3.4)."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from services.contract.a2a.failures import (
    HOPELESS_CODES,
    Cut,
    RpcFailure,
    Unsent,
    protocol,
    rpc_failure,
    too_many,
    unreachable,
)
from services.contract.a2a.reply import Assembly
from services.contract.a2a.road import IdleLimit, Road, Timings, read_all, server_sent
from services.contract.a2a.wire import (
    NOTHING,
    Dialect,
    Method,
    WireError,
    WireEvent,
    message_params,
    read_event,
    request_body,
)
from services.contract.outcomes import AgentFailure, Outcome

STREAM: Final = "text/event-stream"
LONG_ANSWER: Final = 256 << 10
"""Bytes; longer answers, which may take a second, are read beside the event loop."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """Where and how one agent is spoken to."""

    road: Road
    url: str
    headers: Mapping[str, str]
    dialect: Dialect
    streaming: bool
    timings: Timings
    alive: Callable[[], Awaitable[bool]]
    """Does the card still answer?"""


class Exchange:
    """Sends one message and yields what the agent answers until it rests. Everything is in `assembly` as well."""

    def __init__(self, route: Route, *, max_line: int, max_bytes: int, max_events: int | None = None) -> None:
        """`max_events` None: as many as come."""
        self.assembly = Assembly(room=max_bytes)
        self.rested_at = 0.0
        """`time.monotonic()` of the event that ended it."""
        self._route = route
        self._max_line = max_line
        self._max_bytes = max_bytes
        self._max_events = max_events
        self._events = 0

    async def events(
        self, text: str, *, context_id: str = "", task_id: str = "", metadata: Mapping[str, str] = NOTHING
    ) -> AsyncGenerator[WireEvent]:
        """Every event, the resting one last; after a cut also events that came before. Raises AgentFailure."""
        params = message_params(self._route.dialect, text, context_id=context_id, task_id=task_id, metadata=metadata)
        method = Method.STREAM if self._route.streaming else Method.SEND
        reason, cut = "the answer ended before the task did", self._route.streaming
        try:
            async with aclosing(self._call(method, params)) as events:
                async for event in events:
                    yield event
        except Unsent as error:
            raise unreachable(str(error)) from error
        except Cut as error:
            reason, cut = str(error), True
        if self.assembly.resting:
            return
        if not self.assembly.task_id:
            raise AgentFailure(Outcome.INFRA_ERROR, "lost_request", f"no answer to the message: {reason}")
        async with aclosing(self._recover(reason, patient=not cut or self._route.dialect is Dialect.V1)) as events:
            async for event in events:
                yield event

    async def one(self, method: Method) -> WireEvent:
        """GetTask or CancelTask of the task in work, once."""
        async with aclosing(self._call(method, {"id": self.assembly.task_id}, once=True)) as events:
            async for event in events:
                return event
        raise Cut("no answer")

    async def _call(
        self, method: Method, params: Mapping[str, object], *, once: bool = False
    ) -> AsyncGenerator[WireEvent]:
        """The answers to one call, one or many, as the server likes."""
        route, idle = self._route, IdleLimit()
        body = request_body(route.dialect, method, params)
        async with route.road.post(route.url, body, route.headers, once=once) as response:
            if response.content_type != STREAM:
                yield await self._take(await read_all(response, max_bytes=min(self._max_bytes, 4 * self._max_line)))
                return
            self._pace(idle)
            try:
                async for data in server_sent(response, max_line=self._max_line, max_bytes=self._max_bytes, idle=idle):
                    if not self.assembly.resting:
                        yield await self._take(data)
                        self._pace(idle)
            except Cut:
                if not self.assembly.resting:
                    raise

    def _pace(self, idle: IdleLimit) -> None:
        """Silence means a cut only where the task can be asked for; once it rests, only the end of the stream is due."""
        if self.assembly.resting:
            idle.seconds = self._route.timings.settle_s
        elif self.assembly.task_id:
            idle.seconds = self._route.timings.idle_s

    async def _take(self, data: bytes) -> WireEvent:
        self._events += 1
        if self._max_events is not None and self._events > self._max_events:
            raise too_many(self._max_events)
        if len(data) > LONG_ANSWER:
            event, notes = await asyncio.to_thread(_read, data)
        else:
            event, notes = _read(data)
        for note in notes:
            self.assembly.note(note)
        self.assembly.add(event)
        if self.assembly.resting:
            self.rested_at = time.monotonic()
        return event

    async def _recover(self, reason: str, *, patient: bool) -> AsyncGenerator[WireEvent]:
        """Find the task again: GetTask, in 1.0 also Subscribe, until it rests or nothing speaks for its life.

        Not `patient`, at most `poll_v03_s`: after a cut a 0.3 agent may show a dead task as working for ever.
        """
        loop = asyncio.get_running_loop()
        timings, started_at, faults = self._route.timings, loop.time(), 0
        for delay_s in itertools.chain((0.0,), timings.poll_delays_s, itertools.repeat(timings.poll_delays_s[-1])):
            await asyncio.sleep(delay_s)
            try:
                yield await self.one(Method.GET)
                faults = 0
            except (Cut, Unsent):
                faults += 1
            except AgentFailure as failure:
                if isinstance(failure, RpcFailure) and failure.code in HOPELESS_CODES:
                    break
                _raise_unless_fleeting(failure)
                faults += 1
            if self._route.dialect is Dialect.V1 and not faults and not self.assembly.resting:
                async with aclosing(self._subscribed()) as events:
                    async for event in events:
                        yield event
            if self.assembly.resting:
                return
            timed_out = loop.time() - started_at > timings.poll_v03_s
            if faults > len(timings.poll_delays_s) or (timed_out and not patient):
                break
        raise await self._lost(reason)

    async def _subscribed(self) -> AsyncGenerator[WireEvent]:
        """The rest of the stream, where the agent can give it; the end of it proves nothing."""
        subscription = self._call(Method.SUBSCRIBE, {"id": self.assembly.task_id}, once=True)
        try:
            async with aclosing(subscription) as events:
                async for event in events:
                    yield event
        except (Cut, Unsent):
            return
        except AgentFailure as failure:
            _raise_unless_fleeting(failure)

    async def _lost(self, reason: str) -> AgentFailure:
        if await self._route.alive():
            return AgentFailure(Outcome.AGENT_ERROR, "dropped", f"the agent dropped the task: {reason}")
        return AgentFailure(Outcome.INFRA_ERROR, "agent_lost", f"the agent is gone: {reason}")


def _read(data: bytes) -> tuple[WireEvent, list[str]]:
    """What an answer says, and what was odd about it. Pure. Raises AgentFailure."""
    text = data.decode("utf-8", "replace")
    notes: list[str] = []
    if "\ufffd" in text and "\ufffd".encode() not in data:
        notes.append("invalid UTF-8 was replaced")
    try:
        answer = json.loads(text)
        if "\\ud" in text.lower():
            answer = _whole(answer, notes)
        if isinstance(answer, dict) and answer.get("error") is not None:
            raise rpc_failure(answer["error"])
        return read_event(answer.get("result") if isinstance(answer, dict) else answer), notes
    except (WireError, ValueError, RecursionError) as error:
        raise protocol(f"the answer is no A2A: {error}", text) from error


def _whole(answer: object, notes: list[str]) -> Any:
    """The answer without halves of surrogate pairs, which models do emit and nothing after this could store."""
    written = json.dumps(answer, ensure_ascii=False).encode("utf-16", "surrogatepass")
    clean = written.decode("utf-16", "replace")
    if "\ufffd" in clean:
        notes.append("half a surrogate pair was replaced")
    return json.loads(clean)


def _raise_unless_fleeting(failure: AgentFailure) -> None:
    """A refused call or a bad gateway may pass; a flood or gibberish will not."""
    if failure.outcome is not Outcome.INFRA_ERROR and not isinstance(failure, RpcFailure):
        raise failure
