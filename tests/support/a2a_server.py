"""Serves an agent with the product's own server, timers included, on a free port inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from starlette.types import ASGIApp

from services.contract.a2a.server import Agent, AgentProfile, Mount, Server, ServerSettings, Skill, listen, no_mount
from tests.support.asgi import InLoop

PROFILE = AgentProfile(
    name="Test agent",
    description="Does what a test says.",
    version="1.2.3",
    skills=[Skill(id="answer", name="Answer", description="Answers.", tags=["test"])],
)


Wrapper = Callable[[ASGIApp], ASGIApp]


class _LoopServer(Server, InLoop):
    """The product's server without its process."""

    def __init__(self, agent: Agent, settings: ServerSettings, *, through: Wrapper | None, mount: Mount) -> None:
        super().__init__(agent, PROFILE, settings, mount=mount)
        if through is not None:
            self.config.app = through(self.app)


@contextlib.asynccontextmanager
async def serving(
    agent: Agent,
    settings: ServerSettings | None = None,
    *,
    through: Wrapper | None = None,
    mount: Mount = no_mount,
) -> AsyncIterator[str]:
    """The base URL, with a trailing slash, of a server around `agent`. What still runs at the end is cancelled.

    `through` wraps the ASGI app, to pretend what a loopback socket cannot, such as another peer address.
    """
    settings = replace(settings or ServerSettings(), drain_s=0.0)
    listening = listen(settings)
    settings = replace(settings, port=listening.getsockname()[1])
    server = _LoopServer(agent, settings, through=through, mount=mount)
    running = asyncio.create_task(server.serve([listening]))
    try:
        await server.listening.wait()
        yield settings.base_url()
    finally:
        await server.app.stop()
        server.leaving.set()
        await running
