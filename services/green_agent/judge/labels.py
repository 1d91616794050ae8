"""Labels of people, to compare a judge with: JSON Lines, one verdict a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

DEFAULT_INSTRUCTIONS = "Judge the answer to the question."


class LabelsError(Exception):
    """The labels cannot be used. The text lists the lines at fault."""


class Label(BaseModel):
    """One verdict of a person: `met` for a criterion, `score` for a scale."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    task_id: str
    criterion_id: str
    """Id of the criterion, or name of the scale."""
    answer: str
    met: bool | None = None
    score: int | None = None
    criterion: str = Field(min_length=1)
    """Text of the criterion, or what the values of the scale mean."""
    lowest: int = 0
    highest: int = 25
    question: str = ""
    references: tuple[str, ...] = ()
    instructions: str = DEFAULT_INSTRUCTIONS
    """What the judge is told before the criteria."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Label:
        if (self.met is None) is (self.score is None):
            raise ValueError("expected met (true or false) or score (an integer), one of them")
        if self.score is not None and not self.lowest <= self.score <= self.highest:
            raise ValueError(f"expected a score from {self.lowest} to {self.highest}, got {self.score}")
        return self


def read_labels(labels: Path, criteria: Path | None) -> tuple[Label, ...]:
    """The labels of a file. Texts of criteria, questions and references may come from a second one.

    Lines of both are joined by `task_id` and `criterion_id`; the label's own words win. Raises LabelsError.
    """
    faults: list[str] = []
    shared = {} if criteria is None else _by_id(criteria, faults)
    found = []
    for number, row in _rows(labels, faults):
        merged = shared.get((str(row.get("task_id")), str(row.get("criterion_id"))), {}) | row
        try:
            found.append(Label.model_validate(merged))
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            faults.append(f"{labels.name}:{number}: {told.removeprefix(': ')}")
    if not found and not faults:
        faults.append(f"{labels.name}: no label in it")
    if faults:
        raise LabelsError("\n".join(faults[:20]))
    return tuple(found)


def _by_id(path: Path, faults: list[str]) -> dict[tuple[str, str], dict[str, JsonValue]]:
    return {(str(row.get("task_id")), str(row.get("criterion_id"))): row for _, row in _rows(path, faults)}


def _rows(path: Path, faults: list[str]) -> Iterable[tuple[int, dict[str, JsonValue]]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a text may hold other ends of lines
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{path.name}: cannot be read ({error})")
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            faults.append(f"{path.name}:{number}: not JSON ({error})")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            faults.append(f"{path.name}:{number}: expected an object, got {type(row).__name__}")
