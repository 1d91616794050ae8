"""Config of Amber: schemas of properties, and the references `${config.x}` that lead to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.contract.secrets import HARMLESS_VALUES, MASK, SECRET_NAME, redact

Schema = Mapping[str, JsonValue]
PROPERTY: Final = re.compile(r"(?!.*__)[a-z][a-z0-9_]*")
_INTERPOLATION: Final = re.compile(r"\$\{([^}]*)(\}?)")
_UNSUPPORTED: Final = frozenset(
    {"anyOf", "oneOf", "not", "if", "then", "else", "patternProperties", "propertyNames", "dependentSchemas"}
    | {"dependentRequired", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Property:
    """A value that a schema asks for."""

    path: str
    """Names joined by dots."""
    secret: bool
    required: bool
    """It has to be given: no part of its path is optional, and there is no default."""

    @property
    def variable(self) -> str:
        """The variable from which Amber takes it for the root."""
        return f"AMBER_CONFIG_{self.path.replace('.', '__').upper()}"


def schema_faults(schema: Schema, where: str = "config_schema") -> Iterator[str]:
    """What Amber would refuse in a schema."""
    if schema.get("type") != "object" and where == "config_schema":
        yield f"{where}: type has to be 'object'"
    for keyword in sorted(_UNSUPPORTED & set(schema)):
        yield f"{where}: Amber does not know the keyword {keyword}"
    if not isinstance(schema.get("additionalProperties", True), bool):
        yield f"{where}: additionalProperties has to be true or false"
    for key in ("properties", "required"):
        if not isinstance(schema.get(key, {} if key == "properties" else []), dict if key == "properties" else list):
            yield f"{where}.{key}: expected {'an object' if key == 'properties' else 'a list'}"
    for name, node in _children(schema).items():
        if not PROPERTY.fullmatch(name):
            yield f"{where}.{name}: a property begins with a-z and holds a-z, 0-9 and single _ only"
        if isinstance(node, dict):
            yield from schema_faults(node, f"{where}.{name}")
        else:
            yield f"{where}.{name}: expected an object"
    yield from (f"{where}: {name!r} is required but no property" for name in _required(schema) - set(_children(schema)))


def properties(schema: Schema | None, *, secret: bool = False, required: bool = True) -> Iterator[Property]:
    """The leaves of a schema."""
    yield from _leaves(schema or {}, (), secret=secret, required=required)


def _leaves(schema: Schema, path: tuple[str, ...], *, secret: bool, required: bool) -> Iterator[Property]:
    children = _children(schema)
    if path and not children:
        yield Property(path=".".join(path), secret=secret, required=required)
    for name, node in children.items():
        if isinstance(node, dict):
            needed = required and name in _required(schema) and "default" not in node
            yield from _leaves(node, (*path, name), secret=secret or node.get("secret") is True, required=needed)


def leads_somewhere(schema: Schema | None, path: str) -> bool:
    """Whether a schema has a property of this path, or cannot tell: `$ref`, or an object of any properties."""
    node: JsonValue = dict(schema or {})
    for depth, name in enumerate(path.split(".")):
        if not isinstance(node, dict):
            return False
        open_object = depth > 0 and node.get("type") == "object" and not _children(node)
        if "$ref" in node or open_object:
            return True
        node = _children(node).get(name)
    return node is not None


def default_of(schema: Schema | None, name: str) -> JsonValue:
    """Default of a property at the top, None when it has none."""
    node = _children(schema or {}).get(name)
    return node.get("default") if isinstance(node, dict) else None


def required_names(schema: Schema | None) -> list[str]:
    """Properties at the top that have to be given."""
    return sorted(name for name in _required(schema or {}) if default_of(schema, name) is None)


def known_names(schema: Schema | None) -> tuple[str, ...]:
    """Properties at the top."""
    return tuple(_children(schema or {}))


def config_paths(value: JsonValue) -> Iterator[str]:
    """Every path that `${config.path}` in a value asks for."""
    for _, text in strings(value):
        for match in _INTERPOLATION.finditer(text):
            if match[1].startswith("config."):
                yield match[1].removeprefix("config.")


def interpolation_faults(value: JsonValue, *, sources: tuple[str, ...]) -> Iterator[str]:
    """References that Amber cannot read. `sources` are the words that may begin one."""
    for path, text in strings(value):
        for match in _INTERPOLATION.finditer(text):
            begin = match[1].partition(".")[0]
            if not match[2]:
                yield f"{path}: a reference is not closed by a brace"
            elif begin not in sources:
                hint = f"; did you mean ${{config.{begin.lower()}}}?" if PROPERTY.fullmatch(begin.lower()) else ""
                yield f"{path}: ${{{match[1]}}} is no reference of Amber here{hint}"


def strings(value: JsonValue, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text of a value with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from strings(item, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from strings(item, f"{path}.{number}".lstrip("."))


def literal_secrets(value: JsonValue, *, secret: frozenset[str] = frozenset()) -> Iterator[str]:
    """Paths of texts that are secrets themselves: by their own name, by `secret` names at the top, or by their shape."""
    for path, text in strings(value):
        names = path.split(".")
        named = SECRET_NAME.search(names[-1]) is not None or names[0] in secret
        if MASK in redact(text) or (named and "${" not in text and text not in HARMLESS_VALUES):
            yield path


def _children(schema: Schema) -> dict[str, JsonValue]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def _required(schema: Schema) -> set[str]:
    found = schema.get("required")
    return {name for name in found if isinstance(name, str)} if isinstance(found, list) else set()
