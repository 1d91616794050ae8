"""Reads a file of questions: a JSON list, or an object that holds the list under `questions`, every item checked.

All faults are reported together, each with row, id and field. NaN, infinities and texts without end are faults.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Generic, TypeVar

from pydantic import BaseModel, Field, JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json

from services.green_agent.data.errors import DataError
from services.green_agent.data.overrides import item_sha256
from services.green_agent.data.rows import fault_of

LARGEST_FILE: Final = 64 * 2**20
"""Bytes."""
MOST_FAULTS: Final = 10
"""Faults named in one error; the rest is counted."""

LongText = Annotated[str, Field(min_length=1, max_length=20_000)]
"""A question or an answer in prose."""
ShortText = Annotated[str, Field(min_length=1, max_length=2_000)]
"""An id, a category, a step, a criterion."""

Item = TypeVar("Item", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Read(Generic[Item]):
    """One checked item and the digest of what stands in the file."""

    item: Item
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class QuestionFile(Generic[Item]):
    """The items of a file in its order."""

    name: str
    sha256: str
    """Hex digest of the bytes."""
    items: tuple[Read[Item], ...]
    declared: JsonValue
    """The file's own `count`; None when it gives none."""


def read_questions(path: Path, model: type[Item]) -> QuestionFile[Item]:
    """The items of a file, each with a `question_id` of its own. Raises DataError naming file, rows and fields."""
    content = _content(path)
    rows, declared = _rows(path.name, _parsed(path.name, content))
    faults: list[str] = []
    items: list[Read[Item]] = []
    for number, row in enumerate(rows):
        try:
            items.append(Read(item=model.model_validate(row), sha256=item_sha256(row)))
        except ValidationError as error:
            faults += _faults(number, row, error)
    faults += _doubles(rows)
    if faults:
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        raise DataError(f"{path.name}: {'; '.join(faults[:MOST_FAULTS])}{more}")
    digest = hashlib.sha256(content).hexdigest()
    return QuestionFile(name=path.name, sha256=digest, items=tuple(items), declared=declared)


def _content(path: Path) -> bytes:
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise DataError(f"{path.name}: {size} bytes, at most {LARGEST_FILE} are read")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror})") from None


def _parsed(name: str, content: bytes) -> JsonValue:
    try:
        # Unlike the one of the standard library this reader refuses halves of surrogate pairs, which nothing could store.
        parsed: JsonValue = from_json(content.decode("utf-8-sig"), allow_inf_nan=False)
    except ValueError as error:
        raise DataError(f"{name}: not JSON ({error})") from None
    if fault := fault_of(parsed):
        raise DataError(f"{name}: {fault}")
    return parsed


def _rows(name: str, parsed: JsonValue) -> tuple[list[dict[str, JsonValue]], JsonValue]:
    rows, declared = (parsed.get("questions"), parsed.get("count")) if isinstance(parsed, dict) else (parsed, None)
    try:
        found = TypeAdapter(list[dict[str, JsonValue]]).validate_python(rows, strict=True)
    except ValidationError:
        raise DataError(f"{name}: expected a list of objects, bare or under `questions`") from None
    if not found:
        raise DataError(f"{name}: holds no question")
    return found, declared


def _faults(number: int, row: dict[str, JsonValue], error: ValidationError) -> list[str]:
    name = f"row {number} ({str(row.get('question_id', 'without question_id'))[:60]})"
    kinds = {".".join(str(part) for part in one["loc"][:3]): one["msg"] for one in error.errors(include_input=False)}
    return [f"{name}: {field}: {message}" for field, message in kinds.items()]


def _doubles(rows: Sequence[dict[str, JsonValue]]) -> list[str]:
    counts = Counter(str(row["question_id"]) for row in rows if "question_id" in row)
    return [f"question_id {name[:60]!r} stands there {times} times" for name, times in counts.items() if times > 1]
