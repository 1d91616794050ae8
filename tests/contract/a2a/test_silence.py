"""Tasks that say nothing for half an hour, on a clock that skips what is silent."""

import asyncio
from collections import Counter
from contextlib import aclosing

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.contract.a2a.client import AgentClient, ArtifactReceived, Ended
from services.contract.a2a.server import Emitter, Incoming, ServerSettings
from services.contract.outcomes import AgentFailure
from tests.support.a2a_server import serving
from tests.support.skipping_loop import run_skipping

HALF_AN_HOUR_S = 1_800.0
DIALECTS = ("1.0", "0.3")
pytestmark = pytest.mark.parametrize("dialect", DIALECTS)


class Thinker:
    """Answers after half an hour."""

    async def handle(self, _incoming: Incoming, out: Emitter) -> None:
        await out.working("thinking")
        await asyncio.sleep(HALF_AN_HOUR_S)
        await out.artifact("reply", ["42"])
        await out.completed()

    async def cancel(self, task_id: str) -> None:
        """Nothing to prepare."""


class Counting:
    """Counts requests and pings; keeps pings from the peer when `mute`."""

    def __init__(self, app: ASGIApp, *, mute: bool) -> None:
        self._app = app
        self._mute = mute
        self.seen: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self.seen[scope["method"]] += 1

        async def counting(message: Message) -> None:
            ping = message.get("body", b"").startswith(b": ping")
            self.seen["ping"] += ping
            if not (ping and self._mute):
                await send(message)

        await self._app(scope, receive, counting)


async def told(dialect: str, *, heartbeat_s: float | None, mute: bool = False) -> tuple[list[str], Counter[str], float]:
    """Artifacts and end, requests and pings, seconds on the loop's clock."""
    counting: list[Counting] = []

    def through(app: ASGIApp) -> ASGIApp:
        counting.append(Counting(app, mute=mute))
        return counting[0]

    loop = asyncio.get_running_loop()
    news: list[str] = []
    async with (
        serving(Thinker(), ServerSettings(heartbeat_s=heartbeat_s), through=through) as url,
        aclosing(AgentClient(url, a2a_version=dialect)) as client,
    ):
        started = loop.time()
        async for event in client.watch("What is 6 x 7?", deadline=started + 2 * HALF_AN_HOUR_S):
            if isinstance(event, ArtifactReceived):
                news += event.texts
            elif isinstance(event, Ended):
                news.append(event.state)
        return news, counting[0].seen, loop.time() - started


def test_pings_keep_a_silent_stream_open_for_half_an_hour(dialect: str) -> None:
    news, seen, took_s = run_skipping(told(dialect, heartbeat_s=None))

    assert news == ["42", "completed"]
    assert (seen["GET"], seen["POST"]) == (1, 1)
    assert seen["ping"] >= HALF_AN_HOUR_S / 15 - 1
    assert HALF_AN_HOUR_S <= took_s < HALF_AN_HOUR_S + 60


def test_signs_of_life_every_ten_seconds_are_no_part_of_the_reply(dialect: str) -> None:
    async def asked() -> str:
        async with (
            serving(Thinker(), ServerSettings(heartbeat_s=10.0)) as url,
            aclosing(AgentClient(url, a2a_version=dialect)) as client,
        ):
            deadline = asyncio.get_running_loop().time() + 2 * HALF_AN_HOUR_S
            return (await client.conversation().ask("What is 6 x 7?", deadline)).text

    assert run_skipping(asked()) == "42"


def test_a_stream_that_goes_dead_is_taken_up_again_where_the_dialect_can_tell_that_the_task_lives(dialect: str) -> None:
    if dialect == "1.0":
        news, seen, _ = run_skipping(told(dialect, heartbeat_s=None, mute=True))

        assert news == ["42", "completed"]
        assert seen["POST"] > 2  # about sixty, fewer when the skipping clock overtakes an answer on a busy machine
        return
    with pytest.raises(AgentFailure, match="silent for 30 s") as caught:
        run_skipping(told(dialect, heartbeat_s=None, mute=True))

    assert (caught.value.outcome, caught.value.kind) == ("agent_error", "dropped")
