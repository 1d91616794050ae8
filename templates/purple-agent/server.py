"""The agent as an A2A server, in the dialects 1.0 and 0.3. Nothing here needs a change to give it another mind."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections import OrderedDict

import httpx
import uvicorn
from a2a.helpers.proto_helpers import new_task_from_user_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, TaskState
from agent import MODEL_TIMEOUT_S, Conversation, ModelError
from starlette.applications import Starlette

MOST_CONVERSATIONS = 4096


class Executor(AgentExecutor):
    """One conversation for each context; its messages are answered in the order in which they came."""

    def __init__(self) -> None:
        self._client = httpx.AsyncClient(timeout=MODEL_TIMEOUT_S)
        self._conversations: OrderedDict[str, tuple[Conversation, asyncio.Lock]] = OrderedDict()
        self._forgotten: set[str] = set()

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Answer one message. A failure of the model ends the task as failed; its text is never sent as an answer."""
        if context.current_task is None:
            await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        question = context.get_user_input()
        if not question.strip():
            await updater.reject(updater.new_agent_message([new_text_part("the message has no text")]))
            return
        await updater.start_work()
        try:
            conversation, turn = self._conversation(context.context_id)
            async with turn:
                answer = await conversation.answer(question)
        except Exception as error:  # without an end of its task, a peer would wait for ever
            fault = error if isinstance(error, ModelError) else ModelError("agent_error", "internal", "internal error")
            if fault is not error:
                logging.getLogger("uvicorn.error").exception("the agent failed")
            told = updater.new_agent_message([new_text_part(str(fault))])
            facts = {"assay/outcome": fault.outcome, "assay/fault": fault.kind}
            await updater.update_status(TaskState.TASK_STATE_FAILED, told, metadata=facts)
            return
        await updater.add_artifact([new_text_part(answer)], artifact_id="reply", name="reply", last_chunk=True)
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """The SDK ends `execute`, and with it the request to the model."""
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()

    def _conversation(self, context_id: str) -> tuple[Conversation, asyncio.Lock]:
        if context_id in self._forgotten:  # never silently from the beginning
            raise ModelError("agent_error", "context_expired", "the conversation is forgotten: begin a new one")
        found = self._conversations.pop(context_id, None) or (Conversation(self._client), asyncio.Lock())
        self._conversations[context_id] = found
        if len(self._conversations) > MOST_CONVERSATIONS:
            self._forgotten.add(self._conversations.popitem(last=False)[0])
        return found


def build_app(url: str) -> Starlette:
    """The server, for an agent that others reach at `url`."""
    card = AgentCard(
        name="My agent",
        description="Answers questions with a language model.",
        version="0.1.0",
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version) for version in ("1.0", "0.3")
        ],
        capabilities=AgentCapabilities(streaming=True),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain"],
        skills=[AgentSkill(id="answer", name="Answers", description="Answers a question.", tags=["questions"])],
    )
    handler = DefaultRequestHandler(agent_executor=Executor(), task_store=InMemoryTaskStore(), agent_card=card)
    rpc = create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True, shutdown_grace_period=15)
    old_card = create_agent_card_routes(card, card_url="/.well-known/agent.json")
    return Starlette(routes=[*create_agent_card_routes(card), *old_card, *rpc])


def main() -> None:
    """Serve until SIGTERM or SIGINT; what is being answered gets 20 seconds to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9009)
    parser.add_argument("--card-url", help="address in the card; default http://HOST:PORT/")
    given = parser.parse_args()
    host = "127.0.0.1" if given.host in {"0.0.0.0", "::"} else given.host
    url = (given.card_url or f"http://{host}:{given.port}").rstrip("/") + "/"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn stops first, then repeats the signal
    uvicorn.run(
        build_app(url),
        host=given.host,
        port=given.port,
        limit_concurrency=1024,  # one more is told HTTP 503
        timeout_graceful_shutdown=20,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()
