"""Writes a scenario as Amber manifests: `scenario.json5`, `green.json5` and one for each participant, in plain JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.contract.secrets import MASK, redact
from services.runner.environment import Reference, parts_of
from services.runner.failures import ScenarioError
from services.runner.scenario.agents import GREEN, REFERENCE, AgentSpec, is_ours
from services.runner.scenario.amber.components import CAPABILITY
from services.runner.scenario.amber.gateway import GATEWAY, MANIFEST_URL, PURPLE_SLOTS
from services.runner.scenario.amber.names import Need, SecretNames, default_secrets, name_faults, needs_of
from services.runner.scenario.amber.schema import strings
from services.runner.scenario.model import Scenario
from services.runner.scenario.variables import secrets_in

MANIFEST_VERSION: Final = "0.1.0"
ROOT_FILE: Final = "scenario.json5"
PORT: Final = 9009
_ENDPOINT: Final = "endpoint"
_PROXY_VARIABLE: Final = "PROXY_URL"
_COMMANDS: Final = {True: "green-agent serve", False: "purple-agent serve"}
_WITHOUT_PLACE: Final = ("a2a_version", "card_url", "token_env", "start_timeout", "limits")
Manifest = dict[str, JsonValue]


@dataclass(frozen=True, kw_only=True, slots=True)
class AmberFiles:
    """What was written of a scenario."""

    texts: Mapping[str, str]
    """File name -> text, the root first."""
    notes: tuple[str, ...]
    """What was assumed or left out."""


def amber_files(
    scenario: Scenario,
    *,
    secret_names: SecretNames = "flat",  # noqa: S107 - no secret, but how they are named
    entrypoints: Mapping[str, str] | None = None,
    allow_literal_secrets: bool = False,
) -> AmberFiles:
    """The manifests of a scenario whose agents all have images. Deterministic.

    `entrypoints` gives the command of an image by role: Amber replaces the image's own. Raises ScenarioError with every fault.
    """
    given = entrypoints or {}
    needs = {agent.role: needs_of(agent, secret_names) for agent in scenario.agents()}
    every = [need for own in needs.values() for need in own]
    faults = [*_scenario_faults(scenario, given), *name_faults(scenario.agents(), every)]
    if not allow_literal_secrets:
        faults += [*secrets_in(scenario), *default_secrets(every), *_command_secrets(given)]
    if faults:
        raise ScenarioError(*faults)
    documents = {ROOT_FILE: _root(scenario, needs)}
    for agent in scenario.agents():
        documents[f"{agent.role}.json5"] = _component(agent, needs[agent.role], _entrypoint(agent, given))
    return AmberFiles(
        texts={name: f"{json.dumps(document, ensure_ascii=False, indent=2)}\n" for name, document in documents.items()},
        notes=tuple(_notes(scenario, given)),
    )


def _command_secrets(entrypoints: Mapping[str, str]) -> Iterator[str]:
    for role, command in entrypoints.items():
        if MASK in redact(command):
            yield f"{role}: --entrypoint holds a secret: pass it in env, as ${{NAME}}"


def _scenario_faults(scenario: Scenario, entrypoints: Mapping[str, str]) -> Iterator[str]:
    roles = [agent.role for agent in scenario.participants]
    if len(roles) > len(PURPLE_SLOTS):
        yield f"{len(roles)} participants: the gateway of AgentBeats takes at most {len(PURPLE_SLOTS)}"
    if len(roles) > 1 and not scenario.any_config and "purple_role" not in scenario.config:
        yield f"several participants ({', '.join(roles)}) are one request: name the examined one in config.purple_role"
    for role in sorted(set(entrypoints) - {GREEN, *roles}):
        yield f"--entrypoint {role}: no such agent; agents: {', '.join([GREEN, *roles])}"
    for path, text in strings(scenario.config):
        if "${" in text:
            yield f"config.{path}: Amber would read '${{' as a reference"
    for agent in scenario.agents():
        yield from (f"{agent.role}: {fault}" for fault in _agent_faults(agent, entrypoints.get(agent.role)))


def _agent_faults(agent: AgentSpec, entrypoint: str | None) -> Iterator[str]:
    if f"{agent.role.lower()}.json5" == ROOT_FILE:
        yield f"its manifest would be {ROOT_FILE}, which is the scenario itself: choose another name"
    if agent.image is None:
        yield "an image or an agentbeats_id is needed: Amber runs containers"
    if agent.model_endpoint == REFERENCE:
        yield "model_endpoint 'reference' is started by `assay run` only: give an address"
    if any("${" in text for text in (*agent.args, entrypoint or "")):
        yield "args: Amber would read '${' as a reference"
    if entrypoint is not None:
        yield from _entrypoint_faults(entrypoint)
    yield from _env_faults(agent)


def _entrypoint_faults(entrypoint: str) -> Iterator[str]:
    try:
        words = shlex.split(entrypoint)
    except ValueError as error:
        yield f"--entrypoint: {error}"
        return
    if not words:
        yield "--entrypoint: expected a command"


def _env_faults(agent: AgentSpec) -> Iterator[str]:
    if agent.role == GREEN and _PROXY_VARIABLE in (agent.env or {}):
        yield f"env {_PROXY_VARIABLE}: green is told Amber's proxy by this name: choose another"
    for name, template in (agent.env or {}).items():
        literals = "".join("\n" if isinstance(part, Reference) else part for part in parts_of(template))
        if "${" in literals:
            yield f"env {name}: Amber would read '${{' as a reference, and knows no other way to write it"


def _entrypoint(agent: AgentSpec, given: Mapping[str, str]) -> str:
    assumed = _COMMANDS[agent.role == GREEN]
    words = shlex.split(given.get(agent.role, assumed))
    return shlex.join([*words, "--host", "0.0.0.0", "--port", str(PORT), *agent.args])  # noqa: S104 - a container's own


def _root(scenario: Scenario, needs: Mapping[str, Sequence[Need]]) -> Manifest:
    slots = dict(zip((GREEN, *PURPLE_SLOTS), (agent.role for agent in scenario.agents()), strict=False))
    bindings: list[JsonValue] = [
        {"to": f"#{GATEWAY}.{slot}", "from": f"#{role}.{CAPABILITY}"} for slot, role in slots.items()
    ]
    bindings.append({"to": f"#{GREEN}.proxy", "from": f"#{GATEWAY}.proxy", "weak": True})
    gateway: Manifest = {"assessment_config": dict(scenario.config), "participant_roles": dict(slots)}
    components: Manifest = {GATEWAY: {"manifest": MANIFEST_URL, "config": gateway}}
    for agent in scenario.agents():
        passed: Manifest = {need.property: f"${{config.{need.root_property}}}" for need in needs[agent.role]}
        components[agent.role] = {"manifest": f"./{agent.role}.json5", "config": passed}
    return {
        "manifest_version": MANIFEST_VERSION,
        "config_schema": _schema([(need.root_property, need) for own in needs.values() for need in own]),
        "components": components,
        "bindings": bindings,
        "exports": {"results": f"#{GATEWAY}.results"},
        "metadata": {"agentbeats_ids": {agent.role: agent.agentbeats_id or "" for agent in scenario.agents()}},
    }


def _component(agent: AgentSpec, needs: Sequence[Need], entrypoint: str) -> Manifest:
    names = {need.variable: need.property for need in needs}
    env: Manifest = dict(_model_variables(agent))
    env |= {name: _value(template, names) for name, template in (agent.env or {}).items()}
    manifest: Manifest = {
        "manifest_version": MANIFEST_VERSION,
        "program": {
            "image": agent.image,
            "entrypoint": entrypoint,
            "env": env,
            "network": {"endpoints": [{"name": _ENDPOINT, "port": PORT}]},
        },
        "config_schema": _schema([(need.property, need) for need in needs]),
        "provides": {CAPABILITY: {"kind": CAPABILITY, "endpoint": _ENDPOINT}},
        "exports": {CAPABILITY: CAPABILITY},
    }
    if agent.role == GREEN:
        manifest["slots"] = {"proxy": {"kind": CAPABILITY, "optional": True}}
        # Amber connects only what a program names: without this line green has no way to the participants.
        env[_PROXY_VARIABLE] = "${slots.proxy.url}"
    return manifest


def _schema(needs: Sequence[tuple[str, Need]]) -> Manifest:
    required: list[JsonValue] = list(dict.fromkeys(name for name, need in needs if need.default is None))
    declared: Manifest = {}
    for name, need in needs:
        # A variable that is a secret to one agent is a secret.
        if name not in declared or need.secret:
            declared[name] = need.declaration()
    return {"type": "object", "properties": declared, "required": required, "additionalProperties": False}


def _value(template: str, names: Mapping[str, str]) -> str:
    parts = parts_of(template)
    return "".join(part if isinstance(part, str) else f"${{config.{names[part.name]}}}" for part in parts)


def _model_variables(agent: AgentSpec) -> dict[str, JsonValue]:
    """The names by which agents are told their model (interop specification 9)."""
    endpoint = agent.model_endpoint
    return {} if endpoint is None else {"OPENAI_BASE_URL": endpoint, "OPENAI_API_BASE": endpoint}


def _notes(scenario: Scenario, entrypoints: Mapping[str, str]) -> Iterator[str]:
    for agent in scenario.agents():
        assumed = _COMMANDS[agent.role == GREEN]
        if agent.role not in entrypoints and not is_ours(agent.image or ""):
            yield (
                f"{agent.role}: Amber replaces the command of {agent.image}: assumed {assumed!r}; "
                f"another: --entrypoint {agent.role}=COMMAND"
            )
        if left_out := [key for key in _WITHOUT_PLACE if getattr(agent, key) is not None]:
            yield f"{agent.role}: {', '.join(left_out)} left out: Amber has no place for it"
        if agent.agentbeats_id is None:
            yield f"{agent.role}: has no agentbeats_id: fill it in in metadata.agentbeats_ids"
