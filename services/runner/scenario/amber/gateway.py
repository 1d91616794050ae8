"""The gateway of AgentBeats: where its manifest is taken from, its slots, and who is bound to them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from services.runner.scenario.amber.manifest import Binding, Child, GatewayConfig, Root, parse
from services.runner.scenario.amber.schema import config_paths, properties, strings

GATEWAY: Final = "gateway"
TAG: Final = "v0.3"
REPOSITORY: Final = "RDI-Foundation/agentbeats-gateway"
MANIFEST_URL: Final = f"https://raw.githubusercontent.com/{REPOSITORY}/refs/tags/{TAG}/amber-manifest.json5"
GREEN_SLOT: Final = "green"
PURPLE_SLOTS: Final = ("purple1", "purple2", "purple3", "purple4", "purple5")
_LEGACY_SLOT: Final = "green_mcp"
_GIVES: Final = ("proxy", "results")
_ROLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_VERSION_TAG: Final = re.compile(r"v\d+(?:\.\d+)*")


def pin_warning(gateway: Child) -> str | None:
    """Why the gateway's manifest may change under the scenario, or is not the one that is known here; None: neither."""
    known = f"known here is {MANIFEST_URL}"
    if gateway.digest is not None:
        return None
    parts = urlsplit(gateway.url)
    if parts.scheme not in {"http", "https"}:
        return f"the gateway's manifest {gateway.url!r} is a local file and was not read; {known}"
    ref = _git_ref(parts.path)
    if ref is None:
        return f"the gateway's manifest {gateway.url!r}: cannot tell whether its text is fixed; {known}"
    kind, name = ref
    repository = "/".join([step for step in parts.path.split("/") if step][:2])
    if repository.lower() != REPOSITORY.lower():
        return f"the gateway's manifest is taken from the repository {repository!r}; {known}"
    if kind == "branch":
        return f"the gateway's manifest is taken from the branch {name!r}, which may change; {known}"
    if kind == "tag" and name != TAG and not name.startswith(f"{TAG}."):
        return f"the gateway's manifest is taken from {name!r}; {known}"
    return None


def _git_ref(path: str) -> tuple[str, str] | None:
    """Kind and name of the git reference in the path of a raw file at GitHub, or None when there is none."""
    steps = [step for step in path.split("/") if step and step != "raw"][2:]
    if len(steps) > 3 and steps[:2] in (["refs", "tags"], ["refs", "heads"]):
        return ("tag" if steps[1] == "tags" else "branch"), steps[2]
    if len(steps) < 2:
        return None
    name = steps[0]
    if _COMMIT.fullmatch(name):
        return "commit", name
    return ("tag" if _VERSION_TAG.fullmatch(name) else "branch"), name


def read_gateway(root: Root, faults: list[str]) -> GatewayConfig | None:
    """What the gateway is told, with the faults of its roles added; None when it cannot be read."""
    where = f"components.{GATEWAY}"
    if GATEWAY not in root.components:
        faults.append(f"{where}: the gateway is missing")
        return None
    if root.exports.get("results") != f"#{GATEWAY}.results":
        faults.append(f"exports.results: expected '#{GATEWAY}.results', got {root.exports.get('results')!r}")
    config = parse(GatewayConfig, root.components[GATEWAY].config, faults, where=f"{where}.config")
    if config is not None:
        faults += _role_faults(config, f"{where}.config.participant_roles")
        faults += _slot_faults(config, bound_slots(root))
        faults += _id_faults(root, config)
    return config


def _role_faults(config: GatewayConfig, where: str) -> Iterator[str]:
    for slot, role in config.participant_roles.items():
        if not _ROLE.fullmatch(role):
            yield f"{where}.{slot}: role {role!r}: letters, digits, _ and - only, because addresses are made of it"
    again = Counter(config.participant_roles.values())
    yield from (f"{where}: role {role!r} is given {count} times" for role, count in again.items() if count > 1)


