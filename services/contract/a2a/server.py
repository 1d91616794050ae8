"""An A2A server around an `Agent`: the app with its routes, and the process that serves it until it is told to stop.

Everything a service needs of the server side is importable from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from a2a.server.routes import create_agent_card_routes, create_rest_routes
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.contract.a2a.card import CARD_PATH, OLD_CARD_PATH, build_card
from services.contract.a2a.emitter import Agent, Declined, Emitter, EventOrderError, Incoming
from services.contract.a2a.executor import TICKET, Executor, Gate
from services.contract.a2a.limits import BearerCheck, BoundedBody, PatientProtocol
from services.contract.a2a.rpc import CallContexts, Dispatcher, Endpoint, Handler, turned_away
from services.contract.a2a.settings import UNSPECIFIED_HOSTS, AgentProfile, Limits, ServerSettings, Skill
from services.contract.a2a.tasks import TaskMemory

__all__ = [
    "Agent",
    "AgentProfile",
    "App",
    "Declined",
    "Emitter",
    "EventOrderError",
    "Incoming",
    "Limits",
    "Mount",
    "ServerSettings",
    "Skill",
    "build_app",
    "serve",
]

log = structlog.get_logger()
GRACE_S = 15
"""Seconds an open stream may take to end after the server has stopped; uvicorn's own limit of 20 is behind it."""

Closing = Callable[[], Awaitable[None]]
Mount = Callable[[str], Mapping[str, ASGIApp]]
"""Given the server's public address, the apps that answer everything below a path such as `/files/`.

They are asked before the bearer check and look after themselves.
"""


def no_mount(_public_url: str) -> Mapping[str, ASGIApp]:
    """A server of the agent alone."""
    return {}


