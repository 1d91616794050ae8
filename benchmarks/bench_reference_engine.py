"""How many requests a second the reference engine answers on one core (inference specification 8, capacity).

    python -m benchmarks.bench_reference_engine [--requests 20000] [--connections 1000] [--prompt-bytes 4096]

The engine runs in a process of its own, pinned to one core where the system can; the client, pinned to another, keeps one
request in flight on each connection. Target: at least 1,000 requests/s, p99 at most 500 ms, at most 80 MB.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop

QUESTION = (
    "A call with strike 125 USD and 60 days to expiry; spot 120 USD, volatility 32 %, interest rate 4.5 %. Its price?"
)


@dataclass(kw_only=True)
class Tally:
    """What the client saw."""

    left: int
    latencies_s: list[float] = field(default_factory=list)
    errors: int = 0
    waiting: int = 0
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Connection(asyncio.Protocol):
    """Sends the same request again and again, one at a time."""

    def __init__(self, request: bytes, tally: Tally) -> None:
        self.request = request
        self.tally = tally
        self.buffer = b""
        self.sent = 0.0
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; `send` begins."""
        self.transport = transport

    def send(self) -> None:
        """One request, unless enough were sent."""
        if self.tally.left <= 0:
            self.tally.waiting -= 1
            if not self.tally.waiting:
                self.tally.done.set()
            return
        self.tally.left -= 1
        self.sent = time.perf_counter()
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        """Note an answer once it is whole, then send the next request."""
        self.buffer += data
        head, split, body = self.buffer.partition(b"\r\n\r\n")
        if not split:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        self.tally.latencies_s.append(time.perf_counter() - self.sent)
        self.tally.errors += not head.startswith(b"HTTP/1.1 200")
        self.buffer = body[length:]
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that breaks spoils the measurement."""
        if exc is not None:
            raise SystemExit(f"the engine dropped a connection: {exc}")


def request_bytes(host: str, prompt_bytes: int, *, tools: bool) -> bytes:
    """A chat request whose prompt has about so many bytes."""
    filler = "The market was quiet and nothing of note was said about it. " * (prompt_bytes // 60 + 1)
    prompt = filler[: max(0, prompt_bytes - len(QUESTION))] + QUESTION
    body: dict[str, Any] = {"model": "reference", "messages": [{"role": "user", "content": prompt}], "max_tokens": 512}
    if tools:
        body["tools"] = [{"type": "function", "function": price_tool()}]
    payload = json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(payload) + payload


def price_tool() -> dict[str, Any]:
    """A tool whose arguments the engine has to read from the prompt."""
    numbers = {name: {"type": "number"} for name in ("spot_price", "strike_price", "days_to_expiry", "volatility")}
    return {
        "name": "calculate_option_price",
        "parameters": {
            "type": "object",
            "properties": {**numbers, "option_type": {"type": "string"}, "risk_free_rate": {"type": "number"}},
            "required": [*numbers, "option_type"],
        },
    }


@contextmanager
def engine() -> Iterator[tuple[str, int]]:
    """A running engine: its base URL and process id."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "url"
        command = [sys.executable, "-c", "from services.inference.cli import main; main()", "up", "reference"]
        child = subprocess.Popen([*command, "--port", "0", "--ready-file", str(ready)], stdout=subprocess.DEVNULL)
        try:
            while not ready.exists():
                if child.poll() is not None:
                    raise SystemExit(f"the engine ended with {child.returncode}")
                time.sleep(0.02)
            yield ready.read_text(), child.pid
        finally:
            child.terminate()
            child.wait()


async def load(url: str, request: bytes, *, requests: int, connections: int) -> tuple[Tally, float]:
    """All requests over all connections; the tally and the seconds they took. One more a connection goes ahead, uncounted."""
    place = urlsplit(url)
    tally = Tally(left=0)
    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: Connection(request, tally), place.hostname or "", place.port or 80)
        for _ in range(connections)
    ]
    tally.left = connections
    await finish(opened, tally)
    tally.left, tally.latencies_s = requests, []
    started = time.perf_counter()
    await finish(opened, tally)
    for transport, _ in opened:
        transport.close()
    return tally, time.perf_counter() - started


async def finish(opened: list[tuple[asyncio.Transport, Connection]], tally: Tally) -> None:
    """Send what is left to send and wait for the last answer."""
    tally.waiting = len(opened)
    tally.done.clear()
    for _, connection in opened:
        connection.send()
    await tally.done.wait()


def peak_memory_mb(pid: int) -> float:
    """Largest resident size the process has had, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def cpu_s(pid: int) -> float:
    """CPU seconds the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure with and without tools and print one JSON line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=1_000)
    parser.add_argument("--prompt-bytes", type=int, default=4_096)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    for tools in (False, True):
        with engine() as (url, pid):
            os.sched_setaffinity(pid, {cores[0]})
            os.sched_setaffinity(0, {cores[-1]})
            request = request_bytes(urlsplit(url).netloc, options.prompt_bytes, tools=tools)
            before = cpu_s(pid)
            tally, seconds = uvloop.run(load(url, request, requests=options.requests, connections=options.connections))
            ordered = sorted(tally.latencies_s)
            facts = {
                "tools": tools,
                "requests_per_s": round(len(ordered) / seconds),
                "p50_ms": round(1000 * ordered[len(ordered) // 2], 1),
                "p99_ms": round(1000 * ordered[int(len(ordered) * 0.99)], 1),
                "errors": tally.errors,
                "engine_cpu_us_per_request": round(1e6 * (cpu_s(pid) - before) / len(ordered)),
                "engine_peak_mb": round(peak_memory_mb(pid), 1),
                "python": platform.python_version(),
                "cores": len(cores),
            }
            print(json.dumps(facts))


if __name__ == "__main__":
    main()
