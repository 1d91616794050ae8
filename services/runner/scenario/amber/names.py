"""How variables of `env` tables become properties of Amber: flat, or one set for each role, as Quick Submit wants it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import JsonValue

from services.contract.secrets import HARMLESS_VALUES, SECRET_NAME
from services.runner.environment import Reference, references
from services.runner.scenario.agents import AgentSpec
from services.runner.scenario.amber.schema import PROPERTY

SecretNames = Literal["flat", "per-role"]
_NO_LETTER: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A variable that an agent needs."""

    role: str
    variable: str
    property: str
    """Its name in the agent's manifest."""
    root_property: str
    """Its name in the scenario."""
    secret: bool
    default: str | None
    """None: it has to be set."""
    hint: str

    def declaration(self) -> dict[str, JsonValue]:
        """Its entry in a schema."""
        entry: dict[str, JsonValue] = {"type": "string"}
        if self.secret:
            entry["secret"] = True
        if self.default is not None:
            entry["default"] = self.default
        if self.hint:
            entry["description"] = self.hint
        return entry


def needs_of(agent: AgentSpec, secret_names: SecretNames) -> tuple[Need, ...]:
    """What an agent needs, one entry for each variable in order of first use."""
    uses: dict[str, list[tuple[str, Reference]]] = {}
    for target, template in (agent.env or {}).items():
        for reference in references(template):
            uses.setdefault(reference.name, []).append((target, reference))
    return tuple(_need(agent.role, name, found, secret_names) for name, found in uses.items())


def _need(role: str, variable: str, found: Sequence[tuple[str, Reference]], secret_names: SecretNames) -> Need:
    own = property_name(variable)
    return Need(
        role=role,
        variable=variable,
        property=own,
        root_property=f"{property_name(role)}_{own}" if secret_names == "per-role" else own,  # noqa: S105 - no secret
        secret=any(SECRET_NAME.search(name) is not None for target, _ in found for name in (variable, target)),
        default=found[0][1].default,
        hint=next((reference.hint for _, reference in found if reference.hint), ""),
    )


def default_secrets(needs: Iterable[Need]) -> Iterator[str]:
    """A fault for each secret whose default says it: the schema would hold it."""
    for need in needs:
        if need.secret and need.default is not None and need.default not in HARMLESS_VALUES:
            yield f"{need.role}: the default of ${{{need.variable}}} is a secret: leave it out"


def property_name(name: str) -> str:
    """A name as Amber takes it: small letters, digits, and single underscores between them."""
    return _NO_LETTER.sub("_", name.lower()).strip("_")


def name_faults(agents: Iterable[AgentSpec], needs: Iterable[Need]) -> list[str]:
    """Variables that Amber cannot tell apart, cannot name, or would fill differently than written."""
    faults: dict[str, None] = {}
    for agent in agents:
        defaults: dict[str, str | None] = {}
        for template in (agent.env or {}).values():
            for reference in references(template):
                if defaults.setdefault(reference.name, reference.default) != reference.default:
                    faults[f"{agent.role}: ${{{reference.name}}} has different defaults: give one"] = None
    seen: dict[str, Need] = {}
    for need in needs:
        if not PROPERTY.fullmatch(need.root_property):
            faults[f"{need.role}: variable {need.variable}: Amber has no name for it; begin it with a letter"] = None
        first = seen.setdefault(need.root_property, need)
        own = first.role != need.role and need.root_property != need.property
        if first.variable != need.variable or own:
            faults[
                f"variables {first.variable} of {first.role} and {need.variable} of {need.role} would both be "
                f"{need.root_property!r} in Amber: rename one"
            ] = None
        elif first.default != need.default:
            faults[
                f"${{{need.variable}}} has different defaults in {first.role} and {need.role}: give one, "
                "or write with --secret-names per-role"
            ] = None
    return list(faults)
