"""Does a value conform to a JSON schema? The keywords that structured output uses, no others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from pydantic import JsonValue

Schema = Mapping[str, JsonValue]

MAX_DEPTH: Final = 64
"""Nesting of a value beyond which it conforms to nothing."""


def conforms(value: JsonValue, schema: Schema) -> bool:
    """True when the value satisfies every known keyword of the schema; unknown keywords are not checked."""
    return _conforms(value, dict(schema), schema, 0)


def _conforms(value: JsonValue, schema: JsonValue, root: Schema, depth: int) -> bool:
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return False
    if isinstance(reference := schema.get("$ref"), str) and not _conforms(
        value, _target(reference, root), root, depth + 1
    ):
        return False
    kinds = schema.get("type", [])
    if kinds and not any(_is_a(value, kind) for kind in (kinds if isinstance(kinds, list) else [kinds])):
        return False
    if "const" in schema and not _equal(value, schema["const"]):
        return False
    if isinstance(choices := schema.get("enum"), list) and not any(_equal(value, choice) for choice in choices):
        return False
    return _combines(value, schema, root, depth) and _inside(value, schema, root, depth) and _bounded(value, schema)


def _target(reference: str, root: Schema) -> JsonValue:
    node: JsonValue = dict(root)
    for name in filter(None, reference.removeprefix("#").split("/")):
        node = node.get(name.replace("~1", "/").replace("~0", "~"), False) if isinstance(node, Mapping) else False
    return node


_KINDS: Final[Mapping[str, Callable[[JsonValue], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (
        not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    ),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, Mapping),
}


def _is_a(value: JsonValue, kind: JsonValue) -> bool:
    return isinstance(kind, str) and kind in _KINDS and _KINDS[kind](value)


def _equal(value: JsonValue, other: JsonValue) -> bool:
    """True is not 1 in JSON."""
    return isinstance(value, bool) is isinstance(other, bool) and value == other


def _combines(value: JsonValue, schema: Schema, root: Schema, depth: int) -> bool:
    def matches(keyword: str) -> list[bool] | None:
        several = schema.get(keyword)
        return [_conforms(value, one, root, depth + 1) for one in several] if isinstance(several, list) else None

    all_of, any_of, one_of = matches("allOf"), matches("anyOf"), matches("oneOf")
    return (
        (all_of is None or all(all_of))
        and (any_of is None or any(any_of))
        and (one_of is None or one_of.count(True) == 1)
    )


def _inside(value: JsonValue, schema: Schema, root: Schema, depth: int) -> bool:
    if isinstance(value, list):
        items = schema.get("items", True)
        return all(_conforms(item, items, root, depth + 1) for item in value)
    if not isinstance(value, Mapping):
        return True
    properties, required = schema.get("properties"), schema.get("required")
    known = properties if isinstance(properties, Mapping) else {}
    if isinstance(required, list) and any(name not in value for name in required):
        return False
    other = schema.get("additionalProperties", True)
    return all(_conforms(item, known.get(name, other), root, depth + 1) for name, item in value.items())


def _bounded(value: JsonValue, schema: Schema) -> bool:
    if isinstance(value, str):
        pattern = schema.get("pattern")
        return _within(len(value), schema, "minLength", "maxLength") and (
            not isinstance(pattern, str) or re.search(pattern, value) is not None
        )
    if isinstance(value, list):
        return _within(len(value), schema, "minItems", "maxItems")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return True
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    return (
        _within(value, schema, "minimum", "maximum")
        and (not isinstance(low, int | float) or value > low)
        and (not isinstance(high, int | float) or value < high)
    )


def _within(size: float, schema: Schema, least: str, most: str) -> bool:
    low, high = schema.get(least), schema.get(most)
    return (not isinstance(low, int | float) or size >= low) and (not isinstance(high, int | float) or size <= high)
