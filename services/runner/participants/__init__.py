"""The agents of a run: start, await, watch, stop. Participants start first, then green; they stop in reverse order."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from services.contract.secrets import register_environment, register_secret
from services.runner.environment import read_env_file
from services.runner.failures import AgentLostError, ScenarioError
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
from services.runner.participants.process import agent_environment, resolved_table, start_process
from services.runner.participants.running import ExternalAgent
from services.runner.scenario import GREEN, REFERENCE, AgentSpec, Scenario

__all__ = ["Agents", "Card", "StartOptions", "start_agents", "variables_for"]

ENGINE: Final = "reference-engine"
_ENGINE_SPEC: Final = AgentSpec(role=ENGINE, cmd="inference up reference", free_port=True)


@dataclass(kw_only=True, slots=True)
class Agents:
    """Everything that runs for a scenario."""

    green_token: str | None
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
    beside = None if scenario.path is None else Path(scenario.path).with_name(".env")
    found: dict[str, str] = {}
    if env_file is not None:
        found = read_env_file(env_file)
    elif beside is not None and beside.is_file():
        found = read_env_file(beside)
    register_environment(found)
    return found | dict(os.environ)


@asynccontextmanager
async def start_agents(scenario: Scenario, options: StartOptions) -> AsyncIterator[Agents]:
    """Start every agent and await its card; stop all at the end, whatever happens.

    Raises ScenarioError for variables that are missing (before anything starts) and AgentStartError.
    """
    _check_variables(scenario, options.variables)
    agents = Agents(green_token=_token(scenario.green, options.variables))
    host = await ContainerHost.open(options.run_id) if any(a.image for a in _all(scenario)) else None
    try:
        engine = await _start_engine(scenario, options, agents)
        for spec in _all(scenario):
            extra = _model_variables(spec.model_endpoint, engine)
            if spec.token_env is not None and agents.green_token is not None:
                extra[spec.token_env] = agents.green_token
            agents.told[spec.role] = _environment(spec, options, extra)
            agents.started.append(await _start(spec, options, extra, host))
        await _await_cards(scenario, options, agents)
        yield agents
    finally:
        await agents.stop()
        if host is not None:
            await host.close()


def _all(scenario: Scenario) -> tuple[AgentSpec, ...]:
    """In order of starting: green last."""
    return (*scenario.participants, scenario.green)


def _check_variables(scenario: Scenario, variables: Mapping[str, str]) -> None:
    faults: list[str] = []
    for spec in _all(scenario):
        try:
            resolved_table(spec, variables)
        except ScenarioError as error:
            faults += error.faults
    green = scenario.green
    if green.token_env is not None and not green.cmd and not green.image and not variables.get(green.token_env):
        faults.append(f"{GREEN}: variable {green.token_env} of token_env is not set")
    if faults:
        raise ScenarioError(*faults)


def _token(green: AgentSpec, variables: Mapping[str, str]) -> str | None:
    """Green's bearer token: given, or fresh for this run."""
    if green.token_env is None:
        return None
    token = variables.get(green.token_env) or secrets.token_urlsafe(32)
    register_secret(token)
    return token


async def _start_engine(scenario: Scenario, options: StartOptions, agents: Agents) -> RunningAgent | None:
    if not any(spec.model_endpoint == REFERENCE for spec in _all(scenario)):
        return None
    engine = await start_process(_ENGINE_SPEC, options, {})
    agents.started.append(engine)
    await await_address(engine, timeout_s=options.start_timeout_s or START_TIMEOUT_S)
    return engine


def _model_variables(endpoint: str | None, engine: RunningAgent | None) -> dict[str, str]:
    """The names by which agents are told their model (interop specification 9)."""
    if endpoint is None:
        return {}
    # The scenario is explicit: lists of other servers in the environment have no say.
    elsewhere = {"LLM_ENDPOINT_FILE": "", "SGLANG_API_BASES": ""}
    if endpoint != REFERENCE or engine is None:
        return {"OPENAI_BASE_URL": endpoint, "OPENAI_API_BASE": endpoint, **elsewhere}
    address = engine.url.rstrip("/").removesuffix("/v1") + "/v1"
    place = {"OPENAI_BASE_URL": address, "OPENAI_API_BASE": address, **elsewhere}
    return {**place, "OPENAI_API_KEY": "EMPTY", "LLM_MODEL": REFERENCE}


def _environment(spec: AgentSpec, options: StartOptions, extra: Mapping[str, str]) -> Mapping[str, str]:
    if spec.cmd is not None:
        return agent_environment(spec, options.variables, extra)
    return {**extra, **resolved_table(spec, options.variables)} if spec.image is not None else {}


async def _start(
    spec: AgentSpec, options: StartOptions, extra: Mapping[str, str], host: ContainerHost | None
) -> RunningAgent:
    if spec.image is not None and host is not None:
        return await host.start(spec, options, extra)
    if spec.cmd is not None:
        return await start_process(spec, options, extra)
    return ExternalAgent(role=spec.role, url=spec.endpoint or "")


async def _await_cards(scenario: Scenario, options: StartOptions, agents: Agents) -> None:
    """All at once: agents load their libraries at the same time."""
    by_role = {agent.role: agent for agent in agents.started}

    async def one(spec: AgentSpec) -> None:
        timeout_s = options.start_timeout_s or spec.start_timeout or START_TIMEOUT_S
        agents.cards[spec.role] = await await_card(by_role[spec.role], timeout_s=timeout_s)

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
