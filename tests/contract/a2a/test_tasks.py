"""The task store and the emitter, below any server."""

import asyncio

import pytest
from a2a.server.context import ServerCallContext
from a2a.server.events.event_queue_v2 import EventQueueSource
from a2a.types.a2a_pb2 import (
    ListTasksRequest,
    Message,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

from services.contract.a2a.emitter import Emitter, EventOrderError
from services.contract.a2a.rpc import Peer
from services.contract.a2a.settings import Limits
from services.contract.a2a.tasks import TaskMemory

ME, THEM = (ServerCallContext(user=Peer(name)) for name in ("me", "them"))


def task(task_id: str, state: TaskState = TaskState.TASK_STATE_WORKING, *messages: str) -> Task:
    history = [Message(message_id=name, role=Role.ROLE_AGENT) for name in messages]
    return Task(id=task_id, context_id="c", status=TaskStatus(state=state), history=history)


def said(found: Task | None) -> list[str]:
    assert found is not None
    return [message.message_id for message in found.history]


async def test_the_history_leaves_the_saved_task_and_comes_back_in_every_copy() -> None:
    store, kept = TaskMemory(Limits(history=3)), task("t", TaskState.TASK_STATE_WORKING, "a", "b")
    await store.save(kept, ME)
    inside = list(kept.history)
    kept.history.extend([Message(message_id=name, role=Role.ROLE_AGENT) for name in "cd"])
    await store.save(kept, ME)
    page = await store.list(ListTasksRequest(), ME)

    assert inside == []
    assert said(await store.get("t", ME)) == said(page.tasks[0]) == ["b", "c", "d"]


async def test_a_history_of_heavy_messages_keeps_the_newest_of_them() -> None:
    store, heavy = TaskMemory(Limits(history_bytes=2_500)), task("t")
    heavy.history.extend([Message(message_id=f"{n}" * 1_000, role=Role.ROLE_AGENT) for n in range(4)])
    await store.save(heavy, ME)
    two = said(await store.get("t", ME))
    heavy.history.append(Message(message_id="x" * 9_000, role=Role.ROLE_AGENT))
    await store.save(heavy, ME)

    assert two == ["2" * 1_000, "3" * 1_000]
    assert said(await store.get("t", ME)) == ["x" * 9_000]


async def test_a_task_read_back_and_saved_again_says_nothing_twice() -> None:
    store = TaskMemory(Limits(history=2))
    await store.save(task("t", TaskState.TASK_STATE_WORKING, "a", "b", "c"), ME)
    for _ in range(3):
        again = await store.get("t", ME)
        assert again is not None
        await store.save(again, ME)

    assert said(await store.get("t", ME)) == ["b", "c"]


async def test_ended_tasks_leave_after_their_time_and_running_ones_stay() -> None:
    now = [0.0]
    store = TaskMemory(Limits(ended_task_s=60), clock=lambda: now[0])
    await store.save(task("running"), ME)
    await store.save(task("old", TaskState.TASK_STATE_COMPLETED), ME)
    now[0] = 59.0
    await store.save(task("new", TaskState.TASK_STATE_FAILED), THEM)
    before = await store.get("old", ME)
    now[0] = 61.0
    await store.save(task("newer", TaskState.TASK_STATE_FAILED), THEM)

    assert before is not None
    assert await store.get("old", ME) is None
    assert (await store.get("running", ME), await store.get("new", ME)) != (None, None)
    assert await store.get("new", THEM) is not None


async def test_nothing_can_follow_the_end() -> None:
    queue = EventQueueSource()
    out = Emitter(queue, task_id="t", context_id="c")
    await out.working("a")
    await out.completed()

    for late in (out.working("b"), out.artifact("x", ["y"]), out.completed(), out.failed("f"), out.canceled()):
        with pytest.raises(EventOrderError):
            await late
    assert out.ended
    await queue.close(immediate=True)


async def test_half_a_surrogate_pair_is_replaced_and_costs_no_answer() -> None:
    queue = EventQueueSource()
    out = Emitter(queue, task_id="t", context_id="c")

    await out.artifact("reply", ["\ud800 42"])
    await out.completed("\udc00", {"note": "\ud800"})
    artifact, end = await queue.dequeue_event(), await queue.dequeue_event()

    assert isinstance(artifact, TaskArtifactUpdateEvent)
    assert isinstance(end, TaskStatusUpdateEvent)
    assert artifact.artifact.parts[0].text == "? 42"
    assert (end.status.message.parts[0].text, dict(end.metadata)) == ("?", {"note": "?"})
    await queue.close(immediate=True)


async def test_of_many_ends_at_once_one_wins() -> None:
    queue = EventQueueSource()
    out = Emitter(queue, task_id="t", context_id="c")

    ends = await asyncio.gather(*(out.failed(str(number)) for number in range(5)), return_exceptions=True)

    assert [type(end) for end in ends].count(EventOrderError) == 4
    await queue.close(immediate=True)
