"""What the conformance kits examine: the product's server around an agent that does what a message id begins with.

`python -m tests.conformance.fixture_agent --ready-file FILE`. What the product's agents do too goes through its `Emitter`.
The rest (bare messages, files, data parts, waiting for input) is sent past it, here and nowhere else.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import click
from a2a.server.agent_execution import RequestContext
from a2a.server.events import EventQueue
from a2a.server.tasks import TaskUpdater
from a2a.types.a2a_pb2 import Part
from google.protobuf.json_format import ParseDict  # type: ignore[import-untyped] # protobuf ships no types

from services.contract.a2a.executor import Executor
from services.contract.a2a.options import server_options
from services.contract.a2a.server import AgentProfile, App, Emitter, Incoming, ServerSettings, Skill, serve

PROFILE = AgentProfile(
    name="Conformance fixture",
    description="Does what the conformance kits ask for by message id.",
    version="1.0.0",
    skills=[Skill(id="tck", name="Conformance", description="Answers the kits.", tags=["test"])],
)
OPEN_S: Final = 4.0
"""Seconds that a task stays in work for who subscribes again: twice what the kit waits for one event."""
STREAMED: Final = (
    "tck-artifact-text",
    "tck-stream-001",
    "tck-stream-003",
    "tck-stream-ordering",
    "tck-stream-artifact-text",
)


class Fixture:
    """The part of the kits' agent that any agent of the product could be."""

    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        """Answer by the message id; an unknown one is echoed."""
        asked = incoming.message_id
        if asked.startswith("tck-reject-task"):
            await out.rejected("rejected")
            return
        if asked.startswith(STREAMED):
            await out.working("working")
            await out.artifact("reply", ["Generated text content"])
        if asked.startswith("test-resubscribe-message-id"):
            await out.working("working")
            await asyncio.sleep(OPEN_S)
        await out.completed("Hello from the fixture")

    async def cancel(self, task_id: str) -> None:
        """Nothing to prepare."""


Answer = Callable[[TaskUpdater, EventQueue], Awaitable[None]]


async def bare_message(updater: TaskUpdater, queue: EventQueue) -> None:
    """No task at all."""
    await queue.enqueue_event(updater.new_agent_message([Part(text="Direct message response")]))


async def input_required(updater: TaskUpdater, _queue: EventQueue) -> None:
    """A task that stays open: it can be continued and cancelled."""
    await updater.requires_input(updater.new_agent_message([Part(text="What else?")]))


async def chunks(updater: TaskUpdater, _queue: EventQueue) -> None:
    """One artifact in two pieces."""
    await updater.start_work()
    await updater.add_artifact([Part(text="chunk-1 ")], artifact_id="chunked")
    await updater.add_artifact([Part(text="chunk-2")], artifact_id="chunked", append=True, last_chunk=True)
    await updater.complete()


def artifact(part: Part) -> Answer:
    """A task with an artifact of one part."""

    async def answer(updater: TaskUpdater, _queue: EventQueue) -> None:
        await updater.start_work()
        await updater.add_artifact([part])
        await updater.complete()

    return answer


FILE: Final = Part(raw=b"tck", media_type="text/plain", filename="output.txt")
LINK: Final = Part(url="https://example.com/output.txt", media_type="text/plain", filename="output.txt")
DATA: Final = ParseDict({"data": {"key": "value", "count": 42}}, Part())
LOOSE: Final[dict[str, Answer]] = {
    "tck-message-response": bare_message,
    "tck-input-required": input_required,
    "tck-artifact-file-url": artifact(LINK),
    "tck-artifact-file": artifact(FILE),
    "tck-stream-artifact-file": artifact(FILE),
    "tck-artifact-data": artifact(DATA),
    "tck-stream-artifact-chunked": chunks,
}
"""By prefix, the longer before the shorter that it begins with."""


class FixtureExecutor(Executor):
    """The product's executor, which steps aside for what no agent of the product may send."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Ids that no kit of 1.0 gives are those of 0.3, which wants every task to stay open."""
        message, task_id, context_id = context.message, context.task_id, context.context_id
        if message is None or task_id is None or context_id is None:
            raise RuntimeError("the SDK always fills message, task id and context id")
        answer = next((each for prefix, each in LOOSE.items() if message.message_id.startswith(prefix)), None)
        if answer is None and not message.message_id.startswith(("tck-", "test-resubscribe-message-id")):
            answer = input_required
        if answer is None:
            await super().execute(context, event_queue)
            return
        if context.current_task is None and answer is not bare_message:
            await Emitter(event_queue, task_id=task_id, context_id=context_id).submitted(message)
        await answer(TaskUpdater(event_queue, task_id, context_id), event_queue)


@click.command()
@server_options(port=0)
def main(settings: ServerSettings) -> None:
    """Serve the fixture until told to stop."""
    App.executor = FixtureExecutor
    sys.exit(serve(Fixture(), PROFILE, settings))


if __name__ == "__main__":
    main()
