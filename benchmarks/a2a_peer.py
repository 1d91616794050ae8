"""An A2A agent for measuring: on our server, or on the SDK's with its defaults. What it does stands in the message.

python benchmarks/a2a_peer.py --kind ours|sdk --port 0 --ready-file F

`wait S` answers after S seconds, `large N` with an artifact of N characters; both in one piece, after one `working`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from services.contract.a2a.server import Emitter, Incoming, ServerSettings, serve  # noqa: E402 - run as a script
from tests.support.a2a_server import PROFILE  # noqa: E402 - likewise


@dataclass(frozen=True)
class Wish:
    """What a message asks for."""

    wait_s: float
    answer: str

    @classmethod
    def of(cls, text: str) -> Wish:
        """Read `wait S` or `large N`."""
        verb, _, amount = text.partition(" ")
        return cls(0.0, "x" * int(amount)) if verb == "large" else cls(float(amount), "42")


class Ours:
    """On our server."""

    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        """Do as the message says."""
        wish = Wish.of(incoming.text)
        await out.working("at it")
        await asyncio.sleep(wish.wait_s)
        await out.artifact("reply", [wish.answer])
        await out.completed()

    async def cancel(self, task_id: str) -> None:
        """Nothing to prepare."""


def serve_sdk(port: int, ready: Path) -> None:
    """The same agent on the SDK's server as it comes."""
    import uvicorn  # noqa: PLC0415 - of this kind only
    from a2a.server.agent_execution import AgentExecutor, RequestContext  # noqa: PLC0415
    from a2a.server.events import EventQueue  # noqa: PLC0415
    from a2a.server.request_handlers import DefaultRequestHandler  # noqa: PLC0415
    from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes  # noqa: PLC0415
    from a2a.server.tasks import InMemoryTaskStore, TaskUpdater  # noqa: PLC0415
    from a2a.types.a2a_pb2 import Part, Task, TaskState, TaskStatus  # noqa: PLC0415
    from starlette.applications import Starlette  # noqa: PLC0415

    from services.contract.a2a.card import build_card  # noqa: PLC0415
    from services.contract.a2a.server import listen  # noqa: PLC0415

    class Theirs(AgentExecutor):
        async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
            assert context.task_id is not None
            assert context.context_id is not None
            wish = Wish.of(context.get_user_input())
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            await event_queue.enqueue_event(Task(id=context.task_id, context_id=context.context_id, status=status))
            updater = TaskUpdater(event_queue, context.task_id, context.context_id)
            await updater.start_work(updater.new_agent_message([Part(text="at it")]))
            await asyncio.sleep(wish.wait_s)
            await updater.add_artifact([Part(text=wish.answer)], name="reply")
            await updater.complete()

        async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
            raise NotImplementedError

    listening = listen(ServerSettings(port=port))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
    card = build_card(PROFILE, ServerSettings(card_url=url))
    handler = DefaultRequestHandler(agent_executor=Theirs(), task_store=InMemoryTaskStore(), agent_card=card)
    routes = [*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True)]
    ready.write_text(url)
    uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, access_log=False)).run([listening])


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=["ours", "sdk"], required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path, required=True)
    asked = parser.parse_args()
    if asked.kind == "sdk":
        serve_sdk(asked.port, asked.ready_file)
        return
    sys.exit(serve(Ours(), PROFILE, ServerSettings(port=asked.port, ready_file=asked.ready_file)))


if __name__ == "__main__":
    main()
