"""A YAML file as plain values, with the line of every key, so that a fault found later can say where.

Stricter than YAML: duplicate keys, keys that are no text, and files that unfold without end are faults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import yaml
from pydantic import JsonValue

from services.green_agent.suites.interpolation import InterpolationError, interpolate, is_one_placeholder

KeyPath = tuple[str | int, ...]
"""Keys and places from the top of the file, for example `("datasets", 4, "evaluation")`."""

MOST_NODES: Final = 50_000
"""A file that unfolds to more, by anchors that repeat anchors, is refused."""
TAG: Final = "tag:yaml.org,2002:"
SECRET_KEYS: Final = frozenset({"api_key", "pg_password", "pg_dsn"})
"""Values under these keys are never shown and never read as anything but text."""


class DocumentError(Exception):
    """The file is not YAML. The text says where it stops being so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What a file says, and where."""

    origin: str
    """The file as it was named."""
    value: JsonValue
    lines: Mapping[KeyPath, int] = field(default_factory=dict)
    """1-based, by key path; a key's own line."""
    faults: Mapping[KeyPath, str] = field(default_factory=dict)
    """What is wrong with single keys and values, with file and line; their value is None."""

    def where(self, path: KeyPath) -> str:
        """`origin:line path`; the line of the nearest enclosing key where the key itself is absent."""
        at = next((path[:end] for end in range(len(path), -1, -1) if path[:end] in self.lines), None)
        line = "" if at is None else f":{self.lines[at]}"
        return f"{self.origin}{line}{' ' if path else ''}{dotted(path)}"

    def line_of(self, fault: str) -> int:
        """The line a fault begins with; 0 without one."""
        number = fault.removeprefix(f"{self.origin}:").partition(" ")[0].rstrip(":")
        return int(number) if number.isdecimal() else 0


def dotted(path: KeyPath) -> str:
    """`datasets[4].evaluation.trading_fee`."""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(parts).removeprefix(".")


def read_document(text: str, *, origin: str, variables: Mapping[str, str]) -> Document:
    """Read YAML and fill the placeholders of its scalar values. Raises DocumentError when it is not YAML at all."""
    try:
        # A character that YAML does not know is refused by the constructor already.
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(origin=origin, value=None, lines={(): 1})
        reading = _Reading(loader, origin, variables)
        value = reading.value(root, ())
    except (yaml.YAMLError, RecursionError) as error:
        raise DocumentError(_syntax_fault(origin, error)) from None
    return Document(origin=origin, value=value, lines=reading.lines, faults=reading.faults)


class _Reading:
    """One walk over the nodes of a file."""

    def __init__(self, loader: yaml.SafeLoader, origin: str, variables: Mapping[str, str]) -> None:
        self._loader = loader
        self._origin = origin
        self._variables = variables
        self._nodes = 0
        self.lines: dict[KeyPath, int] = {}
        self.faults: dict[KeyPath, str] = {}

    def value(self, node: yaml.Node, path: KeyPath) -> JsonValue:
        self._count(node)
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.CollectionNode) and node.tag not in {f"{TAG}map", f"{TAG}seq"}:
            self._no_value(node, path)
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, place)) for place, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, JsonValue]:
        found: dict[str, JsonValue] = {}
        for name, (key, item) in self._pairs(node, path).items():
            self.lines[*path, name] = key.start_mark.line + 1
            found[name] = self.value(item, (*path, name))
        return found

    def _pairs(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        """Keys and values, merged ones (`<<`) included; the mapping's own keys win over them, an earlier merge over a later.

        Nodes stay as they were read, since an alias may lead to them again.
        """
        own: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, item in node.value:
            self._count(key)
            if key.tag == f"{TAG}merge":
                for source in self._merged(item):
                    merged = self._pairs(source, path) | merged
            elif not isinstance(key, yaml.ScalarNode):
                self._fault((*path, "?"), key, "a key must be text")
            elif key.value in own:
                self._fault((*path, key.value), key, f"duplicate key {key.value!r}")
            else:
                own[key.value] = (key, item)
        return merged | own

    def _merged(self, node: yaml.Node) -> list[yaml.MappingNode]:
        """The mappings that `<<` names: one, or a list of them."""
        named = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not all(isinstance(source, yaml.MappingNode) for source in named):
            raise yaml.constructor.ConstructorError(
                None, None, "expected a mapping, or a list of them, after <<", node.start_mark
            )
        return list(named)

    def _count(self, node: yaml.Node) -> None:
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise yaml.constructor.ConstructorError(None, None, f"more than {MOST_NODES} values", node.start_mark)

    def _fault(self, path: KeyPath, node: yaml.Node, text: str) -> None:
        self.faults[path] = f"{self._origin}:{node.start_mark.line + 1} {dotted(path)}: {text}"

    def _scalar(self, node: yaml.Node, path: KeyPath) -> JsonValue:
        if "$" not in node.value:
            return self._constructed(node, path)
        try:
            text = interpolate(node.value, self._variables)
        except InterpolationError as error:
            self._fault(path, node, str(error))
            return None
        if not is_one_placeholder(node.value) or SECRET_KEYS.intersection(map(str, path)):
            return text
        tag = self._loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]  # PyYAML's stubs
        return self._constructed(yaml.ScalarNode(tag, text, node.start_mark, node.end_mark), path)

    def _no_value(self, node: yaml.Node, path: KeyPath) -> None:
        self._fault(path, node, f"no value of YAML type {node.tag.removeprefix(TAG)!r}")

    def _constructed(self, node: yaml.Node, path: KeyPath) -> JsonValue:
        if SECRET_KEYS.intersection(map(str, path)) and not node.tag.endswith(":null"):
            return str(node.value)
        try:
            value = self._loader.construct_object(node)
        except (ValueError, LookupError, yaml.YAMLError):
            # For example the 30th of February, `!!bool maybe`, or a tag that names a Python object.
            self._no_value(node, path)
            return None
        if value is None or isinstance(value, str | int | float | bool):
            return value
        # A date stays the text that was written: no key of a suite takes one.
        return str(node.value)


def _syntax_fault(origin: str, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{origin}:{mark.line + 1}:{mark.column + 1}" if mark is not None else origin
    return f"{where}: not valid YAML ({getattr(error, 'problem', None) or error})"
