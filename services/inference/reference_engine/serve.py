"""Runs the reference engine in this process until it is told to stop."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn

from services.inference.reference_engine.app import Engine, Settings

KEEP_ALIVE_S: Final = 75
"""Longer than clients keep connections, so that the client closes first and no request meets a closing connection."""
GRACE_S: Final = 2
BACKLOG: Final = 2048
INTERRUPTED: Final = 130


class PortTakenError(Exception):
    """The address cannot be bound."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where it listens."""

    host: str = "127.0.0.1"
    port: int = 0
    """0: any free port."""
    ready_file: Path | None = None
    """Gets the base URL, atomically, once requests are accepted."""


def serve(settings: Settings, place: Place, *, announce: Callable[[str], None]) -> int:
    """Serve until SIGINT or SIGTERM; `announce` is called with the base URL once it listens.

    Returns the exit code: 0 after SIGTERM, 130 after SIGINT. Raises PortTakenError.
    """
    listener = bind(place)
    server = build(Engine(settings), on_listening=lambda: _ready(listener, place, announce))
    stopped_by: list[int] = []

    def note(signum: int, _frame: FrameType | None) -> None:
        stopped_by.append(signum)

    # uvicorn raises the signal again once it has stopped; without our handlers that would kill the process.
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, note)
    server.run(sockets=[listener])
    return INTERRUPTED if signal.SIGINT in stopped_by else 0


def build(engine: Engine, *, on_listening: Callable[[], None]) -> uvicorn.Server:
    """The server, not yet running."""
    # Its errors are faults that we inject; ours are answered and logged by the application.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        engine,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return _Announcing(config, on_listening)


def bind(place: Place) -> socket.socket:
    """A socket bound to the address. Raises PortTakenError with the reason."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((place.host, place.port))
    except OSError as error:
        listener.close()
        raise PortTakenError(f"cannot listen on {place.host}:{place.port}: {error.strerror}") from error
    return listener


def url_of(listener: socket.socket) -> str:
    """Base URL under which this machine reaches the listener."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - the way in, not the way to listen
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


class _Announcing(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_listening()


def _ready(listener: socket.socket, place: Place, announce: Callable[[str], None]) -> None:
    url = url_of(listener)
    if place.ready_file is not None:
        _write_atomically(place.ready_file, url)
    announce(url)


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
