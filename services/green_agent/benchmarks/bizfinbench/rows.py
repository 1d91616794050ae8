"""Rows of a BizFinBench.v2 file: JSON Lines of a conversation and the reference that answers it.

What cannot be asked or graded is an error that names file and line, or skipped and counted where the suite says so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.data.errors import DataError
from services.green_agent.data.rows import NumberedRow, read_jsonl

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """One turn a row scripts."""

    role: Role
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One question."""

    number: int
    """0-based line, bad ones counted too, so that skipping one renames no other."""
    said: tuple[Said, ...]
    """Up to and including the last user turn."""
    reference: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """A whole file."""

    rows: tuple[Row, ...]
    skipped: tuple[str, ...] = ()
    """Why rows were left out, each with file and line."""


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Part(_Wire):
    type: Literal["text"] = "text"
    text: JsonValue


class _Message(_Wire):
    role: Role
    content: Annotated[
        list[_Part | str] | str | int | float | dict[str, JsonValue] | None, Field(union_mode="left_to_right")
    ]


class _Choice(_Wire):
    message: _Message


class _Line(_Wire):
    messages: list[_Message]
    choices: list[_Choice] = Field(min_length=1)


class _BadRowError(Exception):
    """A row that cannot be asked or graded; the text says why."""


def read_file(path: Path, *, skip_bad_rows: bool) -> Rows:
    """All rows of a file. Raises DatasetError for a bad row unless those are skipped, and where none is left."""
    rows: list[Row] = []
    skipped: list[str] = []

    def refuse(fault: str) -> None:
        if not skip_bad_rows:
            raise DatasetError(f"bizfinbench: {fault}; skip_bad_rows: true leaves such rows out")
        skipped.append(fault)

    try:
        for row in read_jsonl(path, on_bad=refuse):
            try:
                rows.append(_row(row))
            except _BadRowError as error:
                refuse(f"{path.name} line {row.number}: {error}")
    except DataError as error:
        raise DatasetError(f"bizfinbench: {error}") from None
    if not rows:
        raise DatasetError(f"bizfinbench: {path.name} holds no usable row, {len(skipped)} were skipped")
    return Rows(rows=tuple(rows), skipped=tuple(skipped))


def _row(numbered: NumberedRow) -> Row:
    try:
        line = _Line.model_validate(numbered.values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _BadRowError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    said = [Said(role=message.role, text=_text(message)) for message in line.messages]
    while said and said[-1].role != "user":
        said.pop()  # what is said after the last question could only be its answer
    if not said or any(not turn.text for turn in said if turn.role == "user"):
        raise _BadRowError("expected a user turn with text")
    reference = _text(line.choices[0].message)
    if not reference:
        raise _BadRowError("expected a reference in choices[0].message.content")
    return Row(number=numbered.number - 1, said=tuple(said), reference=reference)


def _text(message: _Message) -> str:
    content = message.content
    parts: list[object] = (
        [part.text if isinstance(part, _Part) else part for part in content] if isinstance(content, list) else [content]
    )
    return "\n".join(_words(part) for part in parts if part is not None).strip()


def _words(part: object) -> str:
    """Some references of the data set are numbers or objects, not strings."""
    return part if isinstance(part, str) else json.dumps(part, ensure_ascii=False)
