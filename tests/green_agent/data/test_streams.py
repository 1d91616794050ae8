"""Large files read row by row."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.green_agent.data.errors import DataError
from services.green_agent.data.streams import json_with_long_integers, jsonl_rows, parquet_rows


def test_lines_come_one_by_one_with_a_digest_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n\n{"a": "\u00e4"}\r\n', encoding="utf-8")

    rows = list(jsonl_rows(path))

    assert [(row.number, row.values) for row in rows] == [(1, {"a": 1}), (3, {"a": "\u00e4"})]
    assert rows[0].sha256 == hashlib.sha256(b'{"a": 1}').hexdigest()


def test_a_text_may_be_longer_than_any_question(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "' + "1 " * 3_000_000 + '"}\n', encoding="utf-8")

    (row,) = jsonl_rows(path)

    assert len(str(row.values["a"])) == 6_000_000


@pytest.mark.parametrize(
    ("line", "fault"), [("{", "line 2: not JSON"), ("[1]", "line 2: expected an object, got list")]
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: str, fault: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' + line + "\n", encoding="utf-8")

    with pytest.raises(DataError, match=f"rows.jsonl {fault}"):
        list(jsonl_rows(path))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"rows.jsonl cannot be read"):
        list(jsonl_rows(tmp_path / "rows.jsonl"))


def test_parquet_gives_the_wanted_columns_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": list(range(20)), "b": [[{"c": n}] for n in range(20)], "big": ["x"] * 20}), path)

    rows = list(parquet_rows(path, ("a", "b"), also=("big",)))

    assert [row.number for row in rows] == list(range(1, 21))
    assert rows[19].values == {"a": 19, "b": [{"c": 19}]}
    assert len({row.sha256 for row in rows}) == 20


def test_a_column_that_is_missing_is_named_whether_it_is_read_or_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"a": [1]}), path)

    with pytest.raises(DataError, match=r"rows.parquet: lacks the column b, c"):
        list(parquet_rows(path, ("a", "b"), also=("c",)))


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(b"PAR1" * 20)

    with pytest.raises(DataError, match=r"rows.parquet: not a readable Parquet file"):
        list(parquet_rows(path, ("a",)))


def test_whole_numbers_of_any_length_are_read() -> None:
    digits = "7" * 20_000

    value = json_with_long_integers(f'{{"n": [-{digits}, {digits}, 3, 1.5]}}')

    assert isinstance(value, dict)
    assert value["n"] == [-(10**20_000 - 1) * 7 // 9, (10**20_000 - 1) * 7 // 9, 3, 1.5]


@pytest.mark.parametrize("text", ["{", "", "[" * 200_000])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json_with_long_integers(text)
