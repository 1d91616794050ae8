"""An agent that does what the first word of a message says. The product's server around it is what is tested."""

from __future__ import annotations

import asyncio
import json

from services.contract.a2a.server import Declined, Emitter, Incoming

SECRET = "sk-live-0123456789abcdefghij"


class Scripted:
    """`say TEXT`, `json`, `rows N`, `boom`, `open`, `wait`, `stubborn`, `decline`, `reject`, `fail`, `late`, `owner`,
    `metadata`, `go` (lets `wait` end)."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        """Set when a `wait` or `stubborn` message is in work."""
        self.go_on = asyncio.Event()
        """Lets `wait` end."""
        self.interrupted: list[str] = []
        """Task ids whose handler was cancelled."""

    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        word, _, rest = incoming.text.partition(" ")
        await getattr(self, f"_{word}", self._say)(rest, incoming, out)

    async def cancel(self, task_id: str) -> None:
        if self.interrupted == ["cancel breaks"]:
            raise RuntimeError(SECRET)

    async def _say(self, rest: str, _incoming: Incoming, out: Emitter) -> None:
        await out.artifact("reply", [rest])
        await out.completed(metadata={"assay/usage": '{"calls":1}'})

    async def _owner(self, _rest: str, incoming: Incoming, out: Emitter) -> None:
        await out.artifact("reply", [incoming.owner])
        await out.completed()

    async def _metadata(self, _rest: str, incoming: Incoming, out: Emitter) -> None:
        await out.artifact("reply", [json.dumps(dict(incoming.metadata))])
        await out.completed()

    async def _json(self, _rest: str, _incoming: Incoming, out: Emitter) -> None:
        await out.artifact("evaluation_result", [json.dumps({"n": 3, "share": 0.5}), "Assay result: fine"])
        await out.completed()

    async def _rows(self, rest: str, _incoming: Incoming, out: Emitter) -> None:
        for number in range(int(rest)):
            await out.working(json.dumps({"row": number}), {"assay/kind": "task_result", "assay/seq": str(number)})
        await out.artifact("evaluation_result", ["{}"])
        await out.completed()

    async def _wait(self, _rest: str, incoming: Incoming, out: Emitter) -> None:
        await out.working("waiting")
        self.started.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.interrupted.append(incoming.task_id)
            raise
        await out.artifact("reply", ["waited"])
        await out.completed()

    async def _go(self, _rest: str, _incoming: Incoming, out: Emitter) -> None:
        self.go_on.set()
        await out.completed()

    async def _stubborn(self, _rest: str, _incoming: Incoming, out: Emitter) -> None:
        self.started.set()
        while not self.go_on.is_set():
            try:
                await self.go_on.wait()
            except asyncio.CancelledError:
                continue
        await out.completed("too late")

    async def _boom(self, _rest: str, _incoming: Incoming, out: Emitter) -> None:
        await out.working("about to break")
        raise RuntimeError(f"cannot reach https://user:{SECRET}@host")

    async def _open(self, _rest: str, _incoming: Incoming, out: Emitter) -> None:
        await out.working("and nothing more")

    async def _decline(self, _rest: str, _incoming: Incoming, _out: Emitter) -> None:
        raise Declined("context expired")

    async def _reject(self, _rest: str, _incoming: Incoming, out: Emitter) -> None:
        await out.rejected("no such thing")

    async def _fail(self, _rest: str, _incoming: Incoming, out: Emitter) -> None:
        await out.failed("model trouble", {"assay/outcome": "infra_error", "assay/fault": "http_503"})

    async def _late(self, _rest: str, _incoming: Incoming, out: Emitter) -> None:
        await out.completed("done")
        await out.working("and yet")
