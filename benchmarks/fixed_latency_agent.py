"""An agent that answers every message after a fixed time and costs almost nothing itself, so that Assay is what is measured.

python benchmarks/fixed_latency_agent.py --latency 0.05 --port 0 --ready-file F [--answer TEXT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import uuid
from pathlib import Path

from aiohttp import web

ASKED = re.compile(r'"(\w+)": <')
CARD = {
    "name": "Fixed latency",
    "description": "Answers 1 to everything, after a fixed time.",
    "version": "1",
    "capabilities": {"streaming": False},
    "skills": [],
}


def reply(body: dict[str, object], text: str, answer: str | None) -> web.Response:
    """A completed task whose answer is the given one, else has a 1 for every asked key."""
    answer = answer or "FINAL ANSWER: " + json.dumps(dict.fromkeys(ASKED.findall(text), 1))
    artifact = {"artifactId": "a", "name": "reply", "parts": [{"text": answer}]}
    status = {"state": "TASK_STATE_COMPLETED"}
    task = {"id": uuid.uuid4().hex, "contextId": uuid.uuid4().hex, "status": status, "artifacts": [artifact]}
    return web.json_response({"jsonrpc": "2.0", "id": body["id"], "result": {"task": task}})


def app(latency_s: float, answer: str | None) -> web.Application:
    """The agent's routes."""
    made = web.Application()

    async def rpc(request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(latency_s)
        return reply(body, body["params"]["message"]["parts"][0]["text"], answer)

    async def card(request: web.Request) -> web.Response:
        url = str(request.url.origin()) + "/"
        interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
        return web.json_response(CARD | {"supportedInterfaces": [interface]})

    made.router.add_post("/", rpc)
    made.router.add_get("/.well-known/agent-card.json", card)
    return made


async def serve(latency_s: float, port: int, ready: Path, answer: str | None) -> None:
    """Serve until killed."""
    runner = web.AppRunner(app(latency_s, answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port)
    await site.start()
    await asyncio.to_thread(ready.write_text, f"http://127.0.0.1:{runner.addresses[0][1]}/")
    await asyncio.Event().wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--answer", help="sent to every message, instead of a 1 for every asked key")
    asked = parser.parse_args()
    import uvloop  # noqa: PLC0415 - not on every platform

    uvloop.run(serve(asked.latency, asked.port, asked.ready_file, asked.answer))


if __name__ == "__main__":
    main()
