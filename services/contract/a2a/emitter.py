"""What an agent sees of A2A: the message that came in and the way to answer it, in the one order peers can rely on."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from a2a.server.events import EventQueue
from a2a.types.a2a_pb2 import (
    Artifact,
    Message,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Incoming:
    """One message of a peer."""

    text: str
    """The text parts joined by newline; where they say nothing, the single data part as JSON."""
    context_id: str
    task_id: str
    message_id: str
    owner: str
    """Who sent it: the name of the bearer token, else the peer's address; loopback is one owner."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The message's metadata as far as the values are strings; what is long or too much is left out."""


class Declined(Exception):  # noqa: N818 - an answer to the peer
    """Raised by a handler to end the task as `failed` with this text, which the peer may read."""


class EventOrderError(RuntimeError):
    """An agent emitted something after its terminal state."""


class Emitter:
    """The answers to one message. The Task itself was already sent; exactly one terminal state ends it.

    Metadata values are strings: protobuf turns numbers into floats. Every method raises EventOrderError after the end.
    """

    def __init__(self, queue: EventQueue, *, task_id: str, context_id: str) -> None:
        self._queue = queue
        self._task_id = task_id
        self._context_id = context_id
        self._ended = False
        # The heartbeat and the agent emit at once; without a line a late `working` could overtake the end.
        self._line = asyncio.Lock()

    @property
    def ended(self) -> bool:
        """True once a terminal state was sent."""
        return self._ended

    async def working(self, text: str, metadata: Mapping[str, str] = _NOTHING) -> None:
        """Report progress. The text is kept in the task's history."""
        await self._status(TaskState.TASK_STATE_WORKING, text, metadata)

    async def artifact(self, name: str, texts: Sequence[str]) -> None:
        """Send an artifact whose id and name are `name`, one text part for each text."""
        artifact = Artifact(artifact_id=name, name=name, parts=[_part(text) for text in texts])
        event = TaskArtifactUpdateEvent(
            task_id=self._task_id, context_id=self._context_id, artifact=artifact, last_chunk=True
        )
        async with self._line:
            await self._put(event)

    async def completed(self, text: str = "", metadata: Mapping[str, str] = _NOTHING) -> None:
        """End: done."""
        await self._status(TaskState.TASK_STATE_COMPLETED, text, metadata)

    async def rejected(self, text: str) -> None:
        """End: the request is wrong or cannot be taken now; `text` says why."""
        await self._status(TaskState.TASK_STATE_REJECTED, text, _NOTHING)

    async def failed(self, text: str, metadata: Mapping[str, str] = _NOTHING) -> None:
        """End: taken and not done."""
        await self._status(TaskState.TASK_STATE_FAILED, text, metadata)

    async def canceled(self) -> None:
        """End: stopped on request."""
        await self._status(TaskState.TASK_STATE_CANCELED, "", _NOTHING)

    async def submitted(self, message: Message) -> None:
        """The first event. Sent by the server, not by agents."""
        status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        status.timestamp.GetCurrentTime()
        await self._put(Task(id=self._task_id, context_id=self._context_id, status=status, history=[message]))

    async def _status(self, state: TaskState, text: str, metadata: Mapping[str, str]) -> None:
        status = TaskStatus(state=state)
        status.timestamp.GetCurrentTime()
        event = TaskStatusUpdateEvent(task_id=self._task_id, context_id=self._context_id, status=status)
        facts = {key: _encodable(value) for key, value in metadata.items()}
        if text:
            message = event.status.message
            message.message_id = uuid.uuid4().hex
            message.role = Role.ROLE_AGENT
            message.task_id, message.context_id = self._task_id, self._context_id
            message.parts.append(_part(text))
            message.metadata.update(facts)
        if metadata and (not text or state != TaskState.TASK_STATE_WORKING):
            # On the task as well, where a peer that waits for the whole task finds it.
            event.metadata.update(facts)
        async with self._line:
            await self._put(event, ends=state != TaskState.TASK_STATE_WORKING)

    async def _put(self, event: Task | TaskStatusUpdateEvent | TaskArtifactUpdateEvent, *, ends: bool = False) -> None:
        if self._ended:
            raise EventOrderError(f"task {self._task_id} has ended; nothing can follow, got {type(event).__name__}")
        self._ended = ends
        await self._queue.enqueue_event(event)


class Agent(Protocol):
    """What a service implements."""

    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        """Answer one message and end it. An exception becomes `failed` with a reference; its text stays in the log."""
        ...

    async def cancel(self, task_id: str) -> None:
        """Prepare the end of a running message. When this returns, a handler still running gets CancelledError.

        An agent that has something left to send ends its handler here; one that has not simply returns. The server sends
        `canceled` unless the handler has ended the task.
        """
        ...


def _part(text: str) -> Part:
    clean = _encodable(text)
    return Part(text=clean, media_type="application/json" if _is_json_container(clean) else "text/plain")


def _encodable(text: str) -> str:
    """Half of a surrogate pair, which models do emit, cannot be sent and must not cost the whole answer."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _is_json_container(text: str) -> bool:
    if text[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
