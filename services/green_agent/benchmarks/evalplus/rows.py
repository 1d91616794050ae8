"""Rows of EvalPlus as published: what they must hold, and the proof that their inputs are those of their asserts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from services.contract.values import encode
from services.green_agent.benchmarks.evalplus.shapes import arguments, written_arguments


def _inputs(value: object) -> object:
    """Mbpp/793 has an empty object where it has no further inputs."""
    return [] if value == {} else value


Inputs = Annotated[list[list[JsonValue]], BeforeValidator(_inputs)]
"""Positional arguments of one call each, as JSON has them."""


class PlusRow(BaseModel):
    """What both data sets publish; fields beyond these are kept in the digest."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    prompt: str = Field(min_length=1)
    entry_point: str = Field(pattern=r"^[A-Za-z_]\w*$")
    canonical_solution: str = Field(min_length=1)
    """Body of the prompt's function (HumanEval+), or a program (MBPP+)."""
    base_input: Inputs = Field(min_length=1)
    """Inputs of the original tests."""
    plus_input: Inputs
    """Inputs that EvalPlus added."""
    atol: float = Field(ge=0, allow_inf_nan=False)
    """Absolute tolerance of numbers; 0: the usual one, for floats."""
    contract: str
    """Asserts on arguments that a call must meet; all published inputs do."""


class HumanEvalPlusRow(PlusRow):
    """One row of HumanEval+."""

    task_id: str = Field(pattern=r"^HumanEval/\d+$")
    test: str = ""
    """The original test."""


class MbppPlusRow(PlusRow):
    """One row of MBPP+."""

    task_id: str = Field(pattern=r"^Mbpp/\d+$")
    assertion: str = Field(min_length=1)
    """The original asserts."""


def restored(row: HumanEvalPlusRow | MbppPlusRow) -> tuple[list[list[Any]], list[list[Any]]]:
    """Base and plus inputs with the argument shapes that JSON lacks."""
    base, plus = ([arguments(row.task_id, given) for given in inputs] for inputs in (row.base_input, row.plus_input))
    return base, plus


def strangers(row: HumanEvalPlusRow | MbppPlusRow) -> Iterator[list[Any]]:
    """Literal arguments of the row's own asserts that are not among its restored base inputs, types included."""
    test, callee = (row.assertion, row.entry_point) if isinstance(row, MbppPlusRow) else (row.test, "candidate")
    base = [encode(given) for given in restored(row)[0]]
    for written in written_arguments(test, callee=callee):
        if encode(written) not in base:
            yield written
