"""What the model client costs and what it withstands, against reference engines (inference specification 11).

    python -m benchmarks.bench_model_client [--requests 1000] [--repeats 3]

Three parts, one JSON line each. `burst`: 1,000 requests at once over two engines; targets: all answered at the first attempt,
at most 3 s, at most 300 MB in the client, spread 40 to 60 %, every trial at its server. `overhead`: CPU of a call at 100
concurrent, beside the openai client as it comes; target: at most 2 ms more. `killed`: one of three engines is killed with
SIGKILL and started again under a steady load; targets: no call lost, only calls that were in flight are repeated, no call slower
than 2 s, the engine in use again at most 15 s after its return.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import structlog
from openai import AsyncOpenAI

from benchmarks.bench_reference_engine import QUESTION
from services.contract.endpoints import Endpoint
from services.contract.model_client import CallKey, ChatMessage, Completion, ModelClient

START = (sys.executable, "-c", "from services.inference.cli import main; main()", "up", "reference")
MESSAGES = [ChatMessage(role="user", content=QUESTION)]
CONCURRENT = 100
LOAD = 32
"""Calls in flight while an engine is killed."""
LATENCY_S = 0.05
"""Of an engine that is killed, so that calls are in flight on it."""
SETTLED_S = 3.0
AWAY_S = 3.0


@dataclass(kw_only=True)
class Engine:
    """A running reference engine."""

    url: str
    process: subprocess.Popen[bytes]


def start(folder: Path, *options: str, port: str = "0") -> Engine:
    """An engine in a process of its own. Returns when it listens."""
    ready = folder / f"url-{time.monotonic_ns()}"
    process = subprocess.Popen(
        [*START, "--port", port, "--ready-file", str(ready), *options], stdout=subprocess.DEVNULL
    )
    while not ready.exists():
        if process.poll() is not None:
            raise SystemExit(f"an engine ended with {process.returncode}")
        time.sleep(0.01)
    return Engine(url=f"{ready.read_text(encoding='utf-8').rstrip('/')}/v1", process=process)


@contextmanager
def engines(count: int, *options: str) -> Iterator[list[Engine]]:
    """Some engines, stopped at the end, also those that took the place of others in the list."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        started = [start(Path(folder), *options) for _ in range(count)]
        stack.callback(stop, started)
        yield started


def stop(started: Sequence[Engine]) -> None:
    """End them all and wait for it."""
    for one in started:
        one.process.terminate()
    for one in started:
        one.process.wait()


def client_of(urls: Sequence[str], *, connections: int) -> ModelClient:
    """A client whose endpoint says its context, so that nobody is asked for it."""
    endpoint = Endpoint(name="bench", model="reference", urls=tuple(urls), max_model_len=32_768)
    return ModelClient(endpoint, max_connections=connections)


async def call(client: ModelClient, trial: int, index: int = 0) -> Completion:
    """One call that must be answered."""
    key = CallKey(run_seed=1, benchmark="bench", task_id=f"task-{trial}", trial=0, purpose="answer", index=index)
    given = await client.complete(MESSAGES, deadline=time.monotonic() + 60, key=key)
    if not isinstance(given, Completion):
        raise SystemExit(f"a call was lost: {given}")
    return given


