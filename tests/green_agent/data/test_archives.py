"""An archive of others unpacks into its folder or not at all."""

from __future__ import annotations

import stat
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.green_agent.data.archives import unpack
from services.green_agent.data.errors import DataError


def packed(folder: Path, files: dict[str, bytes], *, mode: int = 0) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = mode << 16
            opened.writestr(entry, content)
    return path


def into(folder: Path) -> Path:
    target = folder / "out"
    target.mkdir()
    return target


def test_files_and_folders_are_unpacked(tmp_path: Path) -> None:
    archive = packed(tmp_path, {"a/market_data.json": b"{}", "b.json": b"[]"})

    files = unpack(archive, into(tmp_path))

    assert [path.relative_to(tmp_path / "out").as_posix() for path in files] == ["a/market_data.json", "b.json"]
    assert files[0].read_bytes() == b"{}"


@pytest.mark.parametrize("name", ["../out2/x", "/tmp/x", "a/../../x", "a\\..\\x", "C:/x"])
def test_a_path_that_climbs_out_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path, {"good": b"1", name: b"2"})

    with pytest.raises(DataError, match="is no name of a file inside a data set"):
        unpack(archive, into(tmp_path))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path, {"link": b"/etc/passwd"}, mode=stat.S_IFLNK | 0o777)

    with pytest.raises(DataError, match="'link' is a link or a device, not a file"):
        unpack(archive, into(tmp_path))


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path, {"bomb": b"\0" * (8 << 20)})

    with pytest.raises(DataError, match="'bomb' unpacks to more than 100 times its size"):
        unpack(archive, into(tmp_path))


def test_more_than_the_limit_in_all_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path, {"a": b"12345", "b": b"12345"})

    with pytest.raises(DataError, match=r"a\.zip: 10 bytes unpacked, at most 9 are accepted"):
        unpack(archive, into(tmp_path), most_bytes=9)


def test_an_archive_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path, {"a": b"x" * 5000})
    content = archive.read_bytes()
    archive.write_bytes(content.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))

    with pytest.raises(DataError, match=r"a\.zip"):
        unpack(archive, into(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"{}"])
def test_what_is_no_archive_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)

    with pytest.raises(DataError, match=r"a\.zip: not a usable zip archive"):
        unpack(tmp_path / "a.zip", into(tmp_path))


def test_a_truncated_archive_is_named(tmp_path: Path) -> None:
    archive = packed(tmp_path, {"a": bytes(range(256)) * 40})
    archive.write_bytes(archive.read_bytes()[:-40])

    with pytest.raises(DataError, match=r"a\.zip: not a usable zip archive"):
        unpack(archive, into(tmp_path))


def test_a_file_where_a_folder_is_needed_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path, {"a": b"1", "a/b": b"2"})

    with pytest.raises(DataError, match=r"a\.zip: cannot be unpacked"):
        unpack(archive, into(tmp_path))


def test_unusual_ways_of_packing_are_refused(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as opened:
            opened.writestr("a", b"x" * 500)

        with pytest.raises(DataError, match=r"a\.zip: 'a' is packed in an unusual way"):
            unpack(tmp_path / "a.zip", tmp_path)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255), name=st.sampled_from(["a.txt", "\u00e4.txt"]))
@example(place=30, value=0xFF, name="\u00e4.txt")
@settings(max_examples=200, deadline=None)
def test_no_damage_raises_anything_but_a_data_error(place: int, value: int, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archive = packed(Path(folder), {name: b"some text" * 10})
        content = bytearray(archive.read_bytes())
        content[place % len(content)] = value
        archive.write_bytes(content)

        with suppress(DataError):
            assert all(file.is_file() for file in unpack(archive, into(Path(folder))))


@pytest.mark.parametrize(("name", "damaged"), [("\u00e4", b"\xff\xff"), ("a", b"\0")])
def test_a_name_that_is_none_is_a_named_error(tmp_path: Path, name: str, damaged: bytes) -> None:
    archive = packed(tmp_path, {name: b"1"})
    archive.write_bytes(archive.read_bytes().replace(name.encode(), damaged))

    with pytest.raises(DataError, match=r"a\.zip: not a usable zip archive"):
        unpack(archive, into(tmp_path))
