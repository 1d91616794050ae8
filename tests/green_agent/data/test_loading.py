"""A data set is the published one or it is refused."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pytest

from services.green_agent.data.loading import Row, check_rows, content_sha256, load_jsonl
from services.green_agent.data.registry import Source, known_issues, source
from services.green_agent.data.store import DataError

ROWS: list[Row] = [{"id": 10, "text": "é"}, {"id": 9, "text": "b"}]
CONTENT = '{"id":"10","text":"é"}\n{"id":"9","text":"b"}'


def described(packed: bytes) -> Source:
    return Source(
        title="Tiny",
        source="here",
        licence="MIT",
        rows=2,
        id_field="id",
        file_sha256=hashlib.sha256(packed).hexdigest(),
        content_sha256=hashlib.sha256(CONTENT.encode()).hexdigest(),
        remedy="write it again",
    )


def as_lines(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_rows_are_read_in_the_order_of_the_file(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "rows"
    path.write_bytes(packed := pack(as_lines(ROWS)))

    assert load_jsonl(described(packed), path) == ROWS


def test_the_content_digest_is_that_of_sorted_rows_with_ids_as_text() -> None:
    assert content_sha256(ROWS, id_field="id") == hashlib.sha256(CONTENT.encode()).hexdigest()
    assert content_sha256(ROWS[::-1], id_field="id") == content_sha256(ROWS, id_field="id")


def test_one_changed_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    packed = as_lines(ROWS)
    path.write_bytes(packed.replace(b'"b"', b'"c"'))

    with pytest.raises(DataError, match=r"^Tiny: sha256 of the file is [0-9a-f]{64}, expected .*; write it again$"):
        load_jsonl(described(packed), path)


def test_changed_rows_are_refused_whatever_file_they_came_in() -> None:
    with pytest.raises(DataError, match="sha256 of the content"):
        check_rows(described(b""), [ROWS[0], {"id": 9, "text": "c"}])


@pytest.mark.parametrize("rows", [ROWS[:1], [*ROWS, ROWS[0]], [ROWS[0], ROWS[0]], [ROWS[0], {"text": "b"}]])
def test_missing_and_repeated_rows_are_refused(rows: list[Row]) -> None:
    with pytest.raises(DataError, match="expected 2 rows with a id of their own"):
        check_rows(described(b""), rows)


@pytest.mark.parametrize("packed", [b"[1]\n", b"{", b"\xff", gzip.compress(b"{}", mtime=0)[:-9]])
def test_a_file_that_is_no_lines_of_objects_is_refused(tmp_path: Path, packed: bytes) -> None:
    path = tmp_path / "rows"
    path.write_bytes(packed)

    with pytest.raises(DataError, match="not JSON Lines of objects"):
        load_jsonl(described(packed), path)


def test_an_absent_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone.jsonl cannot be read \(No such file or directory\); write it again"):
        load_jsonl(described(b""), tmp_path / "gone.jsonl")


def test_an_unknown_name_has_no_entry() -> None:
    with pytest.raises(KeyError):
        source("nothing")


def test_a_data_set_without_known_issues_has_none() -> None:
    assert known_issues("nothing") == ()