def cpu_s() -> float:
    """CPU seconds of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def burst(urls: Sequence[str], requests: int, repeats: int) -> dict[str, object]:
    """All requests at once, from a client without connections, then again."""
    seconds, cpu, servers, attempts = [], [], [], 0
    for _ in range(repeats):
        client = client_of(urls, connections=requests)
        began, spent = time.perf_counter(), cpu_s()
        answers = await asyncio.gather(*(call(client, trial) for trial in range(requests)))
        seconds.append(time.perf_counter() - began)
        cpu.append(1000 * (cpu_s() - spent) / requests)
        servers.append([answer.replica for answer in answers])
        attempts += sum(len(answer.attempts) for answer in answers)
        again = await asyncio.gather(*(call(client, trial, 1) for trial in range(0, requests, 10)))
        moved = sum(one.replica != servers[-1][10 * number] for number, one in enumerate(again))
        await client.aclose()
    shares = [count / requests for count in Counter(servers[0]).values()]
    return {
        "part": "burst",
        "requests": requests,
        "seconds": [round(one, 2) for one in seconds],
        "client_cpu_ms_per_request": round(statistics.median(cpu), 2),
        "failed_attempts": attempts,
        "spread": [round(share, 3) for share in sorted(shares)],
        "same_servers_each_time": all(one == servers[0] for one in servers),
        "second_calls_elsewhere": moved,
        "client_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 1),
    }


async def at_most(limit: int, count: int, work: Callable[[int], Awaitable[object]]) -> None:
    """Run `work` for 0 .. count - 1, so many at a time."""
    numbers = iter(range(count))

    async def worker() -> None:
        for number in numbers:
            await work(number)

    await asyncio.gather(*(worker() for _ in range(limit)))


async def overhead(urls: Sequence[str], requests: int, repeats: int) -> dict[str, object]:
    """CPU of a call of ours and of one through the openai client as it comes, in turn; and the latencies."""
    ours, bare = client_of(urls, connections=CONCURRENT), [AsyncOpenAI(api_key="none", base_url=url) for url in urls]
    for one in bare:
        one.max_retries = 0
    spent: dict[str, list[float]] = {"ours": [], "openai": []}
    latency: dict[str, list[float]] = {"ours": [], "openai": []}

    async def by_us(number: int) -> object:
        return await call(ours, number)

    async def by_sdk(number: int) -> object:
        return await bare[number % len(bare)].chat.completions.create(
            model="reference",
            messages=[{"role": "user", "content": QUESTION}],
            temperature=0,
            top_p=1,
            max_tokens=4096,
            seed=number,
        )

    def timed(name: str, work: Callable[[int], Awaitable[object]]) -> Callable[[int], Awaitable[object]]:
        async def run(number: int) -> object:
            began = time.perf_counter()
            answer = await work(number)
            latency[name].append(1000 * (time.perf_counter() - began))
            return answer

        return run

    for _ in range(repeats):
        for name, work in (("openai", by_sdk), ("ours", by_us)):
            await at_most(CONCURRENT, CONCURRENT, work)
            before = cpu_s()
            await at_most(CONCURRENT, requests, timed(name, work))
            spent[name].append(1000 * (cpu_s() - before) / requests)
    for client in bare:
        await client.close()
    await ours.aclose()
    cpu = {name: round(statistics.median(found), 2) for name, found in spent.items()}
    return {
        "part": "overhead",
        "concurrent": CONCURRENT,
        "cpu_ms": cpu,
        "more_cpu_ms": round(cpu["ours"] - cpu["openai"], 2),
        "p50_ms": {name: round(statistics.median(found), 1) for name, found in latency.items()},
        "httpx2": httpx2.__version__,
    }


@dataclass(kw_only=True)
class Steady:
    """A steady load and what it saw."""

    client: ModelClient
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    slowest_s: float = 0.0
    answered: int = 0
    repeated: int = 0
    seen: dict[str, float] = field(default_factory=dict)
    """When each server answered last."""

    async def run(self) -> None:
        """Call until told to stop."""
        trials = iter(range(10**9))

        async def worker() -> None:
            while not self.stop.is_set():
                began = time.perf_counter()
                answer = await call(self.client, next(trials))
                self.slowest_s = max(self.slowest_s, time.perf_counter() - began)
                self.answered += 1
                self.repeated += len(answer.attempts)
                self.seen[answer.replica] = time.perf_counter()

        await asyncio.gather(*(worker() for _ in range(LOAD)))


async def killed(three: list[Engine]) -> dict[str, object]:
    """Kill the first of three engines under load, start it again, and wait until it is in use."""
    victim, steady = three[0], Steady(client=client_of([one.url for one in three], connections=LOAD))
    load = asyncio.create_task(steady.run())
    await asyncio.sleep(SETTLED_S)
    victim.process.send_signal(signal.SIGKILL)
    victim.process.wait()
    await asyncio.sleep(AWAY_S)
    port = victim.url.rpartition(":")[2].removesuffix("/v1")
    with tempfile.TemporaryDirectory() as folder:
        three[0] = await asyncio.to_thread(start, Path(folder), "--latency", str(LATENCY_S), port=port)
    back = time.perf_counter()
    while steady.seen[victim.url] < back and not load.done():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)
    used_after_s = time.perf_counter() - back
    steady.stop.set()
    await load
    await steady.client.aclose()
    return {
        "part": "killed",
        "in_flight": LOAD,
        "answered": steady.answered,
        "repeated": steady.repeated,
        "slowest_call_s": round(steady.slowest_s, 2),
        "used_again_after_s": round(used_after_s, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (65_536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    machine = {"python": platform.python_version(), "cores": len(os.sched_getaffinity(0))}
    with engines(2) as two:
        urls = [one.url for one in two]
        print(json.dumps(asyncio.run(burst(urls, options.requests, options.repeats)) | machine), flush=True)
        print(json.dumps(asyncio.run(overhead(urls, options.requests, options.repeats)) | machine), flush=True)
    with engines(3, "--latency", str(LATENCY_S)) as three:
        print(json.dumps(asyncio.run(killed(three)) | machine), flush=True)


if __name__ == "__main__":
    main()
