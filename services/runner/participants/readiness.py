"""What can be known before an agent is started: variables that are missing, models out of reach. Pure but for tokens."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from services.contract.assessment import PURPLE_TOKEN
from services.contract.secrets import register_secret
from services.runner.failures import ScenarioError
from services.runner.participants.model_roads import road_faults
from services.runner.participants.process import resolved_table
from services.runner.scenario import GREEN, AgentSpec, Scenario
from services.runner.scenario.agents import is_ours, with_token

GREEN_TOKEN: Final = "ASSAY_GREEN_TOKEN"  # noqa: S105 - the name of a variable


def start_faults(scenario: Scenario, variables: Mapping[str, str], *, isolate: bool) -> list[str]:
    """Everything that would keep the agents of a scenario from starting, as far as the scenario tells."""
    specs = (*scenario.participants, scenario.green)
    faults: list[str] = []
    for spec in specs:
        try:
            resolved_table(spec, variables)
        except ScenarioError as error:
            faults += error.faults
        if spec.kind == "id":
            faults.append(f"{spec.role}: the image of agentbeats_id {spec.agentbeats_id} is not known")
    faults += _token_faults(scenario, variables)
    if not isolate:
        return faults
    if bare := [spec.role for spec in specs if spec.image is None]:
        faults.append(f"--isolate needs containers: give {', '.join(bare)} an image")
    faults += [
        f"{spec.role}: endpoint publishes its port on this machine, which --isolate does not do: remove it"
        for spec in scenario.participants
        if spec.image is not None and spec.endpoint is not None
    ]
    return faults + [fault for spec in scenario.participants for fault in road_faults(spec)]


def guarded(scenario: Scenario) -> Scenario:
    """The scenario with bearer tokens for agents of ours that are started for a run; others keep what they have.

    A purple gets one when green is started too: green is told the token through its environment.
    """
    safe = scenario.model_copy(update={"green": _asking_for_token(scenario.green, GREEN_TOKEN)})
    if scenario.green.kind == "endpoint":
        return safe
    return safe.model_copy(
        update={"participants": tuple(_asking_for_token(agent, PURPLE_TOKEN) for agent in scenario.participants)}
    )


def _asking_for_token(agent: AgentSpec, name: str) -> AgentSpec:
    words = shlex.split(agent.cmd or "")
    return with_token(agent, agent.token_env or name, words) if _is_ours(agent, words) else agent


def tokens_of(scenario: Scenario, variables: Mapping[str, str]) -> dict[str, str]:
    """Role to bearer token: given, or fresh for this run."""
    tokens = {
        agent.role: variables.get(agent.token_env) or secrets.token_urlsafe(32)
        for agent in scenario.agents()
        if agent.token_env is not None
    }
    for token in tokens.values():
        register_secret(token)
    return tokens


def token_variables(spec: AgentSpec, scenario: Scenario, tokens: Mapping[str, str]) -> dict[str, str]:
    """What an agent's environment says of tokens: its own, and green's that of the purple too.

    Those of others are blanked, since an agent may inherit our environment.
    """
    told = dict.fromkeys((agent.token_env for agent in scenario.agents() if agent.token_env is not None), "")
    if spec.token_env is not None:
        told[spec.token_env] = tokens[spec.role]
    if spec.role == GREEN and (token := tokens.get(scenario.purple.role if scenario.participants else "")):
        told[PURPLE_TOKEN] = token
    return told


def _token_faults(scenario: Scenario, variables: Mapping[str, str]) -> Iterator[str]:
    for agent in scenario.agents():
        if agent.token_env is not None and agent.kind == "endpoint" and not variables.get(agent.token_env):
            yield f"{agent.role}: variable {agent.token_env} of token_env is not set"
        if agent.token_env is not None and agent.role != GREEN and scenario.green.kind == "endpoint":
            yield (
                f"{agent.role}: a green that runs already cannot be told the token of token_env: set {PURPLE_TOKEN} where it"
                f' runs, and write purple_token_env = "{PURPLE_TOKEN}" in [config]'
            )


def _is_ours(agent: AgentSpec, words: list[str]) -> bool:
    if agent.image is not None:
        return is_ours(agent.image)
    names = [Path(word).name for word in words[:3]]
    kind = "green" if agent.role == GREEN else "purple"
    return names[:2] == [f"{kind}-agent", "serve"] or names == ["assay", kind, "serve"]
