"""The agents of a run: start, await, watch, stop. Participants start first, then green; they stop in reverse order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from services.runner.environment import variables_beside
from services.runner.failures import AgentLostError, AgentStartError, ScenarioError
from services.runner.participants.base import (
    START_TIMEOUT_S,
    Card,
    RunningAgent,
    StartOptions,
    await_address,
    await_card,
    with_tail,
)
from services.runner.participants.container import ContainerAgent, ContainerHost, url_between
from services.runner.participants.model_roads import road, told, told_reference
from services.runner.participants.process import (
    TOLD,
    ProcessAgent,
    agent_environment,
    lost_its_port,
    resolved_table,
    start_process,
)
from services.runner.participants.readiness import guarded, start_faults, token_variables, tokens_of
from services.runner.participants.running import ExternalAgent
from services.runner.scenario import GREEN, REFERENCE, AgentSpec, Scenario

__all__ = ["Agents", "Card", "StartOptions", "guarded", "start_agents", "start_faults", "variables_for"]

ENGINE: Final = "reference-engine"
_PORT_TRIES: Final = 3
"""How often an agent is started when others take the port that was chosen for it."""
_ENGINE_SPEC: Final = AgentSpec(role=ENGINE, cmd="inference up reference", free_port=True)


@dataclass(kw_only=True, slots=True)
class Agents:
    """Everything that runs for a scenario."""

    tokens: dict[str, str] = field(default_factory=dict, repr=False)
    """Role to bearer token, of the agents that ask for one."""
    green: RunningAgent | None = None
    cards: dict[str, Card] = field(default_factory=dict)
    participant_urls: dict[str, str] = field(default_factory=dict)
    """Role to address, as green reaches it."""
    started: list[RunningAgent] = field(default_factory=list)
    """In order of starting."""
    told: dict[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Role to environment, secrets included, of the agents that were started here."""

    @property
    def green_url(self) -> str:
        """Where the runner reaches green."""
        if self.green is None:
            raise AssertionError("green has not started")
        return self.green.url

    async def lost(self) -> AgentLostError:
        """Return when one of the agents is gone, as the error to raise."""
        waiting = {asyncio.ensure_future(agent.gone()): agent for agent in self.started}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            first = next(iter(done))
            agent = waiting[first]
            return AgentLostError(with_tail(f"agent {agent.role} {first.result()} during the run", agent.tail()))
        finally:
            for future in waiting:
                future.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def stop(self) -> None:
        """Stop what was started, last first."""
        while self.started:
            agent = self.started.pop()
            try:
                await agent.stop()
            except OSError as error:
                structlog.get_logger().warning("agent_not_stopped", role=agent.role, reason=str(error))


def variables_for(scenario: Scenario, env_file: Path | None) -> dict[str, str]:
    """Our environment over the `.env` file: `env_file`, else the one beside the scenario if there is one."""
    return variables_beside(None if scenario.path is None else Path(scenario.path), env_file)


@asynccontextmanager
async def start_agents(scenario: Scenario, options: StartOptions) -> AsyncIterator[Agents]:
    """Start every agent and await its card; stop all at the end, whatever happens.

    Raises ScenarioError for variables that are missing (before anything starts) and AgentStartError.
    """
    if faults := start_faults(scenario, options.variables, isolate=options.isolate):
        raise ScenarioError(*faults)
    agents = Agents(tokens=tokens_of(scenario, options.variables))
    contained = any(spec.image for spec in _all(scenario))
    host = await ContainerHost.open(options.run_id, isolate=options.isolate) if contained else None
    starter = _Starter(options=options, agents=agents, host=host)
    try:
        await starter.start_all(scenario)
        await _await_cards(scenario, starter)
        yield agents
    finally:
        await agents.stop()
        if host is not None:
            await host.close()


def _all(scenario: Scenario) -> tuple[AgentSpec, ...]:
    """In order of starting: green last."""
    return (*scenario.participants, scenario.green)


