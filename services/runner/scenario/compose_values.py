"""Values of a scenario as a compose file holds them: references stay references, everything else arrives unchanged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import JsonValue

from services.contract.secrets import HARMLESS_VALUES, MASK, SECRET_NAME, redact
from services.runner.environment import Reference, parts_of, references
from services.runner.scenario.model import Scenario
from services.runner.scenario.variables import literal_secrets


def literal(text: str) -> str:
    """A text that compose leaves as it is."""
    return text.replace("$", "$$")


def needed(name: str) -> str:
    """A reference to a variable without which compose stops."""
    return f"${{{name}:?set {name} in .env}}"


def value(template: str) -> str:
    """A value of `env`, for compose: `${NAME}` must be set, `${NAME:-default}` may be."""
    return "".join(literal(part) if isinstance(part, str) else _reference(part) for part in parts_of(template))


def _reference(reference: Reference) -> str:
    if reference.default is not None:
        return f"${{{reference.name}:-{literal(reference.default)}}}"
    return f"${{{reference.name}:?{literal(reference.hint)}}}" if reference.hint else needed(reference.name)


def unwritable_values(scenario: Scenario) -> Iterator[str]:
    """A fault for every value that compose could not read again."""
    for agent in scenario.agents():
        for name, template in (agent.env or {}).items():
            texts = [reference.default or reference.hint for reference in references(template)]
            if any("\n" in text or "\r" in text for text in texts):
                yield f"{agent.role}: env {name} has a default or hint of several lines, which compose does not read"


def secrets_in(scenario: Scenario) -> Iterator[str]:
    """A fault for every secret that would be written, without the secret: files for others must not hold any."""
    yield from literal_secrets(scenario)
    for agent in scenario.agents():
        if any(MASK in redact(argument) for argument in agent.args):
            yield f"{agent.role}: one of args looks like a secret: pass it in env, as ${{NAME}}"
    for key in _secret_keys(scenario.config, "config"):
        yield f"{key} holds a secret: set it in the env of green, as ${{NAME}}"


def _secret_keys(item: JsonValue, where: str, name: str = "") -> Iterator[str]:
    if isinstance(item, Mapping):
        for key, inner in item.items():
            yield from _secret_keys(inner, f"{where}.{key}", key)
    elif isinstance(item, list):
        for number, inner in enumerate(item):
            yield from _secret_keys(inner, f"{where}[{number}]", name)
    elif isinstance(item, str) and item not in HARMLESS_VALUES and _is_secret(name, item):
        yield where


def _is_secret(name: str, text: str) -> bool:
    return SECRET_NAME.search(name) is not None or MASK in redact(text)
