"""What a tool is: validated arguments in, a result with units out.

A tool computes or says why it cannot; limits of time and size and the log belong to `toolbox.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue


class Arguments(BaseModel):
    """Arguments of a tool. Unknown names are errors that the model reads and can mend."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Result(BaseModel):
    """What a tool found; each field carries its `Unit`. None means unbounded or undefined, as the unit says."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    @classmethod
    def units(cls) -> dict[str, str]:
        """Unit by field name."""
        return {
            name: mark.text
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Unit)
        }


@dataclass(frozen=True, slots=True)
class Unit:
    """Annotation of a result field: what its number counts."""

    text: str


class ToolError(Exception):
    """The tool cannot do what was asked. The model reads `kind` and the text and may try again."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool(Generic[A]):
    """One tool. `run` raises ToolError; anything else it raises is a defect of the tool."""

    name: str
    description: str
    arguments: type[A]
    result: type[Result]
    run: Callable[[A], Awaitable[Result]]
    time_limit_s: float = 30.0
    """Wall seconds until the model is told that the tool took too long."""
    schema: Mapping[str, JsonValue] | None = None
    """JSON schema of the arguments of a tool that others serve; None: that of `arguments`."""

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """JSON schema of the arguments, without `$ref`: not every engine's tool grammar follows references."""
        if self.schema is not None:
            return dict(self.schema)
        schema = self.arguments.model_json_schema()
        definitions = schema.pop("$defs", {})
        inlined: dict[str, JsonValue] = _inline(schema, definitions)
        return inlined


AnyTool = Tool[Any]
"""A tool among others: each has arguments of its own."""


def formula(
    *, name: str, description: str, arguments: type[A], result: type[Result], compute: Callable[[A], Result]
) -> AnyTool:
    """A tool that is a function of its arguments, computed off the event loop.

    `compute` raises ToolError; the errors that arithmetic raises, and QuantLib's RuntimeError, mean `cannot_compute`.
    """

    async def run(values: A) -> Result:
        try:
            return await asyncio.to_thread(compute, values)
        except (ValueError, ArithmeticError, RuntimeError) as error:
            raise ToolError("cannot_compute", str(error)) from error

    return Tool(name=name, description=description, arguments=arguments, result=result, run=run)


def _inline(node: Any, definitions: Mapping[str, Any]) -> Any:
    """`node` with each reference replaced by its definition and without the titles pydantic adds."""
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        node = target | {key: value for key, value in node.items() if key != "$ref"}
    return {
        key: _inline(value, definitions)
        for key, value in node.items()
        if not (key == "title" and isinstance(value, str))
    }