@dataclass(kw_only=True, slots=True)
class _Starter:
    """Starts the agents of a scenario, and one of them again."""

    options: StartOptions
    agents: Agents
    host: ContainerHost | None
    _engine_url: str = ""
    _extras: dict[str, dict[str, str]] = field(default_factory=dict)
    """What the runner adds to each agent's environment."""

    async def start_all(self, scenario: Scenario) -> None:
        """Start them in order. Raises AgentStartError."""
        if any(spec.cmd is not None and spec.model_endpoint == REFERENCE for spec in _all(scenario)):
            await self._start_engine()
        for spec in _all(scenario):
            extra = self._extras[spec.role] = await self._model_variables(spec)
            extra |= token_variables(spec, scenario, self.agents.tokens)
            self.agents.told[spec.role] = _environment(spec, self.options, extra)
            self.agents.started.append(await self._start(spec))

    async def restart(self, spec: AgentSpec, dead: RunningAgent) -> RunningAgent:
        """Start an agent that ended once more, in the same place of the order."""
        await dead.stop()
        place = self.agents.started.index(dead)
        self.agents.started[place] = fresh = await self._start(spec)
        return fresh

    async def _start(self, spec: AgentSpec) -> RunningAgent:
        extra = self._extras[spec.role]
        if spec.image is not None and self.host is not None:
            return await self.host.start(spec, self.options, extra)
        if spec.cmd is not None:
            return await start_process(spec, self.options, extra)
        return ExternalAgent(role=spec.role, url=spec.endpoint or "")

    async def _start_engine(self) -> None:
        engine = await start_process(_ENGINE_SPEC, self.options, {})
        self.agents.started.append(engine)
        await await_address(engine, timeout_s=self.options.start_timeout_s or START_TIMEOUT_S)
        self._engine_url = engine.url.rstrip("/").removesuffix("/v1") + "/v1"

    async def _model_variables(self, spec: AgentSpec) -> dict[str, str]:
        """The names by which an agent is told its model; what stands for the model of a container is started."""
        if spec.model_endpoint is None:
            return {}
        if spec.image is not None and self.host is not None:
            way = road(spec, isolated=self.options.isolate and spec.role != GREEN)
            if way.helper is not None:
                await self.host.help(spec, way.helper, timeout_s=self.options.start_timeout_s or START_TIMEOUT_S)
            return dict(way.told)
        return told_reference(self._engine_url) if spec.model_endpoint == REFERENCE else told(spec.model_endpoint)


def _environment(spec: AgentSpec, options: StartOptions, extra: Mapping[str, str]) -> Mapping[str, str]:
    if spec.cmd is not None:
        return agent_environment(spec, options.variables, extra)
    return {**extra, **resolved_table(spec, options.variables)} if spec.image is not None else {}


async def _await_cards(scenario: Scenario, starter: _Starter) -> None:
    """All at once: agents load their libraries at the same time."""
    agents = starter.agents
    by_role = {agent.role: agent for agent in agents.started}

    async def one(spec: AgentSpec) -> None:
        timeout_s = starter.options.start_timeout_s or spec.start_timeout or START_TIMEOUT_S
        for left in reversed(range(_PORT_TRIES)):
            agent = by_role[spec.role]
            inside = agent.get_inside if isinstance(agent, ContainerAgent) and agent.is_closed else None
            try:
                agents.cards[spec.role] = await await_card(agent, timeout_s=timeout_s, get=inside)
            except AgentStartError:
                if not (left and spec.free_port == TOLD and isinstance(agent, ProcessAgent) and lost_its_port(agent)):
                    raise
                by_role[spec.role] = await starter.restart(spec, agent)
            else:
                return

    try:
        async with asyncio.TaskGroup() as group:
            for spec in _all(scenario):
                group.create_task(one(spec))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    agents.green = by_role[GREEN]
    agents.participant_urls = {
        spec.role: url_between(
            green_in_container=isinstance(agents.green, ContainerAgent),
            agent_in_container=isinstance(by_role[spec.role], ContainerAgent),
            role=spec.role,
            url=by_role[spec.role].url,
        )
        for spec in scenario.participants
    }
