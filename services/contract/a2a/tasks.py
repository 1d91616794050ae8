"""Tasks in memory: owner by owner, history apart from the task, ended tasks for a while.

The SDK copies the whole task for every event; with the history inside, a thousand rows cost a million copies of messages.
So the history lives here, beside the task, and is put back into what a peer reads.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from a2a.server.agent_execution.active_task import TERMINAL_TASK_STATES
from a2a.server.context import ServerCallContext
from a2a.server.tasks import InMemoryTaskStore, TaskStore
from a2a.types.a2a_pb2 import ListTasksRequest, ListTasksResponse, Message, Role, Task

from services.contract.a2a.settings import Limits


class _History:
    """Messages in order of arrival: all of the user, the newest of the agent."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._messages: dict[str, Message] = {}
        self._said: deque[str] = deque()
        """Ids of the agent's."""
        self._bytes = 0

    def take(self, task: Task) -> None:
        """Move the messages out of the task. One that the SDK read back from here comes again and is known by its id."""
        for message in task.history:
            if message.message_id in self._messages:
                continue
            kept = Message()
            kept.CopyFrom(message)
            self._messages[message.message_id] = kept
            if message.role != Role.ROLE_USER:
                self._said.append(message.message_id)
                self._bytes += kept.ByteSize()
                self._forget()
        del task.history[:]

    def _forget(self) -> None:
        while len(self._said) > self._limits.history or (
            self._bytes > self._limits.history_bytes and len(self._said) > 1
        ):
            self._bytes -= self._messages.pop(self._said.popleft()).ByteSize()

    def put(self, task: Task) -> None:
        """Write the messages into a copy that leaves the store."""
        task.history.extend(self._messages.values())


class TaskMemory(TaskStore):
    """The task store. Everything it returns is a copy with its history; `clock` counts seconds."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._tasks = InMemoryTaskStore(use_copying=False)
        self._histories: dict[str, _History] = {}
        self._ended: OrderedDict[str, tuple[float, ServerCallContext]] = OrderedDict()

    async def save(self, task: Task, context: ServerCallContext) -> None:
        """Keep the task as it is, without a copy, but for its history, which is moved out of it."""
        self._histories.setdefault(task.id, _History(self._limits)).take(task)
        await self._tasks.save(task, context)
        if task.status.state in TERMINAL_TASK_STATES and task.id not in self._ended:
            self._ended[task.id] = (self._clock(), ServerCallContext(user=context.user))
            await self._evict()

    async def get(self, task_id: str, context: ServerCallContext) -> Task | None:
        """The owner's task, or None."""
        task = await self._tasks.get(task_id, context)
        return None if task is None else self.whole(task)

    async def context_of(self, task_id: str, context: ServerCallContext) -> str:
        """Id of the context that the owner's task belongs to; empty when there is no such task."""
        task = await self._tasks.get(task_id, context)
        return "" if task is None else str(task.context_id)

    async def list(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """The owner's tasks, a page."""
        page = await self._tasks.list(params, context)
        for task in page.tasks:
            if history := self._histories.get(task.id):
                history.put(task)
        return page

    async def delete(self, task_id: str, context: ServerCallContext) -> None:
        """Forget the owner's task."""
        await self._tasks.delete(task_id, context)
        self._histories.pop(task_id, None)

    def whole(self, task: Task) -> Task:
        """A copy of the task with its history."""
        copy = Task()
        copy.CopyFrom(task)
        del copy.history[:]
        if history := self._histories.get(task.id):
            history.put(copy)
        return copy

    async def _evict(self) -> None:
        oldest_kept = self._clock() - self._limits.ended_task_s
        while self._ended:
            task_id, (ended_at, context) = next(iter(self._ended.items()))
            if len(self._ended) <= self._limits.ended_tasks and ended_at >= oldest_kept:
                return
            del self._ended[task_id]
            await self.delete(task_id, context)
