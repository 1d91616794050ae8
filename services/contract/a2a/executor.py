"""Runs an agent's handlers under the SDK: one asyncio task a message, cancel that cancels, errors that stay inside."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.types.a2a_pb2 import Message, TaskState, TaskStatus, TaskStatusUpdateEvent
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped] # protobuf ships no types

from services.contract.a2a.emitter import Agent, Declined, Emitter, EventOrderError, Incoming
from services.contract.a2a.settings import ServerSettings
from services.contract.a2a.wire import compact_json

log = structlog.get_logger()


def log_internal_error(event: str, error: BaseException | None = None) -> str:
    """Log the error with its trace under a fresh reference and return the text that peers may read."""
    reference = uuid.uuid4().hex[:8]
    log.error(event, reference=reference, exc_info=error)
    return f"internal error, reference {reference}"


TICKET: Final = "assay.ticket"
"""Key of a message's ticket in the ASGI scope and in the SDK's call context."""


class Gate:
    """Counts messages from their arrival until their handler ends, and turns away what is too many."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        """Set to 0 when the server stops."""
        self.held = 0
        self.empty = asyncio.Event()
        self.empty.set()

    @asynccontextmanager
    async def ticket(self) -> AsyncIterator[Ticket | None]:
        """A ticket for one message, or None when there is none left. Not taken over by a handler, it comes back."""
        if self.held >= self.capacity:
            yield None
            return
        ticket = Ticket(self)
        try:
            yield ticket
        finally:
            if not ticket.in_work:
                ticket.release()


class Ticket:
    """The place of one message."""

    def __init__(self, gate: Gate) -> None:
        self._gate: Gate | None = gate
        self.in_work = False
        gate.held += 1
        gate.empty.clear()

    def release(self) -> None:
        """Give the place back, once."""
        if self._gate is not None:
            self._gate.held -= 1
            if not self._gate.held:
                self._gate.empty.set()
            self._gate = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Running:
    handler: asyncio.Task[None]
    out: Emitter


class Executor(AgentExecutor):
    """Adapts an `Agent` to the SDK. Knows which messages are in work."""

    def __init__(self, agent: Agent, settings: ServerSettings) -> None:
        self._agent = agent
        self._settings = settings
        self._running: dict[str, _Running] = {}

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the tasks in work."""
        return tuple(self._running)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Run the handler to its end. Called by the SDK, once a message."""
        message, task_id, context_id = context.message, context.task_id, context.context_id
        if message is None or task_id is None or context_id is None:
            raise RuntimeError("the SDK always fills message, task id and context id")
        out = Emitter(event_queue, task_id=task_id, context_id=context_id)
        if context.current_task is None:
            await out.submitted(message)
        incoming = Incoming(
            text=incoming_text(message),
            context_id=context_id,
            task_id=task_id,
            message_id=message.message_id,
            owner=context.call_context.user.user_name,
            metadata=incoming_metadata(message),
        )
        handler = asyncio.create_task(self._handle(incoming, out), name=f"handler:{task_id}")
        self._running[task_id] = _Running(handler=handler, out=out)
        ticket: Ticket | None = context.call_context.state.get(TICKET)
        if ticket is not None:
            ticket.in_work = True
        try:
            await asyncio.wait([handler])
        finally:
            self._running.pop(task_id, None)
            handler.cancel()
            if ticket is not None:
                ticket.release()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Stop a message. Its terminal event is written when this returns; the SDK may close the queue then."""
        if context.task_id in self._running:
            await self.stop(context.task_id)
            return
        status = TaskStatus(state=TaskState.TASK_STATE_CANCELED)
        status.timestamp.GetCurrentTime()
        await event_queue.enqueue_event(
            TaskStatusUpdateEvent(task_id=context.task_id, context_id=context.context_id, status=status)
        )

    async def stop(self, task_id: str) -> None:
        """Let the agent end the message in its own way, then cancel what is left of the handler."""
        running = self._running.get(task_id)
        if running is None:
            return
        try:
            async with asyncio.timeout(self._settings.cancel_s):
                await self._agent.cancel(task_id)
        except TimeoutError:
            log.warning("agent_cancel_timed_out", task_id=task_id, cancel_s=self._settings.cancel_s)
        except Exception as error:  # noqa: BLE001 - the boundary: a failing cancel still cancels
            log_internal_error("agent_cancel_failed", error)
        running.handler.cancel()
        await asyncio.wait([running.handler], timeout=self._settings.cancel_s)
        if not running.out.ended:
            await running.out.canceled()

    async def _handle(self, incoming: Incoming, out: Emitter) -> None:
        """One message, whatever happens in it: a terminal state follows, unless it is being cancelled."""
        structlog.contextvars.bind_contextvars(task_id=incoming.task_id, context_id=incoming.context_id)
        heartbeat = self._start_heartbeat(out)
        fault = ""
        try:
            await self._agent.handle(incoming, out)
            if not out.ended:
                fault = log_internal_error("handler_left_task_open")
        except Declined as declined:
            fault = str(declined)
        except Exception as error:  # noqa: BLE001 - the boundary: nothing of it may reach the peer
            fault = log_internal_error("handler_failed", error)
        finally:
            if heartbeat is not None:
                heartbeat.cancel()
        if fault and not out.ended:
            await out.failed(fault)

    def _start_heartbeat(self, out: Emitter) -> asyncio.Task[None] | None:
        interval_s = self._settings.heartbeat_s
        if interval_s is None:
            return None

        async def beat() -> None:
            with contextlib.suppress(EventOrderError):
                while True:
                    await out.working("")
                    await asyncio.sleep(interval_s)

        return asyncio.create_task(beat(), name="heartbeat")


MOST_METADATA: Final = 32
LONGEST_METADATA: Final = 1_000
"""Characters of a key and of a value."""


def incoming_metadata(message: Message) -> dict[str, str]:
    """Strings among the metadata, at most MOST_METADATA of them, by key; keys and values that are too long are left out."""
    found = {
        key: value.string_value
        for key, value in message.metadata.fields.items()
        if value.WhichOneof("kind") == "string_value" and max(len(key), len(value.string_value)) <= LONGEST_METADATA
    }
    return {key: found[key] for key in sorted(found)[:MOST_METADATA]}


def incoming_text(message: Message) -> str:
    """The text parts joined by newline; where there is none, the single data part as compact JSON; else nothing."""
    texts = [part.text for part in message.parts if part.WhichOneof("content") == "text"]
    if any(text.strip() for text in texts):
        return "\n".join(texts)
    data = [part.data for part in message.parts if part.WhichOneof("content") == "data"]
    return compact_json(MessageToDict(data[0])) if len(data) == 1 else ""
