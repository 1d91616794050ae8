"""Amber scenarios, read and checked: the root and the components beside it (interop specification 5, form C)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import JsonValue

from services.contract.assessment import nearest
from services.runner.failures import ScenarioError
from services.runner.scenario.amber import components, gateway, manifest, schema
from services.runner.scenario.amber.document import read_document
from services.runner.scenario.model import config_faults


@dataclass(frozen=True, kw_only=True, slots=True)
class AmberAgent:
    """An agent of an Amber scenario."""

    role: str
    component: str
    slot: str
    """`green`, or `purple1` to `purple5`."""
    manifest: str
    """As the root names it."""
    image: str | None
    """None: the manifest is elsewhere and was not fetched."""
    agentbeats_id: str
    """Empty: not filled in yet."""
    properties: tuple[schema.Property, ...]
    """Config that it asks for; empty as well where the manifest was not fetched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AmberScenario:
    """A checked scenario."""

    path: Path
    agents: tuple[AmberAgent, ...]
    """Green first, then the participants in the order of their slots."""
    config: dict[str, JsonValue]
    """The assessment config."""
    properties: tuple[schema.Property, ...]
    """What the root asks for; `variable` of each says where Amber takes it from."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    path: Path
    any_config: bool
    allow_literal_secrets: bool
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    manifests: dict[str, manifest.Component | None] = field(default_factory=dict)
    """By the name in the root; None: not read."""

    def fault(self, *texts: str, path: Path | None = None) -> None:
        self.faults.extend(f"{path or self.path}: {text}" for text in texts)

    def warn(self, *texts: str, path: Path | None = None) -> None:
        self.warnings.extend(f"{path or self.path}: {text}" for text in texts)

    def read(self) -> AmberScenario:
        raw = read_document(self.path)
        self._unknown_keys(raw, self.path)
        found: list[str] = []
        root = manifest.parse(manifest.Root, raw, found)
        if root is None:
            self.fault(*found)
            raise ScenarioError(*self.faults)
        told = gateway.read_gateway(root, found)
        self.fault(*found, *gateway.binding_faults(root), *_config_of_root(root))
        bound = gateway.bound_slots(root)
        for name, child in root.components.items():
            if name != gateway.GATEWAY:
                self._component(name, child, root, agent=name in bound.values())
        self._secrets(root)
        if told is not None and not self.faults:
            self._assessment(told)
        if self.faults or told is None:
            raise ScenarioError(*self.faults)
        self._warn_of(root, told, bound)
        return AmberScenario(
            path=self.path,
            agents=tuple(self._agent(slot, root, told, bound) for slot in gateway.slots_in_order(list(bound))),
            config=told.assessment_config,
            properties=tuple(schema.properties(root.config_schema)),
            warnings=tuple(self.warnings),
        )

    def _unknown_keys(self, raw: dict[str, JsonValue], path: Path) -> None:
        for key in raw:
            if key not in manifest.KNOWN_KEYS:
                self.warn(f"{key}: Amber ignores this key{nearest(key, manifest.KNOWN_KEYS)}", path=path)

    def _component(self, name: str, child: manifest.Child, root: manifest.Root, *, agent: bool) -> None:
        where, found = f"components.{name}", self._manifest(name, child)
        if found is None:
            return
        path = self.path.parent / child.url
        if agent:
            self.fault(*components.agent_faults(found), path=path)
        self.fault(*(f"{where}: {child.url}: {fault}" for fault in components.config_faults(found, child)))
        if not self.allow_literal_secrets:
            self.fault(*components.secret_faults(found), path=path)
        filled = {binding.target[1] for binding in root.bindings if binding.target[0] == name}
        self.fault(*(f"{where}: slot {slot!r} is not bound" for slot in components.unfilled_slots(found, filled)))
        self.fault(*(f"bindings: {name} has no slot {slot!r}" for slot in sorted(filled - set(found.slots))))
        givers = {binding.giver[1] for binding in root.bindings if binding.giver and binding.giver[0] == name}
        self.fault(*(f"bindings: {name} does not export {given!r}" for given in sorted(givers - set(found.exports))))

    def _manifest(self, name: str, child: manifest.Child) -> manifest.Component | None:
        """The component's manifest, None when it is elsewhere or wrong. One file is read once."""
        if child.url not in self.manifests:
            self.manifests[child.url] = self._read_manifest(name, child)
        return self.manifests[child.url]

    def _read_manifest(self, name: str, child: manifest.Child) -> manifest.Component | None:
        if urlsplit(child.url).scheme or Path(child.url).is_absolute():
            self.warn(f"components.{name}: the manifest {child.url} was not fetched and not checked")
            return None
        path = self.path.parent / child.url
        try:
            raw = read_document(path)
        except ScenarioError as error:
            self.faults.extend(error.faults)
            return None
        self._unknown_keys(raw, path)
        found: list[str] = []
        component = manifest.parse(manifest.Component, raw, found)
        self.fault(*found, path=path)
        return component

    def _secrets(self, root: manifest.Root) -> None:
        if self.allow_literal_secrets:
            return
        self.fault(*gateway.published_secrets(root))
        for name, child in root.components.items():
            secret = components.secret_names(self.manifests.get(child.url))
            for path in schema.literal_secrets(child.config, secret=secret):
                self.fault(f"components.{name}.config.{path}: holds a secret: take it from ${{config.x}}")
        self.fault(*(f"config_schema: {text}" for text in components.default_secrets(root.config_schema)))

    def _assessment(self, told: manifest.GatewayConfig) -> None:
        """All participants are in one request, so green has to be told which one it examines."""
        if self.any_config:
            return
        roles = [role for slot, role in told.participant_roles.items() if slot != gateway.GREEN_SLOT]
        self.fault(*(f"assessment_{fault}" for fault in config_faults(gateway.checked_part(told), roles)))
        if len(roles) > 1 and "purple_role" not in told.assessment_config:
            self.fault(f"assessment_config: several participants ({', '.join(roles)}): name one in purple_role")

    def _warn_of(self, root: manifest.Root, told: manifest.GatewayConfig, bound: dict[str, str]) -> None:
        ids = root.metadata.agentbeats_ids
        passed = {path for child in root.components.values() for path in schema.config_paths(child.config)}
        used = {path.partition(".")[0] for path in passed}
        notes = [
            gateway.pin_warning(root.components[gateway.GATEWAY]),
            gateway.proxy_warning(root, bound[gateway.GREEN_SLOT]),
            *(
                f"metadata.agentbeats_ids.{role}: not filled in"
                for role in told.participant_roles.values()
                if ids[role] == ""
            ),
            *(
                f"config_schema.{name}: not passed to any component"
                for name in schema.known_names(root.config_schema)
                if name not in used
            ),
        ]
        self.warn(*(note for note in notes if note is not None))

    def _agent(self, slot: str, root: manifest.Root, told: manifest.GatewayConfig, bound: dict[str, str]) -> AmberAgent:
        name, role = bound[slot], told.participant_roles[slot]
        child = root.components[name]
        found = self.manifests[child.url]
        return AmberAgent(
            role=role,
            component=name,
            slot=slot,
            manifest=child.url,
            image=None if found is None or found.program is None else found.program.image,
            agentbeats_id=str(root.metadata.agentbeats_ids[role]),
            properties=() if found is None else tuple(schema.properties(found.config_schema)),
        )


def read_amber(path: Path, *, any_config: bool = False, allow_literal_secrets: bool = False) -> AmberScenario:
    """Read and check `scenario.json5` and the components beside it; manifests elsewhere are not fetched.

    `any_config` leaves the assessment config unchecked, for a green agent that is not ours. Raises ScenarioError with
    every fault of every file.
    """
    return _Reader(path=path, any_config=any_config, allow_literal_secrets=allow_literal_secrets).read()


def _config_of_root(root: manifest.Root) -> Iterator[str]:
    if root.config_schema is not None:
        yield from schema.schema_faults(root.config_schema)
    for name, child in root.components.items():
        where = f"components.{name}.config"
        yield from (f"{where}.{fault}" for fault in schema.interpolation_faults(child.config, sources=("config",)))
        for path in dict.fromkeys(schema.config_paths(child.config)):
            if not schema.leads_somewhere(root.config_schema, path):
                yield f"{where}: ${{config.{path}}} is not in the config_schema of the scenario"
