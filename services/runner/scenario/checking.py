"""What `assay scenario check` says of a scenario that was read: its agents, its variables, and what is likely a mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from services.runner.scenario.agents import AgentSpec, Kind
from services.runner.scenario.amber import AmberScenario
from services.runner.scenario.images import ImageSource
from services.runner.scenario.model import Scenario
from services.runner.scenario.variables import secrets_in, variables_of


class CheckedAgent(BaseModel):
    """One agent."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    role: str
    kind: Kind | Literal["manifest"]
    endpoint: str | None = None
    agentbeats_id: str | None = None
    image: str | None = None
    """None: a command or an address, an id whose image is looked up when it runs, a manifest that was not fetched."""
    manifest: str | None = None
    """File or address of its Amber manifest."""


class CheckedVariable(BaseModel):
    """One variable that the scenario reads; its value is never shown."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    needed: bool
    """False: every place has a default."""
    secret: bool
    is_set: bool
    """In the process environment or the environment file, and not empty."""
    used_by: tuple[str, ...] = ()
    """Roles; empty in an Amber scenario, whose root hands values on."""

    @property
    def missing(self) -> bool:
        """Whether nothing can start for want of it."""
        return self.needed and not self.is_set


class Check(BaseModel):
    """The report of one file."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    path: str
    agents: tuple[CheckedAgent, ...]
    variables: tuple[CheckedVariable, ...]
    warnings: tuple[str, ...]
    """What is accepted, and likely not meant."""
    faults: tuple[str, ...]
    """Why it cannot run as things stand: variables that are missing, ids without an image."""

    @property
    def ok(self) -> bool:
        """Whether it could run now."""
        return not self.faults


def check_scenario(scenario: Scenario, *, path: str, variables: Mapping[str, str], images: ImageSource) -> Check:
    """Examine a scenario without the network; the table of `images` counts, and so does that nobody may be asked."""
    agents = tuple(_agent(agent, images) for agent in scenario.agents())
    read = tuple(
        CheckedVariable(
            name=one.name,
            needed=one.needed,
            secret=one.secret,
            is_set=bool(variables.get(one.name)),
            used_by=one.used_by,
        )
        for one in variables_of(scenario)
    )
    faults = [
        *_missing(read),
        *(
            f"{agent.role}: no image for agentbeats_id {agent.agentbeats_id}: --resolve has none, and --offline forbids to ask"
            for agent in agents
            if agent.kind == "id" and agent.image is None and not images.online
        ),
    ]
    return Check(
        path=path,
        agents=agents,
        variables=read,
        warnings=(*secrets_in(scenario), *_unresolved(scenario)),
        faults=tuple(faults),
    )


def check_amber(scenario: AmberScenario, *, variables: Mapping[str, str]) -> Check:
    """Examine a scenario of Amber manifests."""
    read = tuple(
        CheckedVariable(
            name=one.variable, needed=one.required, secret=one.secret, is_set=bool(variables.get(one.variable))
        )
        for one in scenario.properties
    )
    return Check(
        path=str(scenario.path),
        agents=tuple(
            CheckedAgent(
                role=agent.role,
                kind="manifest",
                agentbeats_id=agent.agentbeats_id or None,
                image=agent.image,
                manifest=agent.manifest,
            )
            for agent in scenario.agents
        ),
        variables=read,
        warnings=scenario.warnings,
        faults=tuple(_missing(read)),
    )


def _missing(variables: tuple[CheckedVariable, ...]) -> Iterator[str]:
    for one in variables:
        if one.missing:
            yield f"variable {one.name} is not set" + (f" ({', '.join(one.used_by)})" if one.used_by else "")


def _agent(agent: AgentSpec, images: ImageSource) -> CheckedAgent:
    known = images.table.get((agent.agentbeats_id or "").lower()) if agent.kind == "id" else agent.image
    return CheckedAgent(
        role=agent.role, kind=agent.kind, endpoint=agent.endpoint, agentbeats_id=agent.agentbeats_id, image=known
    )


def _unresolved(scenario: Scenario) -> Iterator[str]:
    """`${NAME}` where nothing resolves it."""
    places = {f"config.{key}": value for key, value in scenario.config.items()}
    places |= {f"{agent.role}.args": list(agent.args) for agent in scenario.agents()}
    for place, value in places.items():
        if any("${" in text for text in _texts(value)):
            yield f"{place}: ${{...}} is resolved in env only; here it is passed on as it is written"


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
