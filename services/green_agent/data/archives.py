"""Unpacks zip archives of others without trusting them."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.green_agent.data.cache import safe_member
from services.green_agent.data.errors import DataError

MOST_UNPACKED: Final = 200 << 20
"""Bytes of all files together (finance specification 7.2)."""
MOST_FILES: Final = 10_000
HIGHEST_RATIO: Final = 100
"""Unpacked to packed size of one file; above it is a bomb."""
METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Ways of packing that are read; the others take memory that no size in the archive tells of."""
SMALL: Final = 1 << 20
"""Files up to this size may compress better than that, as blank tables do."""

# Damage shows in many ways: a name that is no UTF-8 is a ValueError, an empty one an IndexError.
_DAMAGE: Final = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    RuntimeError,
    ValueError,
    IndexError,
)


def unpack(archive: Path, folder: Path, *, most_bytes: int = MOST_UNPACKED) -> list[Path]:
    """Unpack a zip into an existing folder and return its files, sorted.

    Nothing is written before the whole directory of the archive was checked; links, paths that climb out, encrypted files,
    unusual ways of packing, more than `most_bytes` in all and bombs are refused. Sizes are counted again while reading, since
    an archive may lie.
    Raises DataError.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            wanted = [entry for entry in opened.infolist() if not entry.is_dir()]
            _check(archive.name, wanted, most_bytes)
            return sorted(_write(opened, entry, folder) for entry in wanted)
    except _DAMAGE as error:
        raise DataError(f"{archive.name}: not a usable zip archive ({error})") from None
    except OSError as error:
        raise DataError(f"{archive.name}: cannot be unpacked ({error.strerror or error})") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """An archive that is open and whose directory was checked."""

    names: frozenset[str]
    """Of its files."""
    file: str
    """Name of the archive."""
    archive: zipfile.ZipFile

    def read(self, name: str, *, most_bytes: int) -> bytes:
        """One file, whole. Raises DataError, also when there is none of this name and when it is larger than `most_bytes`."""
        if name not in self.names:
            raise DataError(f"{self.file}: holds no {name!r}")
        if (size := self.archive.getinfo(name).file_size) > most_bytes:
            raise DataError(f"{self.file}: {name!r} has {size} bytes, at most {most_bytes} are read")
        try:
            return self.archive.read(name)
        except (*_DAMAGE, OSError) as error:
            raise DataError(f"{self.file}: {name!r} cannot be read ({error})") from None


@contextmanager
def opened(archive: Path, *, most_bytes: int, highest_ratio: int = HIGHEST_RATIO) -> Iterator[Contents]:
    """A zip whose files are read one by one where they lie, under the same checks as `unpack`. Raises DataError."""
    try:
        directory = zipfile.ZipFile(archive)
    except (*_DAMAGE, OSError) as error:
        raise DataError(f"{archive.name}: not a usable zip archive ({error})") from None
    with directory:
        wanted = [entry for entry in directory.infolist() if not entry.is_dir()]
        _check(archive.name, wanted, most_bytes, highest_ratio)
        yield Contents(names=frozenset(entry.filename for entry in wanted), file=archive.name, archive=directory)


def _check(name: str, entries: list[zipfile.ZipInfo], most_bytes: int, highest_ratio: int = HIGHEST_RATIO) -> None:
    if len(entries) > MOST_FILES:
        raise DataError(f"{name}: {len(entries)} files, at most {MOST_FILES} are unpacked")
    if (total := sum(entry.file_size for entry in entries)) > most_bytes:
        raise DataError(f"{name}: {total} bytes unpacked, at most {most_bytes} are accepted")
    if len({entry.filename for entry in entries}) != len(entries):
        raise DataError(f"{name}: holds a file name twice")
    for entry in entries:
        _check_entry(name, entry, highest_ratio)


def _check_entry(name: str, entry: zipfile.ZipInfo, highest_ratio: int) -> None:
    try:
        safe_member(entry.filename)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
        raise DataError(f"{name}: {entry.filename!r} is a link or a device, not a file")
    if entry.flag_bits & 1:
        raise DataError(f"{name}: {entry.filename!r} is encrypted")
    if entry.compress_type not in METHODS:
        raise DataError(f"{name}: {entry.filename!r} is packed in an unusual way; deflate is read")
    if entry.file_size > SMALL and entry.file_size > highest_ratio * max(entry.compress_size, 1):
        raise DataError(f"{name}: {entry.filename!r} unpacks to more than {highest_ratio} times its size")


def _write(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> Path:
    path = folder / entry.filename
    path.parent.mkdir(parents=True, exist_ok=True)
    # zipfile never gives more than the size that was checked, and compares the checksum at the end.
    with opened.open(entry) as packed, path.open("xb") as written:
        shutil.copyfileobj(packed, written, 1 << 20)
    if path.stat().st_size != entry.file_size:
        raise DataError(
            f"{opened.filename and Path(opened.filename).name}: {entry.filename!r} is not as large as it says"
        )
    return path
