"""What every kind of agent can do for the runner, however it was started."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol, TypeVar
from urllib.parse import urljoin

import httpx

from services.runner.failures import AgentStartError
from services.runner.participants.logs import Echo

POLL_S: Final = 0.25
START_TIMEOUT_S: Final = 30.0
CARD_PATHS: Final = ("/.well-known/agent-card.json", "/.well-known/agent.json")
_CARD_TIMEOUT_S: Final = 5.0
_LARGEST_CARD: Final = 256 * 1024

T = TypeVar("T")
Get = Callable[[str], Awaitable[tuple[bytes | None, str]]]
"""Path to content, or to None and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What an agent says it is."""

    name: str
    version: str
    description: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StartOptions:
    """What starting needs to know about the run."""

    run_id: str
    log_folder: Path
    state_folder: Path
    """Where agents write their addresses; gone after the run."""
    variables: dict[str, str] = field(repr=False)
    """Our environment and the `.env` file, for inheritance and references."""
    start_timeout_s: float | None = None
    echo: Echo | None = None
    isolate: bool = False
    """Containers only: a purple reaches green's port and its model, nothing else."""


class RunningAgent(Protocol):
    """An agent that answers."""

    @property
    def role(self) -> str:
        """Its name in the scenario."""
        ...

    @property
    def url(self) -> str:
        """Where the runner reaches it."""
        ...

    @property
    def facts(self) -> dict[str, str]:
        """What the provenance keeps of it, such as an image digest."""
        ...

    async def locate(self) -> None:
        """Return when `url` is known."""
        ...

    async def gone(self) -> str:
        """Return when the agent is gone, and say how."""
        ...

    def tail(self) -> str:
        """The last lines of its log."""
        ...

    async def stop(self) -> None:
        """Stop it; nothing of it is left. Does nothing the second time."""
        ...


async def await_address(agent: RunningAgent, *, timeout_s: float) -> None:
    """Wait until the agent's address is known. Raises AgentStartError with the end of its log when it does not come."""
    await awaited(agent, agent.locate(), timeout_s=timeout_s, problem=lambda: "it did not write its address")


async def await_card(agent: RunningAgent, *, timeout_s: float, get: Get | None = None) -> Card:
    """Poll the agent's card until it is there. Raises AgentStartError with the end of the log when it does not come.

    `get` asks for a path of the agent where this machine cannot reach it.
    """
    problem = "it did not write its address"

    async def poll() -> Card:
        nonlocal problem
        await agent.locate()
        async with httpx.AsyncClient(trust_env=False, timeout=_CARD_TIMEOUT_S) as client:
            while True:
                card, reason = await (_fetch(client, agent.url) if get is None else _card_by(get))
                if card is not None:
                    return card
                problem = f"no card at {agent.url}: {reason}"
                await asyncio.sleep(POLL_S)

    return await awaited(agent, poll(), timeout_s=timeout_s, problem=lambda: problem)


async def awaited(
    agent: RunningAgent, work: Coroutine[None, None, T], *, timeout_s: float, problem: Callable[[], str]
) -> T:
    """The result of `work`. Raises AgentStartError, with the end of the log, when the agent is gone or the time is up first."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(agent.gone())
    try:
        await asyncio.wait({working, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            raise AgentStartError(with_tail(f"agent {agent.role} {gone.result()} before it answered", agent.tail()))
        if not working.done():
            message = f"agent {agent.role} did not start within {timeout_s:g} s: {problem()}"
            raise AgentStartError(with_tail(message, agent.tail()))
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


def with_tail(message: str, tail: str) -> str:
    """The message, with the end of a log when there is one."""
    return f"{message}; the end of its log:\n{tail}" if tail else message


async def _card_by(get: Get) -> tuple[Card | None, str]:
    reason = ""
    for path in CARD_PATHS:
        content, reason = await get(path)
        if content is not None:
            return (card, "") if (card := _card(content)) is not None else (None, "the answer is no card")
    return None, reason


async def _fetch(client: httpx.AsyncClient, url: str) -> tuple[Card | None, str]:
    problem = ""
    for path in CARD_PATHS:
        try:
            response = await client.get(urljoin(url, path))
        except httpx.HTTPError as error:
            return None, str(error) or type(error).__name__
        if response.status_code == 200 and (card := _card(response.content)) is not None:
            return card, ""
        problem = f"HTTP {response.status_code}" if response.status_code != 200 else "the answer is no card"
    return None, problem


def _card(content: bytes) -> Card | None:
    if len(content) > _LARGEST_CARD:
        return None
    try:
        raw = json.loads(content)
    except ValueError:
        return None
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        return None
    return Card(name=raw["name"], version=str(raw.get("version", "")), description=str(raw.get("description", "")))
