"""The one way out of an isolated agent: a proxy that lets a single address through. Standard library only.

`--tunnel HOST:PORT` answers CONNECT to that address and nothing else, for models behind TLS; `--forward HOST:PORT` sends
every connection there, for models without.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LARGEST_HEAD: Final = 16 * 1024
"""Bytes of a request's head."""
HEAD_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 10.0
_CHUNK: Final = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    """Without the brackets of an IPv6 address, in lower case."""
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """`HOST:PORT`, `[V6]:PORT`. Raises ValueError."""
        host, colon, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not bare or (":" in bare and bare == host) or not (port.isascii() and port.isdecimal()):
            raise ValueError(f"expected HOST:PORT, got {text!r}")
        if not 0 < int(port[:6]) < 65536:
            raise ValueError(f"expected a port from 1 to 65535, got {text!r}")
        return cls(host=bare.rstrip(".").lower(), port=int(port))


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """Serves connections until its server is closed."""

    allowed: Address
    tunnel: bool
    """Whether peers say by CONNECT where they want to go."""

    async def serve(self, host: str | None, port: int) -> asyncio.Server:
        """Listen; None is every address, port 0 a free one."""
        return await asyncio.start_server(self._handle, host, port, limit=LARGEST_HEAD)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            refusal = await self._refusal(reader) if self.tunnel else None
            if refusal is None:
                await self._join(reader, writer)
            else:
                writer.write(_answer(refusal))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # The peer has gone.
        finally:
            writer.close()

    async def _refusal(self, reader: asyncio.StreamReader) -> str | None:
        """Why a request is not served, as an HTTP status, or None."""
        try:
            async with asyncio.timeout(HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except TimeoutError:
            return "408 Request Timeout"
        except asyncio.LimitOverrunError:
            return "431 Request Header Fields Too Large"
        method, _, rest = head.split(b"\r\n", 1)[0].decode("latin-1").partition(" ")
        target, _, version = rest.partition(" ")
        if method != "CONNECT" or not version.startswith("HTTP/1."):
            return "405 Method Not Allowed"
        try:
            wanted = Address.parse(target)
        except ValueError:
            return "400 Bad Request"
        return None if wanted == self.allowed else "403 Forbidden"

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                far_reader, far_writer = await asyncio.open_connection(self.allowed.host, self.allowed.port)
        except (OSError, UnicodeError) as error:  # no answer in time, or a name that is none
            print(f"{self.allowed.host}:{self.allowed.port} does not answer: {error!r}", file=sys.stderr)  # noqa: T201 - its log
            if self.tunnel:
                writer.write(_answer("502 Bad Gateway"))
                await writer.drain()
            return
        try:
            if self.tunnel:
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(_pump(reader, far_writer))
                pumps.create_task(_pump(far_reader, writer))
        except* OSError:
            pass  # One side is gone; both are closed.
        finally:
            far_writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end, and say so to the other side."""
    while chunk := await reader.read(_CHUNK):
        writer.write(chunk)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _answer(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode("ascii")


async def _healthy(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """To whoever connects: a probe of the gate itself would reach the model."""
    writer.write(_answer("200 OK"))
    writer.close()


async def _serve(gate: Gate, host: str | None, port: int, health_port: int | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await gate.serve(host, port)
    way = "tunnel" if gate.tunnel else "forward"
    listening = server.sockets[0].getsockname()[1]
    health = None if health_port is None else await asyncio.start_server(_healthy, "127.0.0.1", health_port)
    print(f"{way} to {gate.allowed.host}:{gate.allowed.port} at port {listening}", flush=True)  # noqa: T201 - its log
    await stop.wait()
    server.close()
    if health is not None:
        health.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM. Exit code 2 for wrong arguments."""
    parser = argparse.ArgumentParser(prog="python -m services.runner.egress", description=__doc__)
    parser.add_argument("--host", help="address to listen on; default: all")
    parser.add_argument("--port", type=int, default=3128, help="0 takes a free one")
    parser.add_argument("--health-port", type=int, help="answer HTTP 200 there, on 127.0.0.1")
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--tunnel", metavar="HOST:PORT")
    way.add_argument("--forward", metavar="HOST:PORT")
    given = parser.parse_args(arguments)
    try:
        gate = Gate(allowed=Address.parse(given.tunnel or given.forward), tunnel=given.tunnel is not None)
    except ValueError as error:
        parser.error(str(error))
    asyncio.run(_serve(gate, given.host, given.port, given.health_port))


if __name__ == "__main__":
    main()
