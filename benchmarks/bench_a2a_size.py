"""A2A at its edges: a thousand open conversations, an artifact of 20 MB, a stream that is silent for a minute.

Prints a JSON object a line. Half an hour of silence, on a clock that skips it, is a test: tests/contract/a2a/test_silence.py.

    python benchmarks/bench_a2a_size.py [--contexts 1000] [--megabytes 20] [--silence 60]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
import time
from contextlib import ExitStack, aclosing
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_assessment import peak_mib  # noqa: E402 - run as a script
from services.contract.a2a.client import AgentClient, ArtifactReceived  # noqa: E402 - likewise
from services.contract.outcomes import AgentFailure  # noqa: E402 - likewise
from tests.support.processes import Service, service  # noqa: E402 - likewise

IN_FLIGHT = 200


def resident_kib(pid: int | str = "self") -> int:
    """Resident size now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


async def contexts(purple: Service, *, count: int) -> dict[str, object]:
    """Conversations that are all open at once, each asked twice."""
    loop = asyncio.get_running_loop()
    places = asyncio.Semaphore(IN_FLIGHT)
    async with aclosing(AgentClient(purple.url, concurrency=IN_FLIGHT)) as client:
        open_ones = [client.conversation() for _ in range(count)]

        async def ask_all(text: str) -> list[str]:
            async def ask(number: int) -> str:
                async with places:
                    reply = await open_ones[number].ask(f"{text} {number}", loop.time() + 120)
                return f"{reply.context_id} {reply.text}"

            return list(await asyncio.gather(*(ask(number) for number in range(count))))

        await client.conversation().ask("warm up", loop.time() + 60)
        before, own = resident_kib(purple.process.pid), resident_kib()
        first = await ask_all("first")
        after, own_after = resident_kib(purple.process.pid), resident_kib()
        second = await ask_all("second")
    kept = sum(one.split()[0] == two.split()[0] for one, two in zip(first, second, strict=True))
    return {
        "contexts": count,
        "distinct": len({one.split()[0] for one in first}),
        "answered_twice_in_their_context": kept,
        "purple_kib_each": round((after - before) / count, 1),
        "client_kib_each": round((own_after - own) / count, 1),
    }


async def artifact(peer: Service, *, megabytes: int) -> dict[str, object]:
    """`watch` takes it whole, as the runner does; `ask` refuses it."""
    size = megabytes * 1_000_000
    gc.collect()
    before = peak_mib_self()
    started, taken = time.perf_counter(), 0
    async with aclosing(AgentClient(peer.url)) as client:
        async for event in client.watch(f"large {size}", deadline=None):
            if isinstance(event, ArtifactReceived):
                taken = sum(map(len, event.texts))
        seconds = time.perf_counter() - started
        try:
            await client.conversation().ask(f"large {size}", asyncio.get_running_loop().time() + 60)
            refused = ""
        except AgentFailure as failure:
            refused = f"{failure.outcome}/{failure.kind}"
    return {
        "artifact_mb": taken / 1e6,
        "seconds": round(seconds, 2),
        "client_peak_mib_more": round(peak_mib_self() - before, 1),
        "server_peak_mib": round(peak_mib(peer.process.pid), 1),
        "as_a_reply": refused,
    }


def peak_mib_self() -> float:
    """Peak resident size of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


async def silence(peer: Service, *, seconds: float) -> dict[str, object]:
    """A message that is answered after a silence, on a stream, in both dialects at once."""
    loop = asyncio.get_running_loop()

    async def ask(dialect: str) -> str:
        async with aclosing(AgentClient(peer.url, a2a_version=dialect)) as client:
            return (await client.conversation().ask(f"wait {seconds}", loop.time() + seconds + 60)).text

    started = time.perf_counter()
    answers = await asyncio.gather(ask("1.0"), ask("0.3"))
    late_s = time.perf_counter() - started - seconds
    return {"silent_s": seconds, "answers": list(answers), "late_s": round(late_s, 3)}


async def measure(asked: argparse.Namespace, purple: Service, peer: Service) -> None:
    """The silence first, beside the others, since it takes no time but its own."""
    silent = asyncio.create_task(silence(peer, seconds=asked.silence))
    print(json.dumps(await contexts(purple, count=asked.contexts)), flush=True)
    print(json.dumps(await artifact(peer, megabytes=asked.megabytes)), flush=True)
    print(json.dumps(await silent), flush=True)


def main() -> None:
    """Both servers, then everything."""
    import uvloop  # noqa: PLC0415 - not on every platform

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--contexts", type=int, default=1_000)
    parser.add_argument("--megabytes", type=int, default=20)
    parser.add_argument("--silence", type=float, default=60.0)
    asked = parser.parse_args()
    peer = ["python", str(ROOT / "benchmarks" / "a2a_peer.py"), "--kind", "ours"]
    with ExitStack() as stack:
        purple = stack.enter_context(service(["purple-agent", "serve", "--baseline", "echo"]))
        uvloop.run(measure(asked, purple, stack.enter_context(service(peer))))


if __name__ == "__main__":
    main()
