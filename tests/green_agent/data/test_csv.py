"""CSV files: quoted line ends, exact names, and faults that name their row."""

from pathlib import Path

import pytest

from services.green_agent.data.errors import DataError
from services.green_agent.data.rows import read_csv


def written(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_bytes(text.encode())
    return path


def test_quoted_fields_keep_commas_quotes_and_line_ends(tmp_path: Path) -> None:
    path = written(tmp_path, '\ufeffid,Long Name\r\n1,"a, ""b""\r\nand\nc"\r\n\r\n2,plain\r\n')

    rows = read_csv(path)

    assert [(row.number, row.values) for row in rows] == [
        (1, {"id": "1", "Long Name": 'a, "b"\r\nand\nc'}),
        (2, {"id": "2", "Long Name": "plain"}),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a,b\n1,2\n3\n", "rows.csv row 2: expected 2 fields, got 1"),
        ("a,b\n1,2,3\n", "rows.csv row 1: expected 2 fields, got 3"),
        ('a,b\n1,"2"x\n', "rows.csv line 2: not CSV"),
        ('a,b\n1,"2\n', "rows.csv line 2: not CSV"),
        ("a,a\n1,2\n", "expected a header with distinct names"),
        ("", "expected a header with distinct names"),
        ("a,b\n", "no row that can be used"),
    ],
)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        read_csv(written(tmp_path, text))


def test_a_lenient_reader_leaves_short_rows_and_stray_quotes_to_its_caller(tmp_path: Path) -> None:
    rows = read_csv(written(tmp_path, 'a,b,c\n1,"2 "" ,"x"",3\n4\n'), lenient=True)

    assert [row.values for row in rows] == [{"a": "1", "b": '2 " ,x""', "c": "3"}, {"a": "4"}]


def test_a_field_longer_than_pythons_own_limit_is_read(tmp_path: Path) -> None:
    [row] = read_csv(written(tmp_path, "a\n" + "x" * 200_000 + "\n"))

    assert row.values == {"a": "x" * 200_000}
