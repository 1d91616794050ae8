"""Assembles the purple agent: who answers, what the card says, and the server around both."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from services.contract.a2a.contexts import ContextLimits
from services.contract.a2a.server import AgentProfile, App, ServerSettings, Skill, build_app, serve
from services.contract.endpoints import Endpoint
from services.purple_agent.answer import Answer, NoAnswer, Responder
from services.purple_agent.baselines.registry import Baseline
from services.purple_agent.baselines.twists import Twist, Twisted
from services.purple_agent.executor import Executor
from services.purple_agent.settings import Settings

if TYPE_CHECKING:
    from services.purple_agent.agent import ModelAgent

HEARTBEAT_S: Final = 10.0
"""Between two signs of life while the model works, so that idle proxies stay open."""

_SKILLS: Final = (
    Skill(
        id="analysis",
        name="Finance and general analysis",
        description="Answers questions about finance, options, mathematics and code, with calculation tools.",
        tags=("finance", "options", "mathematics", "code"),
    ),
)


class DeferredAgent:
    """The agent with a model, loaded at the first message: the port should not wait for the model SDKs to import."""

    def __init__(self, endpoint: Endpoint, settings: Settings, *, max_connections: int) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._max_connections = max_connections
        self._loading = asyncio.Lock()
        self._agent: ModelAgent | None = None

    async def loaded(self) -> ModelAgent:
        """The agent itself."""
        async with self._loading:
            if self._agent is None:
                self._agent = await asyncio.to_thread(self._load)
            return self._agent

    async def aclose(self) -> None:
        """Close what was opened."""
        if self._agent is not None:
            await self._agent.aclose()

    def _load(self) -> ModelAgent:
        from services.purple_agent.agent import ModelAgent  # noqa: PLC0415 - the point of this class

        return ModelAgent(self._endpoint, self._settings, max_connections=self._max_connections)


class DeferredConversation:
    """A conversation that begins when its agent is loaded."""

    def __init__(self, deferred: DeferredAgent, sample: int | None) -> None:
        self._deferred = deferred
        self._sample = sample
        self._conversation: Responder | None = None

    async def answer(self, text: str) -> Answer | NoAnswer:
        """See `Responder`."""
        if self._conversation is None:
            self._conversation = (await self._deferred.loaded()).conversation(self._sample)
        return await self._conversation.answer(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class Purple:
    """An agent with all that its server needs."""

    agent: Executor
    profile: AgentProfile
    settings: ServerSettings
    closing: Callable[[], Awaitable[None]] | None = None

    def serve(self) -> int:
        """Serve until stopped. Returns the exit code."""
        return serve(self.agent, self.profile, self.settings, closing=self.closing)

    def app(self, *, port: int) -> App:
        """The ASGI app alone, for a server that listens on `port`."""
        return build_app(self.agent, self.profile, replace(self.settings, port=port), closing=self.closing)


def with_model(
    endpoint: Endpoint,
    settings: Settings,
    *,
    server: ServerSettings,
    max_concurrency: int = 64,
    emit_tool_calls: bool = False,
    twist: Twist | None = None,
) -> Purple:
    """The agent on a model. Messages beyond `max_concurrency` wait. `twist` changes every answer before it is sent."""
    deferred = DeferredAgent(endpoint, settings, max_connections=max_concurrency)

    def begin(sample: int | None) -> Responder:
        return DeferredConversation(deferred, sample)

    profile = AgentProfile(
        name="Assay purple agent",
        description=_description(endpoint, settings),
        version=importlib.metadata.version("assay"),
        skills=_SKILLS,
    )
    return Purple(
        agent=Executor(
            begin if twist is None else lambda sample: Twisted(begin(sample), twist),
            limits=ContextLimits(concurrency=max_concurrency),
            emit_tool_calls=emit_tool_calls,
        ),
        profile=profile,
        settings=_own(server, max_concurrency),
        closing=deferred.aclose,
    )


def with_baseline(baseline: Baseline, *, server: ServerSettings, max_concurrency: int = 64) -> Purple:
    """A baseline in the agent's place."""
    profile = AgentProfile(
        name=f"Assay baseline {baseline.name}",
        description=f"An agent without a model, for testing evaluators: {baseline.exploit}.",
        version=importlib.metadata.version("assay"),
        skills=_SKILLS,
    )
    return Purple(
        agent=Executor(lambda _sample: baseline, limits=ContextLimits(concurrency=max_concurrency)),
        profile=profile,
        settings=_own(server, max_concurrency),
    )


def _description(endpoint: Endpoint, settings: Settings) -> str:
    """The runner keeps it with the run, so it tells what decides over answers: the model, the strategy and the sampling."""
    sampling = [f"temperature {endpoint.temperature:g}", f"top_p {endpoint.top_p:g}"]
    if endpoint.top_k is not None:
        sampling.append(f"top_k {endpoint.top_k}")
    return (
        f"An agent with tools on the model {endpoint.model} ({endpoint.provider}). Strategy {settings.strategy}; "
        f"{', '.join(sampling)}, at most {endpoint.max_tokens} tokens an answer."
    )


def _own(server: ServerSettings, max_concurrency: int) -> ServerSettings:
    waiting = ContextLimits().waiting
    return replace(server, heartbeat_s=HEARTBEAT_S, max_in_flight=max_concurrency + waiting)
