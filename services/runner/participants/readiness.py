"""What can be known before an agent is started: variables that are missing, models out of reach. Pure but for tokens."""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from services.contract.secrets import register_secret
from services.runner.failures import ScenarioError
from services.runner.participants.container import is_ours
from services.runner.participants.model_roads import road_faults
from services.runner.participants.process import resolved_table
from services.runner.scenario import GREEN, AgentSpec, Scenario

TOKEN: Final = "ASSAY_GREEN_TOKEN"  # noqa: S105 - the name of a variable
_FLAG: Final = "--auth-token-env"


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
    green = scenario.green
    if green.token_env is not None and green.kind == "endpoint" and not variables.get(green.token_env):
        faults.append(f"{GREEN}: variable {green.token_env} of token_env is not set")
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
    """The scenario with a bearer token for a green of ours that is started for a run; others keep what they have."""
    green = scenario.green
    words = shlex.split(green.cmd or "")
    if green.token_env is not None or _FLAG in (*words, *green.args) or not _is_our_green(green, words):
        return scenario
    safe = green.model_copy(update={"token_env": TOKEN, "args": (*green.args, _FLAG, TOKEN)})
    return scenario.model_copy(update={"green": safe})


def token_of(green: AgentSpec, variables: Mapping[str, str]) -> str | None:
    """Green's bearer token: given, or fresh for this run."""
    if green.token_env is None:
        return None
    token = variables.get(green.token_env) or secrets.token_urlsafe(32)
    register_secret(token)
    return token


def _is_our_green(green: AgentSpec, words: list[str]) -> bool:
    if green.image is not None:
        return is_ours(green.image)
    names = [Path(word).name for word in words[:3]]
    return names[:2] == ["green-agent", "serve"] or names == ["assay", "green", "serve"]
