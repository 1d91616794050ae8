"""Scripted purple agents on the real A2A server: answers by prompt, faults, delays. What was asked is kept.

    async with purple(replay({"2 + 2": "4"})) as agent:
        ...  # agent.url, agent.asked

A script is a function of the message and of how often the same text came before; scripts wrap scripts.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from services.contract.a2a.server import AgentProfile, Emitter, Incoming, ServerSettings, Skill, build_app
from services.contract.assessment import META_FAULT, META_OUTCOME
from tests.support.asgi import serving_app

PROFILE: Final = AgentProfile(
    name="Scripted purple",
    description="Says what a test tells it to say.",
    version="0",
    skills=(Skill(id="script", name="Script", description="Plays a script.", tags=("test",)),),
)


@dataclass(frozen=True, kw_only=True)
class Say:
    """Complete with a text."""

    text: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Fail:
    """End in state failed."""

    text: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Reject:
    """End in state rejected."""

    text: str
    after_s: float = 0.0


Step = Say | Fail | Reject
Script = Callable[[Incoming, int], Step]


@dataclass
class ScriptedPurple:
    """Plays a script. Implements `contract.a2a.server.Agent`."""

    script: Script
    url: str = ""
    asked: list[Incoming] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    """Ids of tasks a peer cancelled."""
    in_flight: int = 0
    _seen: Counter[str] = field(default_factory=Counter)

    async def handle(self, incoming: Incoming, out: Emitter) -> None:
        self.asked.append(incoming)
        step = self.script(incoming, self._seen[incoming.text])
        self._seen[incoming.text] += 1
        self.in_flight += 1
        try:
            await asyncio.sleep(step.after_s)
        finally:
            self.in_flight -= 1
        await _play(step, out)

    async def cancel(self, task_id: str) -> None:
        self.cancelled.append(task_id)


async def _play(step: Step, out: Emitter) -> None:
    match step:
        case Say():
            await out.artifact("reply", [step.text])
            await out.completed(metadata=step.metadata)
        case Fail():
            await out.failed(step.text, step.metadata)
        case Reject():
            await out.rejected(step.text)


@contextlib.asynccontextmanager
async def purple(script: Script, *, settings: ServerSettings | None = None) -> AsyncIterator[ScriptedPurple]:
    """A scripted agent that listens on a free port until the block ends."""
    agent = ScriptedPurple(script=script)
    base = settings or ServerSettings(heartbeat_s=10.0, drain_s=0.0)
    async with serving_app(lambda port: build_app(agent, PROFILE, replace(base, port=port))) as url:
        agent.url = url
        yield agent


def replay(answers: Mapping[str, str], *, default: str = "I do not know.") -> Script:
    """The answer of the first key that the message contains."""

    def script(incoming: Incoming, _seen: int) -> Step:
        return Say(text=next((answer for key, answer in answers.items() if key in incoming.text), default))

    return script


def crashing(share: float, script: Script) -> Script:
    """Fails on a fixed `share` (0..1) of all messages, chosen by their text, with a fault of the agent's own."""
    return _on_share(share, Fail(text="the scripted agent crashed"), script)


def blaming(share: float, script: Script, *, kind: str = "overloaded") -> Script:
    """Claims an infrastructure fault on a fixed `share` (0..1) of all messages."""
    claim = Fail(text=f"the model is {kind}", metadata={META_OUTCOME: "infra_error", META_FAULT: kind})
    return _on_share(share, claim, script)


def flaky(times: int, script: Script, *, kind: str = "http_503") -> Script:
    """Claims an infrastructure fault the first `times` that a message comes, then plays the script."""
    claim = Fail(text="service unavailable", metadata={META_OUTCOME: "infra_error", META_FAULT: kind})

    def scripted(incoming: Incoming, seen: int) -> Step:
        return claim if seen < times else script(incoming, seen)

    return scripted


def delayed(seconds: float, script: Script) -> Script:
    """Answers `seconds` later."""

    def scripted(incoming: Incoming, seen: int) -> Step:
        return replace(script(incoming, seen), after_s=seconds)

    return scripted


def _on_share(share: float, step: Step, script: Script) -> Script:
    def scripted(incoming: Incoming, seen: int) -> Step:
        place = int.from_bytes(hashlib.sha256(incoming.text.encode()).digest()[:8], "big") / 2**64
        return step if place < share else script(incoming, seen)

    return scripted
