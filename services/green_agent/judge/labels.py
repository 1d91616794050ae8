"""Labels of people, to compare a judge with: JSON Lines, one verdict a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from services.green_agent.judge.asking import SHORT_REASON, Case, Material, Scale

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
    permitted: tuple[int, ...] = ()
    """The only values of the scale that the judge may give; empty: all from lowest to highest."""
    reason_chars: int = Field(default=SHORT_REASON, ge=1)
    """Characters of the reason for a number."""

    @model_validator(mode="after")
    def _says_one_thing(self) -> Label:
        if (self.met is None) is (self.score is None):
            raise ValueError("expected met (true or false) or score (an integer), one of them")
        if self.score is not None and not self.lowest <= self.score <= self.highest:
            raise ValueError(f"expected a score from {self.lowest} to {self.highest}, got {self.score}")
        if self.score is not None:
            _ = self.scale
        return self

    @property
    def case(self) -> Case:
        """What the judge reads."""
        question = (Material(name="question", text=self.question, role="question"),) if self.question else ()
        references = tuple(
            Material(name=f"reference {number}", text=text, role="reference")
            for number, text in enumerate(self.references, start=1)
        )
        answer = Material(name="answer", text=self.answer, role="answer")
        return Case(instructions=self.instructions, materials=(*question, *references, answer))

    @property
    def scale(self) -> Scale:
        """What it rates the answer on, where people gave a number."""
        return Scale(
            name=self.criterion_id,
            lowest=self.lowest,
            highest=self.highest,
            anchors=self.criterion,
            permitted=self.permitted,
            reason_chars=self.reason_chars,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Grade:
    """A name for a range of values."""

    name: str
    lowest: int
    highest: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GradedSet:
    """People's points for answers, all on one scale, from a data set."""

    name: str
    """Of the data set, with the digest of the words that ask for the points."""
    labels: tuple[Label, ...]
    """One an answer; `task_id` is the problem, whose answers stand and fall together."""
    grades: tuple[Grade, ...]
    """From the lowest on; together they cover the scale."""
    origin: str
    noticed: tuple[str, ...] = ()
    """What its rows say that does not fit together."""

    def grade(self, value: float) -> str:
        """The grade of a value; what lies between two whole numbers, as a panel's median may, counts as the lower."""
        return next(grade.name for grade in reversed(self.grades) if grade.lowest <= value)


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
