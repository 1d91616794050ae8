"""Which variables a scenario reads from outside, and which of its values should be variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pydantic import JsonValue

from services.contract.secrets import HARMLESS_VALUES, MASK, SECRET_NAME, redact
from services.runner.environment import Reference, holds_literal_secret, references
from services.runner.scenario.agents import AgentSpec
from services.runner.scenario.model import Scenario


@dataclass(frozen=True, kw_only=True, slots=True)
class Variable:
    """A variable that a scenario reads from outside."""

    name: str
    needed: bool
    """Whether some place has no default for it."""
    secret: bool
    """By its own name or by that under which an agent gets it."""
    used_by: tuple[str, ...]
    """Roles, green first."""


def variables_of(scenario: Scenario) -> tuple[Variable, ...]:
    """Every variable of every `env` table, and those of the tokens of agents that run already, by name."""
    uses: dict[str, list[tuple[AgentSpec, str, Reference]]] = {}
    for agent in scenario.agents():
        for target, template in (agent.env or {}).items():
            for reference in references(template):
                uses.setdefault(reference.name, []).append((agent, target, reference))
        if agent.token_env is not None and agent.kind == "endpoint":
            uses.setdefault(agent.token_env, []).append((agent, "TOKEN", Reference(name=agent.token_env)))
    return tuple(
        Variable(
            name=name,
            needed=any(reference.default is None for _, _, reference in found),
            secret=any(SECRET_NAME.search(word) is not None for _, target, _ in found for word in (name, target)),
            used_by=tuple(dict.fromkeys(agent.role for agent, _, _ in found)),
        )
        for name, found in sorted(uses.items())
    )


def missing_variables(scenario: Scenario, variables: Mapping[str, str]) -> tuple[Variable, ...]:
    """Those that are needed and absent or empty."""
    return tuple(one for one in variables_of(scenario) if one.needed and not variables.get(one.name))


def secrets_in(scenario: Scenario) -> Iterator[str]:
    """A fault for every place that holds a secret itself, without the secret: files for others must not hold any."""
    for agent in scenario.agents():
        for name, template in (agent.env or {}).items():
            if holds_literal_secret(name, template):
                yield f"{agent.role}: env {name} holds a secret: write ${{{name}}} and set {name} in .env"
        for key in ("endpoint", "model_endpoint"):
            if _url_holds_secret(getattr(agent, key) or ""):
                yield f"{agent.role}: {key} holds a secret: leave it out of the address"
        if any(MASK in redact(argument) for argument in agent.args):
            yield f"{agent.role}: one of args looks like a secret: pass it in env, as ${{NAME}}"
    for key in _secret_keys(scenario.config, "config"):
        yield f"{key} holds a secret: set it in the env of green, as ${{NAME}}"


def _url_holds_secret(url: str) -> bool:
    return any(_is_secret(name, text) for name, text in parse_qsl(urlsplit(url).query)) or MASK in redact(url)


def _secret_keys(item: JsonValue, where: str, name: str = "") -> Iterator[str]:
    if isinstance(item, Mapping):
        for key, inner in item.items():
            yield from _secret_keys(inner, f"{where}.{key}", key)
    elif isinstance(item, list):
        for number, inner in enumerate(item):
            yield from _secret_keys(inner, f"{where}[{number}]", name)
    elif isinstance(item, str) and _is_secret(name, item):
        yield where


def _is_secret(name: str, text: str) -> bool:
    return text not in HARMLESS_VALUES and (SECRET_NAME.search(name) is not None or MASK in redact(text))