class App:
    """The ASGI app. `stop` ends what is in work and takes nothing new; the card stays up."""

    executor: type[Executor] = Executor
    """The fixture of the conformance kits puts one in its place that sends what no agent of ours may."""

    def __init__(
        self, agent: Agent, profile: AgentProfile, settings: ServerSettings, closing: Closing | None, mount: Mount
    ) -> None:
        self._settings = settings
        self._mounted = dict(mount(settings.public_url()))
        self._closing = closing
        self._gate = Gate(settings.max_in_flight)
        self._executor = self.executor(agent, settings)
        card = build_card(profile, settings)
        self._handler = Handler(self._executor, TaskMemory(settings.limits), card)
        contexts = CallContexts(by_token=settings.auth_token is not None)
        dispatcher = Dispatcher(self._handler, contexts, grace_s=GRACE_S)
        routes: list[BaseRoute] = [
            *create_agent_card_routes(card, card_url=CARD_PATH, cache_control="public, max-age=60"),
            *create_agent_card_routes(card, card_url=OLD_CARD_PATH, cache_control="public, max-age=60"),
            Route("/healthz", _healthz, methods=["GET"]),
            Route("/", Endpoint(dispatcher, self._gate, settings.limits), methods=["POST"]),
        ]
        if settings.rest:
            routes += create_rest_routes(
                self._handler, contexts, enable_v0_3_compat=True, shutdown_grace_period=GRACE_S
            )
        app: ASGIApp = BoundedBody(Starlette(routes=routes, lifespan=self._lifespan), settings.limits)
        self._app = app if settings.auth_token is None else BearerCheck(app, settings.auth_token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; REST sends pass the same gate as JSON-RPC sends."""
        if scope["type"] == "http":
            for below, app in self._mounted.items():
                if scope["path"].startswith(below):
                    await app(scope, receive, send)
                    return
        if scope["type"] != "http" or not scope["path"].endswith(("/message:send", "/message:stream")):
            await self._app(scope, receive, send)
            return
        async with self._gate.ticket() as ticket:
            if ticket is None:
                await turned_away()(scope, receive, send)
                return
            scope[TICKET] = ticket
            await self._app(scope, receive, send)

    async def stop(self) -> None:
        """Refuse new messages with 503, give running ones `drain_s` seconds, then cancel them."""
        self._gate.capacity = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                await self._gate.empty.wait()
        await asyncio.gather(*(self._executor.stop(task_id) for task_id in self._executor.running))

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        yield
        await self._handler.aclose()
        if self._closing is not None:
            await self._closing()


def build_app(
    agent: Agent,
    profile: AgentProfile,
    settings: ServerSettings,
    *,
    closing: Closing | None = None,
    mount: Mount = no_mount,
) -> App:
    """The ASGI app of an agent. `closing` is awaited when the server has ended, to close clients and pools.

    Header and write timers belong to the connection and are only there under `serve`.
    """
    return App(agent, profile, settings, closing, mount)


def serve(
    agent: Agent,
    profile: AgentProfile,
    settings: ServerSettings,
    *,
    closing: Closing | None = None,
    mount: Mount = no_mount,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code: 0 stopped, 1 could not listen or was stopped twice."""
    # Every bad request of a peer is an error with a trace to the SDK; ours are logged where they are handled.
    logging.getLogger("a2a").setLevel(logging.CRITICAL)
    try:
        listening = listen(settings)
    except OSError as error:
        reason = str(error)
        log.error("server_could_not_listen", host=settings.host, port=settings.port, reason=reason)  # noqa: TRY400 - the user needs no trace
        return 1
    if settings.host in UNSPECIFIED_HOSTS and settings.auth_token is None:
        log.warning("server_open_to_the_network", host=settings.host, remedy="give it a token, see --auth-token-env")
    settings = replace(settings, port=listening.getsockname()[1])
    server = Server(agent, profile, settings, closing=closing, mount=mount)
    server.run(sockets=[listening])
    return 1 if server.force_exit else 0


def listen(settings: ServerSettings) -> socket.socket:
    """A bound socket, so that a free port is known before the card is made. Raises OSError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family)


def _config(app: App, settings: ServerSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=type("Protocol", (PatientProtocol,), {"limits": settings.limits}),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # a forged X-Forwarded-For would make a peer somebody else
        timeout_keep_alive=75,  # longer than our client's 30 s, so that the client closes first
        timeout_graceful_shutdown=20,
        limit_concurrency=1024,
    )


class Server(uvicorn.Server):
    """uvicorn, that drains before it closes its sockets and does not die of the signal it handled."""

    def __init__(
        self,
        agent: Agent,
        profile: AgentProfile,
        settings: ServerSettings,
        *,
        closing: Closing | None = None,
        mount: Mount = no_mount,
    ) -> None:
        self.app = build_app(agent, profile, settings, closing=closing, mount=mount)
        super().__init__(_config(self.app, settings))
        self._settings = settings
        self._stopping: asyncio.Task[None] | None = None
        self._stop_asked = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then tell where."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        log.info("server_started", url=self._settings.base_url(), card_url=self._settings.public_url())
        if self._settings.ready_file is not None:
            write_ready_file(self._settings.ready_file, self._settings.base_url())

    def handle_exit(self, sig: int, _frame: FrameType | None) -> None:
        """First signal: drain. Second: end at once."""
        if self._stop_asked or self._loop is None:
            self.force_exit = self.should_exit = True
            return
        self._stop_asked = True
        self._loop.call_soon_threadsafe(self._begin_stop)
        with contextlib.suppress(OSError):  # whoever read the log may be gone, and with it the reason to stay
            log.info("server_stopping", signal=signal.Signals(sig).name)

    def _begin_stop(self) -> None:
        self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        try:
            await self.app.stop()
        finally:
            self.should_exit = True


def write_ready_file(path: Path, url: str) -> None:
    """Put the URL there in one step, so that whoever waits for the file never reads half of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(url + "\n")
    partial.replace(path)


async def _healthz(_request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})