def _slot_faults(config: GatewayConfig, bound: dict[str, str]) -> Iterator[str]:
    known = (GREEN_SLOT, *PURPLE_SLOTS)
    for slot in sorted({*config.participant_roles, *bound} - {*known, _LEGACY_SLOT}):
        yield f"gateway slot {slot!r}: the gateway has {', '.join(known)}: at most five participants"
    for slot in known[:2]:
        if slot not in bound:
            yield f"gateway slot {slot!r} is not bound"
    for slot in known:
        if slot in bound and slot not in config.participant_roles:
            yield f"gateway slot {slot!r} is bound to {bound[slot]!r}, and participant_roles has no role for it"
        if slot in config.participant_roles and slot not in bound:
            yield f"gateway slot {slot!r} has the role {config.participant_roles[slot]!r}, and nothing is bound to it"


def _id_faults(root: Root, config: GatewayConfig) -> Iterator[str]:
    ids, roles = root.metadata.agentbeats_ids, config.participant_roles.values()
    where = "metadata.agentbeats_ids"
    for role in roles:
        if role not in ids:
            yield f"{where}: role {role!r} has no entry"
    for name in ids:
        if name not in {*roles, *root.components}:
            yield f"{where}.{name}: neither a role nor a component; roles: {', '.join(roles)}"


def bound_slots(root: Root) -> dict[str, str]:
    """Slots of the gateway that components are bound to -> the component."""
    bound: dict[str, str] = {}
    for binding in root.bindings:
        component, slot = binding.target
        if component == GATEWAY and binding.giver is not None:
            bound[slot] = binding.giver[0]
    return bound


def binding_faults(root: Root) -> Iterator[str]:
    """Bindings that lead nowhere, fill a slot twice, or close a circle."""
    for number, binding in enumerate(root.bindings):
        where = f"bindings[{number}]"
        yield from (f"{where}: {fault}" for fault in _one_binding(binding, root))
    targets = Counter(binding.to for binding in root.bindings)
    yield from (f"bindings: {to} is filled {count} times" for to, count in targets.items() if count > 1)


def _one_binding(binding: Binding, root: Root) -> Iterator[str]:
    component, _ = binding.target
    known = ", ".join(root.components)
    if component not in root.components:
        yield f"to {binding.to!r}: no component {component!r}; components: {known}"
    if binding.giver is None:
        return
    giver, capability = binding.giver
    if giver not in root.components:
        yield f"from {binding.source!r}: no component {giver!r}; components: {known}"
    if not capability:
        yield f"from {binding.source!r}: expected '#component.capability'"
    if giver == GATEWAY and capability and capability not in _GIVES:
        yield f"from {binding.source!r}: the gateway gives {' and '.join(_GIVES)}"
    if giver == GATEWAY and not binding.weak:
        yield f"from {binding.source!r}: has to be weak, because the gateway waits for the agents"


def proxy_warning(root: Root, green: str) -> str | None:
    """A note when green has no way to the participants."""
    if any(b.target[0] == green and b.giver == (GATEWAY, "proxy") for b in root.bindings):
        return None
    return f"no binding from #{GATEWAY}.proxy to #{green}.proxy: green may not reach the participants"


def checked_part(config: GatewayConfig) -> dict[str, object]:
    """The assessment config without the keys that Amber fills in later."""
    return {
        name: value
        for name, value in config.assessment_config.items()
        if not any("${" in text for _, text in strings(value))
    }


def published_secrets(root: Root) -> Iterator[str]:
    """Secrets that are passed to the gateway."""
    secret = {found.path for found in properties(root.config_schema) if found.secret}
    told = root.components[GATEWAY].config if GATEWAY in root.components else {}
    for path in dict.fromkeys(config_paths(told)):
        if any(name == path or name.startswith(f"{path}.") for name in secret):
            yield (
                f"components.{GATEWAY}.config: ${{config.{path}}} is a secret, and this config is published with the "
                "results: pass it to the agent that needs it"
            )


def slots_in_order(bound: Sequence[str]) -> list[str]:
    """Green first, then the participants by number."""
    return [slot for slot in (GREEN_SLOT, *PURPLE_SLOTS) if slot in bound]
