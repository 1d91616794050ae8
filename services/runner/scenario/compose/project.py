"""A scenario as a compose project: `docker-compose.yml`, the scenario for its client, and the variables it needs.

Pure: the same scenario and options give the same bytes. Networks and who is on them are decided here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import tomli_w
from pydantic import JsonValue

from services.runner.environment import references
from services.runner.failures import ScenarioError
from services.runner.scenario.agents import ENGINE, GREEN, REFERENCE, AgentSpec, is_ours
from services.runner.scenario.compose.file import Attachment, ComposeFile, Network, Service
from services.runner.scenario.compose.roads import (
    EGRESS_NETWORK,
    Road,
    engine,
    is_here,
    isolated_road,
    shared_road,
)
from services.runner.scenario.compose.services import (
    A2A_SCENARIO,
    AGENT_NETWORK,
    CLIENT_SERVICE,
    GREEN_SERVICE,
    OUTPUT,
    PORT,
    Client,
    agent_service,
    client_service,
    green_service,
    service_name,
)
from services.runner.scenario.model import Scenario
from services.runner.scenario.variables import secrets_in, variables_of

COMPOSE: Final = "docker-compose.yml"
ENV_EXAMPLE: Final = ".env.example"
SANDBOX_URL: Final = "ASSAY_SANDBOX_URL"
_CLOSED: Final = Network(internal=True, driver_opts={"com.docker.network.bridge.inhibit_ipv4": "true"})
"""No road out. Without an address on the bridge the host is out of reach as well."""
_CLIENT_KEYS: Final = ("a2a_version", "card_url", "token_env")
"""What our runner heeds of an agent's table when it speaks to it, or has it spoken to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ComposeOptions:
    """How the project is made."""

    client: Client = "agentbeats"
    """Who asks green: the platform's client or our runner."""
    isolate: bool = False
    """Each participant on networks of its own (interop specification 9)."""
    allow_literal_secrets: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ComposeProject:
    """The files of a project, and what its reader should know."""

    compose: ComposeFile
    a2a_scenario: dict[str, JsonValue]
    variables: tuple[str, ...]
    """Names, sorted."""
    client: Client
    notes: tuple[str, ...]
    """What an agent lacks, and what was left out of the file."""

    def texts(self) -> dict[str, str]:
        """File name to contents."""
        return {
            COMPOSE: self.compose.text(),
            A2A_SCENARIO: tomli_w.dumps(self.a2a_scenario),
            ENV_EXAMPLE: "".join(f"{name}=\n" for name in self.variables),
        }

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write the files, and the folder for results. Raises OSError."""
        output = folder / OUTPUT
        output.mkdir(parents=True, exist_ok=True)
        if self.client == "agentbeats":
            # The user inside the platform's image is not known.
            output.chmod(0o777)
        for name, text in self.texts().items():
            (folder / name).write_text(text, encoding="utf-8", newline="\n")
        return tuple(folder / name for name in self.texts())


def compose_project(scenario: Scenario, options: ComposeOptions) -> ComposeProject:
    """The project of a scenario whose ids are resolved. Raises ScenarioError with every fault."""
    faults = [*_faults(scenario, options), *_unwritable_values(scenario)]
    if not options.allow_literal_secrets:
        faults += (f"{fault}; or give --allow-literal-secrets" for fault in secrets_in(scenario))
    roads = _roads(scenario, options, faults)
    faults += _clashes(scenario, roads)
    if faults:
        raise ScenarioError(*faults)
    token = () if scenario.green.token_env is None else (scenario.green.token_env,)
    return ComposeProject(
        compose=_compose(scenario, options, roads),
        a2a_scenario=_a2a_scenario(scenario, options.client),
        variables=tuple(sorted({*token, *(variable.name for variable in variables_of(scenario))})),
        client=options.client,
        notes=tuple(_notes(scenario, options, roads)),
    )


def _faults(scenario: Scenario, options: ComposeOptions) -> Iterator[str]:
    for agent in scenario.agents():
        if agent.kind == "command":
            yield f"{agent.role}: cmd cannot run in a compose file: build an image of it and name it in image"
        elif agent.kind == "id":
            yield f"{agent.role}: no image for agentbeats_id {agent.agentbeats_id}"
        elif agent.kind == "endpoint" and is_here(agent.endpoint or ""):
            yield (
                f"{agent.role}: {agent.endpoint} is this machine, which the other containers do not reach: name its"
                " image, or an address that containers reach"
            )
    if options.isolate and scenario.green.kind == "endpoint":
        yield f"{GREEN}: --isolate puts green on a network with each participant, so it needs green's image"
    for agent in scenario.participants:
        if agent.token_env is not None:
            yield f"{agent.role}: token_env of a participant has no place in a compose file: its networks keep others away"
    if options.client == "agentbeats":
        given = [key for key in _CLIENT_KEYS if getattr(scenario.green, key) is not None]
        yield from (
            f"{GREEN}: the AgentBeats client knows no {key}: leave it out or give --client assay" for key in given
        )
    if options.client == "assay" and scenario.any_config:
        yield "--any-config says that green is not Assay's, and --client assay asks Assay's green only"


def _unwritable_values(scenario: Scenario) -> Iterator[str]:
    """A fault for every value that compose could not read again."""
    for agent in scenario.agents():
        for name, template in (agent.env or {}).items():
            texts = [reference.default or reference.hint for reference in references(template)]
            if any("\n" in text or "\r" in text for text in texts):
                yield f"{agent.role}: env {name} has a default or hint of several lines, which compose does not read"


def _roads(scenario: Scenario, options: ComposeOptions, faults: list[str]) -> dict[str, Road]:
    """Role to road of every agent with an image. Adds to `faults`."""
    roads: dict[str, Road] = {}
    for agent in scenario.agents():
        try:
            if agent.kind == "image":
                apart = _is_apart(agent, options)
                roads[agent.role] = isolated_road(agent, _model_network(agent)) if apart else shared_road(agent)
        except ScenarioError as error:
            faults += error.faults
    return roads


def _clashes(scenario: Scenario, roads: Mapping[str, Road]) -> Iterator[str]:
    """Participants that are called like a service of the file."""
    taken = {ENGINE} if _uses_engine(scenario) else set()
    taken |= {road.gate_name.lower() for road in roads.values() if road.gate is not None}
    for agent in scenario.participants:
        if agent.role.lower() in taken:
            yield f"{agent.role}: another service of the compose file has this name: choose another role"


def _uses_engine(scenario: Scenario) -> bool:
    return any(agent.model_endpoint == REFERENCE for agent in scenario.agents())


def _model_network(agent: AgentSpec) -> str:
    return f"model-{agent.role}"


def _arena(agent: AgentSpec) -> str:
    return f"arena-{agent.role}"


def _compose(scenario: Scenario, options: ComposeOptions, roads: Mapping[str, Road]) -> ComposeFile:
    services: dict[str, Service] = {}
    contained = [agent for agent in scenario.participants if agent.kind == "image"]
    arenas = {_arena(agent): Attachment() for agent in contained} if options.isolate else {}
    waits_for = tuple(service_name(agent) for agent in contained)
    if scenario.green.kind == "image":
        networks = {AGENT_NETWORK: Attachment(), **arenas}
        services[GREEN_SERVICE] = green_service(scenario.green, roads[GREEN], networks, waits_for)
    for agent in contained:
        road = roads[agent.role]
        services[agent.role] = agent_service(agent, road, _networks_of(agent, road, options), isolated=options.isolate)
    services |= {road.gate_name: road.gate for road in roads.values() if road.gate is not None}
    if _uses_engine(scenario):
        services[ENGINE] = engine(_engine_networks(scenario, options))
    # Our runner reads the card of every agent; nothing listens in its container.
    everywhere = {AGENT_NETWORK: Attachment(), **arenas}
    all_agents = (*((GREEN_SERVICE,) if GREEN_SERVICE in services else ()), *waits_for)
    services[CLIENT_SERVICE] = client_service(options.client, all_agents, everywhere, scenario.green.token_env)
    used = dict.fromkeys(name for service in services.values() for name in service.networks)
    open_ones = {AGENT_NETWORK, EGRESS_NETWORK}
    written = {name: Network() if name in open_ones else _CLOSED for name in used}
    return ComposeFile(services=services, networks=written)


def _networks_of(agent: AgentSpec, road: Road, options: ComposeOptions) -> dict[str, Attachment]:
    if not options.isolate:
        return {AGENT_NETWORK: Attachment()}
    names = (_arena(agent), *((_model_network(agent),) if road.is_open else ()))
    return {name: Attachment() for name in names}


def _engine_networks(scenario: Scenario, options: ComposeOptions) -> dict[str, Attachment]:
    asking = [agent for agent in scenario.agents() if agent.model_endpoint == REFERENCE]
    names = (_model_network(agent) if _is_apart(agent, options) else AGENT_NETWORK for agent in asking)
    return {name: Attachment() for name in names}


def _is_apart(agent: AgentSpec, options: ComposeOptions) -> bool:
    return options.isolate and agent.role != GREEN and agent.kind == "image"


def _a2a_scenario(scenario: Scenario, client: Client) -> dict[str, JsonValue]:
    """Form A: where the client finds the agents, their ids, and the config; how to speak to a purple, each client in its way."""
    ours = client == "assay"
    participants: list[JsonValue] = [
        {"role": agent.role, **_place(agent), **(_spoken_to(agent) if ours else {})} for agent in scenario.participants
    ]
    return {
        "green_agent": _place(scenario.green) | _spoken_to(scenario.green),
        "participants": participants,
        "config": scenario.config if ours else scenario.asked_config(),
    }


def _spoken_to(agent: AgentSpec) -> dict[str, JsonValue]:
    return {key: getattr(agent, key) for key in _CLIENT_KEYS if getattr(agent, key) is not None}


def _place(agent: AgentSpec) -> dict[str, JsonValue]:
    inside = f"http://{service_name(agent)}:{PORT}"
    known: dict[str, JsonValue] = {} if agent.agentbeats_id is None else {"agentbeats_id": agent.agentbeats_id}
    return {"endpoint": inside if agent.kind == "image" else agent.endpoint, **known}


def _notes(scenario: Scenario, options: ComposeOptions, roads: Mapping[str, Road]) -> Iterator[str]:
    green = scenario.green
    if is_ours(green.image or "") and SANDBOX_URL not in (green.env or {}):
        yield f"green has no sandbox, so it leaves code benchmarks out of its plan; {SANDBOX_URL} in its env names one"
    for agent in scenario.agents():
        if agent.kind == "image" and agent.endpoint is not None:
            yield f"{agent.role} is not published at {agent.endpoint}: only the containers of the file reach it"
        if _is_apart(agent, options) and not roads[agent.role].is_open:
            yield f"{agent.role} reaches no model: without model_endpoint --isolate leaves it nothing but green"
        if options.isolate and agent.role != GREEN and agent.kind == "endpoint":
            yield f"{agent.role} runs at {agent.endpoint}: what it reaches is not ours to limit"
