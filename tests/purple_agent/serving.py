"""The purple agent on a real socket, in front of whatever model a test serves."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import httpx

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended
from services.contract.a2a.server import ServerSettings
from services.contract.assessment import META_SAMPLE
from services.contract.conversation import Reply
from services.contract.endpoints import endpoint_from_environment
from services.purple_agent.baselines.registry import baseline
from services.purple_agent.server import Purple, with_baseline, with_model
from services.purple_agent.settings import Settings
from tests.support.asgi import serving_app

SERVER = ServerSettings(drain_s=0.0)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """An evaluator's view of the agent."""

    url: str
    client: AgentClient

    async def ask(self, text: str, *, sample: str | None = None) -> Reply:
        """One question in a conversation of its own; `sample`: which one the evaluator says it wants."""
        metadata = {} if sample is None else {META_SAMPLE: sample}
        return await self.client.conversation(metadata=metadata).ask(text, deadline())

    async def outcome(self, text: str) -> Outcome:
        """The raw end of one question: state, text, metadata, artifacts."""
        artifacts: dict[str, str] = {}
        async for event in self.client.watch(text, deadline=deadline()):
            if isinstance(event, ArtifactReceived):
                artifacts[event.name] = "".join(event.texts)
            elif isinstance(event, Ended):
                return Outcome(state=event.state, text=event.text, metadata=dict(event.metadata), artifacts=artifacts)
        raise AssertionError("the stream ended without a terminal state")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a message ended."""

    state: str
    text: str
    metadata: dict[str, str]
    artifacts: dict[str, str]

    @property
    def error(self) -> dict[str, Any]:
        """The `error` object of a failure's text."""
        error: dict[str, Any] = json.loads(self.text)["error"]
        return error


def deadline() -> float:
    """Far away: a test that hangs fails by it, no test waits for it."""
    return asyncio.get_running_loop().time() + 60


async def begin_and_cancel(url: str, text: str, *, once: asyncio.Event) -> str:
    """Send a message, cancel its task as soon as `once` is set, and return the task's last state."""
    message = {"messageId": uuid.uuid4().hex, "role": "ROLE_USER", "parts": [{"text": text}]}
    async with httpx.AsyncClient(base_url=url, headers={"A2A-Version": "1.0"}, timeout=60) as http:
        begin = _call("SendStreamingMessage", {"message": message})
        async with http.stream("POST", "/", json=begin) as events:
            first = await anext(line async for line in events.aiter_lines() if line.startswith("data:"))
            task_id = json.loads(first.removeprefix("data:"))["result"]["task"]["id"]
            await once.wait()
            cancelled = await http.post("/", json=_call("CancelTask", {"id": task_id}))
    state: str = cancelled.json()["result"]["status"]["state"]
    return state


def _call(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@contextlib.asynccontextmanager
async def serving(purple: Purple) -> AsyncIterator[Peer]:
    """An agent and a client of it."""
    async with serving_app(lambda port: purple.app(port=port)) as url:
        client = AgentClient(url)
        try:
            yield Peer(url=url, client=client)
        finally:
            await client.aclose()


def on_model(
    url: str,
    settings: Settings | None = None,
    *,
    emit_tool_calls: bool = False,
    max_concurrency: int = 64,
    env: Mapping[str, str] = MappingProxyType({}),
) -> contextlib.AbstractAsyncContextManager[Peer]:
    """The agent with a model at `url`."""
    endpoint = endpoint_from_environment({"OPENAI_BASE_URL": url, "LLM_MODEL": "by-hand", **env})
    return serving(
        with_model(
            endpoint,
            settings or Settings(),
            server=SERVER,
            max_concurrency=max_concurrency,
            emit_tool_calls=emit_tool_calls,
        )
    )


def on_baseline(spec: str) -> contextlib.AbstractAsyncContextManager[Peer]:
    """A baseline."""
    return serving(with_baseline(baseline(spec), server=SERVER))
