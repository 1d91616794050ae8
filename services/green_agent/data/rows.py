"""Reads rows of a data file, whatever its form, and names file and row of everything that is not plain data.

A row is a JSON object: no NaN, no number beyond a float, no bytes, no text beyond `LONGEST_TEXT`. What a row must hold is
the benchmark's business.
"""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import JsonValue
from pydantic_core import from_json

from services.green_agent.data.errors import DataError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

Row = dict[str, JsonValue]
LONGEST_TEXT: Final = 4_000_000
"""Characters of one value; longer ones are no question, and no judge could read them."""
LARGEST_FILE: Final = 512 << 20
"""Bytes of a data file that is read into memory, and of what a packed one unpacks to."""
MOST_ROWS: Final = 1_000_000
"""Of a Parquet file, whose rows may take no room at all."""
ROWS_AT_ONCE: Final = 64
LARGEST_INTEGER: Final = 10**300
"""What a float can hold, and so every formula that a row may meet."""
DEEPEST: Final = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberedRow:
    """A row and where it stands."""

    number: int
    """1-based line or row, as people count."""
    values: Row


OnBad = Callable[[str], None]
"""Told of a bad row instead of raising; the text names file and row."""


def read_rows(path: Path, *, on_bad: OnBad | None = None) -> list[NumberedRow]:
    """The rows of a .jsonl or .parquet file. Raises DataError, also when there is none."""
    readers = {".jsonl": read_jsonl, ".parquet": read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path.name}: expected one of {', '.join(readers)}")
    return reader(path, on_bad=on_bad)


def read_jsonl(path: Path, *, on_bad: OnBad | None = None) -> list[NumberedRow]:
    """The rows of a JSON Lines file; blank lines are passed over. Raises DataError, also when there is none."""
    lines = _text(path).split("\n")
    parsed = ((number, _object(line)) for number, line in enumerate(lines, 1) if line.strip())
    return _kept(path, "line", parsed, on_bad)


def read_parquet(path: Path, *, on_bad: OnBad | None = None, most_bytes: int = LARGEST_FILE) -> list[NumberedRow]:
    """The rows of a Parquet file; dates become ISO text. Raises DataError, also when there is none.

    `most_bytes`: what all rows together may unpack to.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    _check_size(path)
    try:
        with pq.ParquetFile(path, memory_map=False) as opened:
            records = _records(path.name, opened, most_bytes)
    # OverflowError: a date that Python's calendar does not have.
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise DataError(f"{path.name}: not a readable Parquet file ({reason})") from None
    return _kept(path, "row", ((number, _plain_row(record)) for number, record in enumerate(records, 1)), on_bad)


def read_csv(path: Path, *, lenient: bool = False, on_bad: OnBad | None = None) -> list[NumberedRow]:
    """The rows of a CSV file by its header (RFC 4180: quoted fields may hold commas, quotes and line ends).

    Values are text, unchanged but for line ends inside of quotes, which are kept too. Rows are counted without the header.
    `lenient`: text after a closing quote is taken as it stands and a row may lack its last columns, for a file whose faults
    its reader mends. Raises DataError, also when there is no row.
    """
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_TEXT))
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=not lenient)
    try:
        header = next(reader, [])
        records = [record for record in reader if record]
    except csv.Error as error:
        raise DataError(f"{path.name} line {reader.line_num}: not CSV ({error})") from None
    if not header or len(set(header)) != len(header):
        raise DataError(f"{path.name}: expected a header with distinct names, got {header[:20]!r}")
    parsed = ((number, _record(header, record, lenient=lenient)) for number, record in enumerate(records, 1))
    return _kept(path, "row", parsed, on_bad)


def _record(header: list[str], record: list[str], *, lenient: bool) -> Row | str:
    if len(record) > len(header) or (len(record) < len(header) and not lenient):
        return f"expected {len(header)} fields, got {len(record)}"
    return dict(zip(header, record, strict=False))


def _records(name: str, opened: ParquetFile, most_bytes: int) -> list[dict[str, object]]:
    """All rows, unpacked piece by piece, since a small file may unpack to more than any memory holds."""
    if opened.metadata.num_rows > MOST_ROWS:
        raise DataError(f"{name}: {opened.metadata.num_rows} rows, at most {MOST_ROWS} are read")
    records: list[dict[str, object]] = []
    unpacked = 0
    for batch in opened.iter_batches(ROWS_AT_ONCE, use_threads=False):
        unpacked += batch.nbytes
        if unpacked > most_bytes:
            raise DataError(f"{name}: more than {most_bytes} bytes unpacked")
        records += batch.to_pylist()
    return records


Parsed = Iterable[tuple[int, Row | str]]
"""Row number and the row, or what is wrong with it."""


def _kept(path: Path, unit: str, parsed: Parsed, on_bad: OnBad | None) -> list[NumberedRow]:
    rows = list(_good(path, unit, parsed, on_bad))
    if not rows:
        raise DataError(f"{path.name}: no row that can be used")
    return rows


def _good(path: Path, unit: str, parsed: Parsed, on_bad: OnBad | None) -> Iterator[NumberedRow]:
    for number, row in parsed:
        fault = row if isinstance(row, str) else fault_of(row)
        if not isinstance(row, str) and not fault:
            yield NumberedRow(number=number, values=row)
            continue
        told = f"{path.name} {unit} {number}: {fault}"
        if on_bad is None:
            raise DataError(told)
        on_bad(told)


def _object(line: str) -> Row | str:
    try:
        value = from_json(line, allow_inf_nan=False)
    except ValueError as error:
        return f"not JSON ({error})"
    return value if isinstance(value, dict) else f"expected an object, got {type(value).__name__}"


def _plain_row(record: dict[str, object]) -> Row | str:
    try:
        return {key: _plain(value) for key, value in record.items()}
    except TypeError as error:
        return str(error)


def _plain(value: object) -> JsonValue:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    raise TypeError(f"a value of type {type(value).__name__} where plain data is expected")


def fault_of(value: JsonValue, *, depth: int = 0) -> str:
    """What makes this value unusable; empty when nothing does."""
    if isinstance(value, str):
        return (
            f"a text of {len(value)} characters, at most {LONGEST_TEXT} are read" if len(value) > LONGEST_TEXT else ""
        )
    if isinstance(value, float):
        return "" if math.isfinite(value) else f"the number {value} where a finite one is expected"
    if isinstance(value, int):
        return "" if abs(value) < LARGEST_INTEGER else "a whole number beyond what a float can hold"
    if not isinstance(value, list | dict):
        return ""
    if depth == DEEPEST:
        return f"nested deeper than {DEEPEST}"
    if isinstance(value, list):
        return next((fault for item in value if (fault := fault_of(item, depth=depth + 1))), "")
    told = ((key, fault_of(item, depth=depth + 1)) for key, item in value.items())
    return next((f"{key}: {fault}" for key, fault in told if fault), "")


def _text(path: Path) -> str:
    _check_size(path)
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name}: not UTF-8 ({error.reason} at byte {error.start})") from None


def _check_size(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path.name} cannot be read ({error.strerror})") from None
    if size > LARGEST_FILE:
        raise DataError(f"{path.name}: {size} bytes, at most {LARGEST_FILE} are read")
