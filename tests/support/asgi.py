"""Serves an ASGI app on a free port inside the running event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import uvicorn


class InLoop(uvicorn.Server):
    """uvicorn that says when it listens, stops when `leaving` is set, and leaves the signals to pytest."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.leaving = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait without uvicorn's tick of 0.1 s."""
        await self.leaving.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Without uvicorn's pause of 0.1 s when nobody is connected and nothing runs."""
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        for _ in range(3):  # for the transports to close
            await asyncio.sleep(0)
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)
            return
        for server in self.servers:
            await server.wait_closed()
        await self.lifespan.shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serving_app(build: Callable[[int], Any]) -> AsyncIterator[str]:
    """The base URL, with a trailing slash, of the app that `build` makes for the port it will have."""
    listener = socket.create_server(("127.0.0.1", 0))
    # asyncio leaves Nagle on for sockets of `create_server`: 40 ms for every answer of two writes.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    port = listener.getsockname()[1]
    server = InLoop(
        uvicorn.Config(build(port), log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1)
    )
    running = asyncio.create_task(server.serve([listener]))
    try:
        await server.listening.wait()
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.leaving.set()
        await running
