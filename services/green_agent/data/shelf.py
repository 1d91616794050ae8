"""Texts set aside on disk until somebody needs them: the tests of thousands of problems do not fit in memory."""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
import zlib
from dataclasses import dataclass
from pathlib import Path

from services.green_agent.data.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """Where a text lies on its shelf."""

    offset: int
    size: int
    """Bytes, packed."""


class Shelf:
    """One file without a name, in the folder for temporary files, gone with the shelf. Safe between threads."""

    def __init__(self) -> None:
        self._file, path = tempfile.mkstemp(prefix="assay-")
        Path(path).unlink()
        weakref.finalize(self, os.close, self._file)
        self._end = 0
        self._writing = threading.Lock()

    def put(self, text: str) -> Kept:
        """Set a text aside. Raises DataError when there is no room."""
        # Level 1: test data are digits and blanks, which any level packs well.
        packed = zlib.compress(text.encode("utf-8", "surrogatepass"), 1)
        with self._writing:
            kept = Kept(offset=self._end, size=len(packed))
            try:
                written = 0
                while written < len(packed):
                    written += os.pwrite(self._file, packed[written:], kept.offset + written)
            except OSError as error:
                raise DataError(f"no room for test data in the folder for temporary files ({error.strerror})") from None
            self._end += len(packed)
        return kept

    def get(self, kept: Kept) -> str:
        """The text that was put there."""
        packed = bytearray()
        while len(packed) < kept.size:
            packed += os.pread(self._file, kept.size - len(packed), kept.offset + len(packed))
        return zlib.decompress(packed).decode("utf-8", "surrogatepass")
