"""Instances of JSON schemas: the smallest valid one, or one whose values a judge decides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.inference.reference_engine.exchange import Schema

MAX_DEPTH: Final = 12
"""A schema that refers to itself without end is cut off here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Filler:
    """Chooses the leaves. The default takes the least of everything."""

    positive: bool = False
    share: float = 0.0
    """Where numbers lie between their bounds, 0..1."""
    text: str = ""
    wanted: tuple[str, ...] = ()
    """Enum values to prefer, first match wins."""
    ids: tuple[str, ...] = ()
    """One item per id in arrays of objects that have the property `id`; these ids as items in arrays of strings."""
    optional: bool = False
    """Fill properties that are not required too."""


LEAST: Final = Filler()


def instance(schema: Schema, filler: Filler = LEAST) -> JsonValue:
    """A value that conforms to the schema, for the usual keywords of structured output."""
    return _value(schema, filler, schema, 0)


def _value(schema: Schema, filler: Filler, root: Schema, depth: int) -> JsonValue:
    schema = _resolved(schema, root)
    if depth > MAX_DEPTH:
        return None
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return _chosen(choices, filler)
    kind = _kind(schema)
    if kind == "object":
        return _object(schema, filler, root, depth)
    if kind == "array":
        return _array(schema, filler, root, depth)
    if kind in {"number", "integer"}:
        return _number(schema, filler, integer=kind == "integer")
    return {"string": _text(schema, filler), "boolean": filler.positive}.get(kind)


def _resolved(schema: Schema, root: Schema) -> Schema:
    """The schema behind `$ref`, the first of `anyOf` or `oneOf`, the sum of `allOf`."""
    for _ in range(MAX_DEPTH):
        if isinstance(reference := schema.get("$ref"), str):
            schema = _target(reference, root)
        elif isinstance(several := schema.get("anyOf") or schema.get("oneOf"), list) and several:
            schema = _object_of(next((one for one in several if one != {"type": "null"}), several[0]))
        elif isinstance(all_of := schema.get("allOf"), list):
            merged: dict[str, JsonValue] = {}
            for part in all_of:
                merged |= _resolved(_object_of(part), root)
            schema = merged | {key: value for key, value in schema.items() if key != "allOf"}
        else:
            break
    return schema


def _target(reference: str, root: Schema) -> Schema:
    node: JsonValue = dict(root)
    for name in reference.removeprefix("#").split("/"):
        if name:
            node = _object_of(node).get(name.replace("~1", "/").replace("~0", "~"))
    return _object_of(node)


def _object_of(node: JsonValue) -> Schema:
    return node if isinstance(node, Mapping) else {}


def _kind(schema: Schema) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def _object(schema: Schema, filler: Filler, root: Schema, depth: int) -> JsonValue:
    properties = _object_of(schema.get("properties"))
    required = schema.get("required")
    names = list(properties) if filler.optional or not isinstance(required, list) else [str(name) for name in required]
    return {name: _value(_object_of(properties.get(name)), filler, root, depth + 1) for name in names}


def _array(schema: Schema, filler: Filler, root: Schema, depth: int) -> JsonValue:
    items = _resolved(_object_of(schema.get("items")), root)
    if filler.ids and "id" in _object_of(items.get("properties")):
        made = [_value(items, filler, root, depth + 1) for _ in filler.ids]
        return [one | {"id": id_} if isinstance(one, dict) else one for one, id_ in zip(made, filler.ids, strict=True)]
    least = schema.get("minItems")
    return [_value(items, filler, root, depth + 1) for _ in range(least if isinstance(least, int) else 0)]


def _number(schema: Schema, filler: Filler, *, integer: bool) -> JsonValue:
    """`minimum + share x range`, whole for integers; a range that is open above counts as one."""
    low = _bound(schema, "minimum", "exclusiveMinimum", 1 if integer else 1e-9)
    high = _bound(schema, "maximum", "exclusiveMaximum", -1 if integer else -1e-9)
    if low is None:
        low = min(0, high) if high is not None else 0
    added = filler.share * (1 if high is None else high - low)
    return math.ceil(low) + math.floor(added) if integer else low + added


def _bound(schema: Schema, inclusive: str, exclusive: str, step: float) -> float | None:
    if isinstance(bound := schema.get(inclusive), int | float):
        return bound
    if isinstance(bound := schema.get(exclusive), int | float):
        return bound + step
    return None


def _text(schema: Schema, filler: Filler) -> JsonValue:
    text = filler.text
    if isinstance(most := schema.get("maxLength"), int):
        text = text[:most]
    least = schema.get("minLength")
    return text.ljust(least, ".") if isinstance(least, int) else text


def _chosen(choices: Sequence[JsonValue], filler: Filler) -> JsonValue:
    by_name = {str(choice).lower(): choice for choice in reversed(choices)}
    return next((by_name[name] for name in filler.wanted if name in by_name), choices[0])
