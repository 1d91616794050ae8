"""What a message costs: our A2A client and server against the SDK's, with an agent that answers after a fixed time.

Prints a JSON object a line: messages per second against the ideal, CPU ms of client and server for each.

    python benchmarks/bench_a2a.py [--latency 0.05] [--in-flight 1 50 200]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.bench_assessment import cpu_s  # noqa: E402 - run as a script
from services.contract.a2a.client import AgentClient  # noqa: E402 - likewise
from tests.support.processes import Service, service  # noqa: E402 - likewise

MESSAGES = {1: 40, 50: 600, 200: 800}
"""By messages in flight, so that a row takes a few seconds."""
BARE_TIMES = 5
"""As many more to the bare agent, which takes them faster, or connecting would count for much."""
Send = Callable[[], Awaitable[str]]


@dataclass(frozen=True, kw_only=True)
class Took:
    """What became of the messages."""

    seconds: float
    lost: int
    """Messages without an answer."""


async def in_flight(send: Send, *, messages: int, concurrency: int) -> Took:
    """So many messages, so many at once."""
    left = iter(range(messages))
    lost = 0

    async def worker() -> None:
        nonlocal lost
        for _ in left:
            lost += not await send()

    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return Took(seconds=time.perf_counter() - started, lost=lost)


async def with_ours(url: str, dialect: str, *, messages: int, concurrency: int, latency_s: float) -> Took:
    """Through our client, a conversation for every message."""
    loop = asyncio.get_running_loop()
    async with aclosing(AgentClient(url, concurrency=concurrency, a2a_version=dialect)) as client:
        await client.card()

        async def send() -> str:
            return (await client.conversation().ask(f"wait {latency_s}", loop.time() + 60)).text

        return await in_flight(send, messages=messages, concurrency=concurrency)


async def with_sdk(url: str, dialect: str, *, messages: int, concurrency: int, latency_s: float) -> Took:
    """Through the SDK's client as it comes, but for the card, which offers the one dialect."""
    import httpx  # noqa: PLC0415 - of this kind only
    from a2a.client import A2ACardResolver, A2AClientError, ClientConfig, ClientFactory  # noqa: PLC0415
    from a2a.types.a2a_pb2 import Message, Part, Role, SendMessageRequest  # noqa: PLC0415

    async with httpx.AsyncClient() as http:
        card = await A2ACardResolver(http, url).get_agent_card()
    chosen = [one for one in card.supported_interfaces if one.protocol_version == dialect]
    del card.supported_interfaces[:]
    card.supported_interfaces.extend(chosen)
    client = ClientFactory(ClientConfig()).create(card)

    async def send() -> str:
        message = Message(message_id=uuid.uuid4().hex, role=Role.ROLE_USER, parts=[Part(text=f"wait {latency_s}")])
        answer = ""
        with suppress(A2AClientError):  # it waits 5 s, also for a free connection
            async for event in client.send_message(SendMessageRequest(message=message)):
                artifacts = [event.artifact_update.artifact, *event.task.artifacts]
                answer += "".join(part.text for artifact in artifacts for part in artifact.parts)
        return answer

    try:
        return await in_flight(send, messages=messages, concurrency=concurrency)
    finally:
        await client.close()


def measure(
    kind: str, server: Service, dialect: str, *, concurrency: int, latency_s: float, times: int
) -> dict[str, object]:
    """One row: `kind` is the client's, `times` how often the usual number of messages is sent."""
    import uvloop  # noqa: PLC0415 - not on every platform

    messages = times * MESSAGES.get(concurrency, 10 * concurrency)
    run = with_sdk if kind == "sdk" else with_ours
    before, own = cpu_s(server.process.pid), time.process_time()
    took = uvloop.run(run(server.url, dialect, messages=messages, concurrency=concurrency, latency_s=latency_s))
    ideal_per_s = concurrency / latency_s
    return {
        "client": kind,
        "dialect": dialect,
        "in_flight": concurrency,
        "messages_per_s": round(messages / took.seconds, 1),
        "share_of_ideal": round(messages / took.seconds / ideal_per_s, 3),
        "lost": took.lost,
        "client_cpu_ms": round(1000 * (time.process_time() - own) / messages, 2),
        "server_cpu_ms": round(1000 * (cpu_s(server.process.pid) - before) / messages, 2),
    }


def main() -> None:
    """Every pair at every concurrency."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[1, 50, 200])
    asked = parser.parse_args()
    peer = ["python", str(ROOT / "benchmarks" / "a2a_peer.py"), "--kind"]
    bare = ["python", str(ROOT / "benchmarks" / "fixed_latency_agent.py"), "--answer", "42", "--latency"]
    with ExitStack() as stack:
        servers = {
            "bare": stack.enter_context(service([*bare, str(asked.latency)])),
            "ours": stack.enter_context(service([*peer, "ours"])),
            "sdk": stack.enter_context(service([*peer, "sdk"])),
        }
        for client, server, dialect in (
            ("ours", "bare", "1.0"),
            ("ours", "ours", "1.0"),
            ("ours", "ours", "0.3"),
            ("sdk", "sdk", "1.0"),
            ("sdk", "sdk", "0.3"),
        ):
            for concurrency in asked.in_flight:
                figures = measure(
                    client,
                    servers[server],
                    dialect,
                    concurrency=concurrency,
                    latency_s=asked.latency,
                    times=BARE_TIMES if server == "bare" and concurrency > 1 else 1,
                )
                print(json.dumps({"server": server, **figures}), flush=True)


if __name__ == "__main__":
    main()
