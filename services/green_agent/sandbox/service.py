"""The sandbox as an HTTP service on a unix socket or a TCP port: POST /run, GET /info, GET /healthz.

In its container it uses bubblewrap where the host allows that, else a user id per program.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
import uvicorn
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.contract.execution import INFO_PATH, RUN_PATH, Job, JobResult, SandboxError
from services.contract.sandbox_client import UNIX
from services.green_agent.sandbox.backends import BWRAP_COLD, BWRAP_WARM, UNSAFE, USERS
from services.green_agent.sandbox.opening import open_local
from services.green_agent.sandbox.pool import LocalSandbox

HEALTH_PATH: Final = "/healthz"
JOB_BYTES: Final = 512 << 20
"""Largest accepted job. A checker's job holds the output of a program, 64 MiB at most, each byte of which may take six."""
DRAIN_S: Final = 5
SOCKET_MODE: Final = 0o666
"""Green runs as another user, in another container; the folder of the socket says who may reach it."""

INSIDE: Final = (BWRAP_WARM, BWRAP_COLD, USERS, UNSAFE)
"""Backends of a service, best first."""

log = structlog.get_logger()
_job: Final[TypeAdapter[Job]] = TypeAdapter(Job)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """Where the service listens and what it may use."""

    socket_path: Path | None = None
    """Unix socket; `host` and `port` are ignored with it."""
    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port, told by the ready file."""
    workers: int = 2
    allow_unsafe: bool = False
    ready_file: Path | None = None
    """The URL is written there once the service listens."""


def build_app(sandbox: LocalSandbox) -> Starlette:
    """The ASGI application around an open sandbox, which it does not close."""

    async def run(request: Request) -> Response:
        try:
            job = _job.validate_json(await _body(request))
        except ValidationError as error:
            return _refusal(422, f"not a job: {error.errors(include_url=False, include_input=False)[:3]}")
        except _TooLargeError:
            return _refusal(413, f"a job above {JOB_BYTES} bytes")
        try:
            result = await _while_connected(request, sandbox, job)
        except SandboxError as error:
            log.warning("job_failed", error=str(error))
            return _refusal(503, str(error))
        return Response(result.model_dump_json() if result else "", media_type="application/json")

    async def info(_request: Request) -> Response:
        return Response(sandbox.info.model_dump_json(), media_type="application/json")

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "backend": sandbox.info.backend})

    return Starlette(
        routes=[
            Route(RUN_PATH, run, methods=["POST"]),
            Route(INFO_PATH, info),
            Route(HEALTH_PATH, health),
        ]
    )


class _TooLargeError(Exception):
    pass


def _refusal(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)


async def _body(request: Request) -> bytes:
    parts = bytearray()
    async for part in request.stream():
        parts += part
        if len(parts) > JOB_BYTES:
            raise _TooLargeError
    return bytes(parts)


async def _while_connected(request: Request, sandbox: LocalSandbox, job: Job) -> JobResult | None:
    """Run the job; None when the client went away first, which ends the program."""
    work = asyncio.create_task(sandbox.run(job))
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        return await work if work.done() else None
    finally:
        for task in (work, gone):
            task.cancel()
            with suppress(asyncio.CancelledError, SandboxError):
                await task


async def _disconnected(request: Request) -> None:
    with suppress(ClientDisconnect):
        while (await request.receive())["type"] != "http.disconnect":
            pass


class _Server(uvicorn.Server):
    """Tells where it listens once it does."""

    def __init__(self, config: uvicorn.Config, ready: Path | None, url: str) -> None:
        super().__init__(config)
        self._ready = ready
        self._url = url

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a signal that has been obeyed is not raised again: it would end us before the workers."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        log.info("sandbox_service_started", url=self._url)
        if self._ready is not None:
            part = self._ready.with_name(f"{self._ready.name}.{os.getpid()}")
            part.write_text(self._url)
            part.replace(self._ready)


async def serve(settings: ServiceSettings) -> None:
    """Serve until SIGINT or SIGTERM. Raises SandboxError when nothing isolates."""
    sandbox = await open_local(INSIDE, workers=settings.workers, allow_unsafe=settings.allow_unsafe)
    try:
        async with _listener(settings) as (listener, url):
            config = uvicorn.Config(
                build_app(sandbox), log_config=None, access_log=False, timeout_graceful_shutdown=DRAIN_S, lifespan="off"
            )
            await _Server(config, settings.ready_file, url).serve([listener])
    finally:
        await sandbox.aclose()


@asynccontextmanager
async def _listener(settings: ServiceSettings) -> AsyncIterator[tuple[socket.socket, str]]:
    path = settings.socket_path
    if path is None:
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        with socket.create_server((settings.host, settings.port), family=family) as listener:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            yield listener, f"http://{host}:{listener.getsockname()[1]}"
        return
    path.unlink(missing_ok=True)  # of a service that was killed
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(SOCKET_MODE)
        try:
            yield listener, f"{UNIX}{path.absolute()}"
        finally:
            path.unlink(missing_ok=True)
