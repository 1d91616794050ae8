"""Reads a data set and refuses it unless it is the one the registry describes."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue, TypeAdapter, ValidationError

from services.green_agent.data.registry import Source
from services.green_agent.data.store import DataError

Row = dict[str, JsonValue]

_ROW = TypeAdapter(Row)
_ROWS = TypeAdapter(list[Row])


def load_jsonl(source: Source, path: Path) -> list[Row]:
    """The rows of a JSON Lines file, gzipped or not, checked against digests, row count and unique ids.

    Raises DataError.
    """
    rows = _parse(source, _read(source, path))
    check_rows(source, rows)
    return rows


def load_json(source: Source, path: Path) -> list[Row]:
    """The rows of a file that is one JSON array of objects, checked likewise. Raises DataError."""
    packed = _read(source, path)
    try:
        rows = _ROWS.validate_json(packed)
    except ValidationError as error:
        raise DataError(f"{source.title}: not a JSON array of objects ({error}); {source.remedy}") from None
    check_rows(source, rows)
    return rows


def _read(source: Source, path: Path) -> bytes:
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{source.title}: {path.name} cannot be read ({error.strerror}); {source.remedy}") from None
    if source.file_sha256 is not None:
        _compare(source, "file", source.file_sha256, hashlib.sha256(packed).hexdigest())
    return packed


def check_rows(source: Source, rows: Sequence[Row]) -> None:
    """Raise DataError unless these rows are those of the registry, whatever file format they came in."""
    ids = {str(row[source.id_field]) for row in rows if source.id_field in row}
    expected = len(rows) if source.rows is None else source.rows
    if not len(rows) == len(ids) == expected:
        raise DataError(
            f"{source.title}: expected {expected} rows with a {source.id_field} of their own, "
            f"got {len(rows)} rows with {len(ids)}; {source.remedy}"
        )
    if source.content_sha256 is not None:
        _compare(source, "content", source.content_sha256, content_sha256(rows, id_field=source.id_field))


def content_sha256(rows: Iterable[Mapping[str, JsonValue]], *, id_field: str) -> str:
    """Hex digest of the rows that is the same for every file format they may come in.

    Rows as JSON with sorted keys, no blanks, non-ASCII kept and ids as strings, sorted by id, joined by a line feed.
    Source: code-and-math specification 2.2.
    """
    by_id = sorted((str(row[id_field]), {**row, id_field: str(row[id_field])}) for row in rows)
    lines = [json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False) for _, row in by_id]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _parse(source: Source, packed: bytes) -> list[Row]:
    try:
        text = (gzip.decompress(packed) if packed.startswith(b"\x1f\x8b") else packed).decode()
        return [_ROW.validate_json(line) for line in text.split("\n") if line.strip()]
    except (OSError, EOFError, UnicodeDecodeError, ValidationError) as error:
        raise DataError(f"{source.title}: not JSON Lines of objects ({error}); {source.remedy}") from None


def _compare(source: Source, what: str, expected: str, got: str) -> None:
    if expected != got:
        raise DataError(f"{source.title}: sha256 of the {what} is {got}, expected {expected}; {source.remedy}")
