"""Zip archives read where they lie."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from services.green_agent.data.archives import opened
from services.green_agent.data.errors import DataError

MOST = 64 << 20


def packed(path: Path, files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_file_is_read_by_its_name(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"config.yaml": b"x: 1", "testdata/1.in": b"5\n"})

    with opened(archive, most_bytes=MOST) as contents:
        assert contents.names == {"config.yaml", "testdata/1.in"}
        assert contents.read("testdata/1.in", most_bytes=MOST) == b"5\n"
        with pytest.raises(DataError, match=r"a.zip: holds no '\.\./1.in'"):
            contents.read("../1.in", most_bytes=MOST)


def test_test_data_may_repeat_itself_where_that_is_said(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"1.in": b"1 " * (2 << 20)})

    with opened(archive, most_bytes=MOST, highest_ratio=1_100) as contents:
        assert len(contents.read("1.in", most_bytes=MOST)) == 4 << 20
    with pytest.raises(DataError, match="more than 100 times its size"), opened(archive, most_bytes=MOST):
        pass


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x"])
def test_names_that_climb_out_are_refused(tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / "a.zip", {name: b"x"})

    with pytest.raises(DataError, match="no name of a file inside"), opened(archive, most_bytes=MOST):
        pass


def test_more_than_is_accepted_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"x": b"12345"}, method=zipfile.ZIP_STORED)

    with pytest.raises(DataError, match="5 bytes unpacked, at most 4"), opened(archive, most_bytes=4):
        pass


def test_damage_is_found_when_a_file_is_read(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"x": b"unmistakable"}, method=zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"unmistakable", b"unmistakably"))

    with opened(archive, most_bytes=MOST) as contents, pytest.raises(DataError, match="'x' cannot be read"):
        contents.read("x", most_bytes=MOST)


def test_a_file_larger_than_its_reader_takes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"x": b"12345"})

    with opened(archive, most_bytes=MOST) as contents:
        assert contents.read("x", most_bytes=5) == b"12345"
        with pytest.raises(DataError, match="'x' has 5 bytes, at most 4 are read"):
            contents.read("x", most_bytes=4)


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK nothing")

    with (
        pytest.raises(DataError, match=r"a.zip: not a usable zip archive"),
        opened(tmp_path / "a.zip", most_bytes=MOST),
    ):
        pass
