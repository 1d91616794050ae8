"""Serves an agent with the product's own server, timers included, on a free port inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

from services.contract.a2a.server import Agent, AgentProfile, Server, ServerSettings, Skill, listen

PROFILE = AgentProfile(
    name="Test agent",
    description="Does what a test says.",
    version="1.2.3",
    skills=[Skill(id="answer", name="Answer", description="Answers.", tags=["test"])],
)


class _LoopServer(Server):
    """Says when it listens and leaves the signals to pytest."""

    def __init__(self, agent: Agent, settings: ServerSettings) -> None:
        super().__init__(agent, PROFILE, settings)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving(agent: Agent, settings: ServerSettings | None = None) -> AsyncIterator[str]:
    """The base URL, with a trailing slash, of a server around `agent`. What still runs at the end is cancelled."""
    settings = replace(settings or ServerSettings(), drain_s=0.0)
    listening = listen(settings)
    settings = replace(settings, port=listening.getsockname()[1])
    server = _LoopServer(agent, settings)
    running = asyncio.create_task(server.serve([listening]))
    try:
        await server.listening.wait()
        yield settings.base_url()
    finally:
        await server.app.stop()
        server.should_exit = True
        await running
