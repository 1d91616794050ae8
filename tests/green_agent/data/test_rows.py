"""Rows are plain data or a named error, whatever the form of their file."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.green_agent.data.errors import DataError
from services.green_agent.data.rows import LONGEST_TEXT, MOST_ROWS, read_parquet, read_rows


def test_lines_are_counted_as_people_count_and_blank_ones_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": "\xc3\xa9\xe2\x80\xa8"}\n')

    rows = read_rows(path)

    assert [(row.number, row.values) for row in rows] == [(1, {"a": 1}), (3, {"a": "é\u2028"})]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", r"a\.jsonl line 2: not JSON"),
        ("[1]", r"a\.jsonl line 2: expected an object, got list"),
        ('{"price": NaN}', r"a\.jsonl line 2: not JSON"),
        ('{"price": 1e999}', r"a\.jsonl line 2: (not JSON|price: the number inf)"),
        ('{"t": "' + "x" * (LONGEST_TEXT + 1) + '"}', r"a\.jsonl line 2: t: a text of 4000001 characters"),
        ('{"deep": ' + "[" * 70 + "]" * 70 + "}", r"a\.jsonl line 2: deep: nested deeper than 64"),
    ],
    ids=["broken", "list", "nan", "infinite", "huge", "deep"],
)
def test_a_bad_line_is_named_or_counted_and_passed_over(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"ok": 1}}\n{line}\n{{"ok": 2}}\n')
    told: list[str] = []

    with pytest.raises(DataError, match=fault):
        read_rows(path)
    kept = read_rows(path, on_bad=told.append)

    assert [row.number for row in kept] == [1, 3]
    assert len(told) == 1


def test_a_file_without_a_usable_row_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("\n")

    with pytest.raises(DataError, match=r"a\.jsonl: no row that can be used"):
        read_rows(tmp_path / "a.jsonl")


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": "\xff"}')

    with pytest.raises(DataError, match=r"a\.jsonl: not UTF-8 \(invalid start byte at byte 7\)"):
        read_rows(tmp_path / "a.jsonl")


def test_parquet_gives_plain_values_and_dates_as_text(tmp_path: Path) -> None:
    table = {"n": [1, 2], "names": [["a"], None], "day": [dt.date(2026, 1, 2), None], "at": [{"x": 0.5}, None]}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")

    assert [row.values for row in read_rows(tmp_path / "a.parquet")] == [
        {"n": 1, "names": ["a"], "day": "2026-01-02", "at": {"x": 0.5}},
        {"n": 2, "names": None, "day": None, "at": None},
    ]


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ([1.0, math.nan], r"a\.parquet row 2: v: the number nan where a finite one"),
        ([b"", b"\x00"], r"a\.parquet row 1: a value of type bytes"),
    ],
)
def test_a_bad_value_of_parquet_is_named_by_row(tmp_path: Path, column: list[object], fault: str) -> None:
    pq.write_table(pa.table({"v": column}), tmp_path / "a.parquet")

    with pytest.raises(DataError, match=fault):
        read_rows(tmp_path / "a.parquet")


@pytest.mark.parametrize(("name", "content"), [("a.parquet", b"PAR1 nonsense"), ("a.xls", b""), ("b.parquet", b"")])
def test_a_file_of_another_form_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(DataError, match=name):
        read_rows(tmp_path / name)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.jsonl cannot be read \(No such file or directory\)"):
        read_rows(tmp_path / "gone.jsonl")


def test_a_parquet_file_that_unpacks_without_end_is_refused_before_it_does(tmp_path: Path) -> None:
    pq.write_table(pa.table({"v": ["x" * 1000] * 10_000}), tmp_path / "a.parquet")

    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    with pytest.raises(DataError, match=r"a\.parquet: more than 5000000 bytes unpacked"):
        read_parquet(tmp_path / "a.parquet", most_bytes=5_000_000)


def test_a_parquet_file_of_rows_without_end_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"v": pa.nulls(MOST_ROWS + 1)}), tmp_path / "a.parquet")

    with pytest.raises(DataError, match=r"a\.parquet: 1000001 rows, at most 1000000 are read"):
        read_rows(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    "column",
    [
        pa.array([2**30], pa.date32()),
        pa.array([2**62], pa.timestamp("us")),
        pa.array([1], pa.timestamp("s", "No/Where")),
    ],
)
def test_a_date_that_no_calendar_has_is_named(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"v": column}), tmp_path / "a.parquet")

    with pytest.raises(DataError, match=r"a\.parquet: not a readable Parquet file"):
        read_rows(tmp_path / "a.parquet")
