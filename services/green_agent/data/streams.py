"""Reads large data files row by row, so that a file of gigabytes takes the memory of one row.

For files whose rows are test data: unlike `rows`, nothing bounds the length of a text or the size of the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from pydantic import JsonValue
from pydantic_core import from_json

from services.green_agent.data.errors import DataError
from services.green_agent.data.rows import Row

PLAIN_DIGITS = 4_000
"""Digits up to which Python reads a whole number itself; it refuses those beyond 4,300."""
ROWS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamedRow:
    """A row and what tells it apart from any other content."""

    number: int
    """1-based line or row."""
    values: Row
    sha256: str


def jsonl_rows(path: Path) -> Iterator[StreamedRow]:
    """The rows of a JSON Lines file; blank lines are passed over. Raises DataError naming file and line."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield StreamedRow(number=number, values=_object(path, number, line), sha256=_sha256(line.strip()))
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror})") from None


def parquet_rows(path: Path, columns: Sequence[str], *, also: Sequence[str] = ()) -> Iterator[StreamedRow]:
    """The rows of a Parquet file with these columns alone; `also` names columns that must be there and are not read.

    Raises DataError naming the file, and columns that are missing.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    number = 0
    try:
        with pq.ParquetFile(path, memory_map=False) as opened:
            if missing := [name for name in (*columns, *also) if name not in opened.schema_arrow.names]:
                raise DataError(f"{path.name}: lacks the column {', '.join(missing)}")
            for batch in opened.iter_batches(ROWS_AT_ONCE, columns=list(columns), use_threads=False):
                for values in batch.to_pylist():
                    number += 1
                    yield StreamedRow(number=number, values=values, sha256=_sha256(_canonical(values)))
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"{path.name}: not a readable Parquet file ({reason})") from None


def json_with_long_integers(text: str) -> JsonValue:
    """The JSON in a text; whole numbers may have any number of digits. Raises ValueError."""
    try:
        value: JsonValue = json.loads(text, parse_int=_integer)
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def _integer(digits: str) -> int:
    # Through Decimal, which has no limit: the interpreter's own is one setting for all threads.
    return int(digits) if len(digits) <= PLAIN_DIGITS else int(Decimal(digits))


def _object(path: Path, number: int, line: bytes) -> Row:
    try:
        value = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        raise DataError(f"{path.name} line {number}: not JSON ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path.name} line {number}: expected an object, got {type(value).__name__}")
    return value


def _canonical(values: Row) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), default=str).encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
