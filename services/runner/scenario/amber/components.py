"""Checks one component: what its own manifest says, and what the root passes to it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from services.runner.scenario.agents import IMAGE
from services.runner.scenario.amber.manifest import Child, Component, Program
from services.runner.scenario.amber.schema import (
    config_paths,
    default_of,
    interpolation_faults,
    known_names,
    leads_somewhere,
    literal_secrets,
    properties,
    required_names,
    schema_faults,
)

CAPABILITY: Final = "a2a"
_TARGETS: Final = (CAPABILITY, f"provides.{CAPABILITY}", f"self.{CAPABILITY}")


def agent_faults(manifest: Component) -> Iterator[str]:
    """What an agent's manifest lacks."""
    program = manifest.program
    if program is None or program.image is None:
        yield "program.image: an image is needed"
    elif "${" not in program.image and (len(program.image) > 255 or not IMAGE.fullmatch(program.image)):
        yield f"program.image: expected an image reference [host[:port]/]path[:tag][@sha256:digest], got {program.image!r}"
    provided = manifest.provides.get(CAPABILITY)
    if provided is None:
        yield f"provides.{CAPABILITY}: missing"
    elif provided.kind != CAPABILITY:
        yield f"provides.{CAPABILITY}.kind: expected {CAPABILITY!r}, got {provided.kind!r}"
    if manifest.exports.get(CAPABILITY) not in _TARGETS:
        yield f"exports.{CAPABILITY}: expected 'provides.{CAPABILITY}', got {manifest.exports.get(CAPABILITY)!r}"
    if program is not None and provided is not None:
        yield from _listening_faults(program, provided.endpoint)


def _listening_faults(program: Program, endpoint: str) -> Iterator[str]:
    ports = {each.name: each.port for each in program.network.endpoints}
    if endpoint not in ports:
        yield f"provides.{CAPABILITY}.endpoint: program.network has no endpoint {endpoint!r}"
    if program.entrypoint is None:
        yield "program.entrypoint: a command is needed, because Amber replaces the image's"
        return
    try:
        words = _words(program.entrypoint)
    except ValueError as error:
        yield f"program.entrypoint: {error}"
        return
    if not words:
        yield "program.entrypoint: a command is needed, because Amber replaces the image's"
    elif _option(words, "--host") != "0.0.0.0":  # noqa: S104 - containers listen on all interfaces
        yield "program.entrypoint: --host 0.0.0.0 is missing: the agent would not be reached from outside its container"
    if endpoint in ports and str(ports[endpoint]) not in {word.rpartition("=")[2] for word in words}:
        yield f"program.entrypoint: does not name the port {ports[endpoint]} of the endpoint {endpoint!r}"


def _words(entrypoint: str | list[JsonValue]) -> list[str]:
    """The command line; of conditional items, the words that they may add. Raises ValueError."""
    if isinstance(entrypoint, str):
        return shlex.split(entrypoint)
    words: list[str] = []
    for item in entrypoint:
        given = item.get("argv") or item.get("arg") or "" if isinstance(item, dict) else item
        if isinstance(given, dict | int | float) or given is None:
            raise ValueError("expected a text or a list of texts")
        words += _words(given) if isinstance(given, list) or isinstance(item, dict) else [given]
    return words


def _option(words: list[str], name: str) -> str | None:
    for number, word in enumerate(words):
        if word == name:
            return words[number + 1] if number + 1 < len(words) else None
        if word.startswith(f"{name}="):
            return word.removeprefix(f"{name}=")
    return None


def config_faults(manifest: Component, child: Child) -> Iterator[str]:
    """Config that the component asks for and does not get, or gets and does not know."""
    schema, program = manifest.config_schema, _program_values(manifest)
    if schema is not None:
        yield from schema_faults(schema)
    yield from (f"program.{fault}" for fault in interpolation_faults(program, sources=("config", "slots", "item")))
    for path in dict.fromkeys(config_paths(program)):
        if not leads_somewhere(schema, path):
            yield f"${{config.{path}}}: not in its config_schema"
            continue
        name = path.partition(".")[0]
        if name not in child.config and default_of(schema, name) is None:
            yield f"${{config.{path}}}: not passed down in the config of the component"
    used = {path.partition(".")[0] for path in config_paths(program)}
    for name in required_names(schema):
        if name not in child.config and name not in used:
            yield f"config_schema.{name}: required and not passed down in the config of the component"
    if schema is None or schema.get("additionalProperties") is False:
        for name in sorted(set(child.config) - set(known_names(schema))):
            yield f"config {name!r} is passed down and not in its config_schema"


def secret_faults(manifest: Component) -> Iterator[str]:
    """Secrets in the manifest itself. Their values are not repeated."""
    remedy = "holds a secret: take it from ${config.x}, a property with secret: true"
    yield from (f"program.{path}: {remedy}" for path in literal_secrets(_program_values(manifest)))
    yield from (f"config_schema: {path}" for path in default_secrets(manifest.config_schema))


def default_secrets(schema: dict[str, JsonValue] | None) -> Iterator[str]:
    """Secret properties of a schema whose default says the secret."""
    secret = {found.path for found in properties(schema) if found.secret}
    for name in known_names(schema):
        default = default_of(schema, name)
        if default is None:
            continue
        if any(literal_secrets({name: default}, secret=frozenset(secret))):
            yield f"the default of {name} is a secret"


def secret_names(manifest: Component | None) -> frozenset[str]:
    """Properties at the top of which the schema says that they are secret."""
    schema = None if manifest is None else manifest.config_schema
    return frozenset(found.path.partition(".")[0] for found in properties(schema) if found.secret)


def unfilled_slots(manifest: Component, filled: set[str]) -> list[str]:
    """Slots that need a binding and have none."""
    return [name for name, slot in manifest.slots.items() if not slot.optional and name not in filled]


def _program_values(manifest: Component) -> JsonValue:
    if manifest.program is None:
        return {}
    values: JsonValue = json.loads(manifest.program.model_dump_json(include={"image", "entrypoint", "env"}))
    return values
