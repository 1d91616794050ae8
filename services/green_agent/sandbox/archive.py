"""The code of `cell/` as one archive in memory, ready for the interpreter to execute."""

from __future__ import annotations

import importlib.util
import io
import marshal
import os
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Final

from services.contract import values
from services.green_agent.sandbox import cell

UNCHECKED: Final = 1
"""Flag of a compiled module: its source need not be looked at, there is none in the archive."""

EMPTY_PACKAGES: Final = ("services", "services/contract", "services/green_agent", "services/green_agent/sandbox")
MAIN: Final = """
import sys
from services.green_agent.sandbox.cell.zygote import main
main(sys.argv[1:])
"""


@cache
def cell_archive() -> bytes:
    """A zip of compiled modules with a `__main__`; stored, so that unpacking needs no library."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("__main__.pyc", _compiled(MAIN, "__main__"))
        for package in EMPTY_PACKAGES:
            archive.writestr(f"{package}/__init__.pyc", _compiled("", package))
        archive.writestr("services/contract/values.pyc", _compiled(Path(values.__file__).read_text("utf-8"), "values"))
        for module in sorted(Path(next(iter(cell.__path__))).glob("*.py")):
            name = f"services/green_agent/sandbox/cell/{module.stem}"
            archive.writestr(f"{name}.pyc", _compiled(module.read_text("utf-8"), name))
    return buffer.getvalue()


def _compiled(source: str, name: str) -> bytes:
    code = compile(source, f"<assay {name}>", "exec", dont_inherit=True, optimize=2)
    head = struct.pack("<4sI", importlib.util.MAGIC_NUMBER, UNCHECKED)
    return head + importlib.util.source_hash(source.encode()) + marshal.dumps(code)


def memory_file(content: bytes) -> int:
    """A descriptor from which `content` can be read once, from its beginning; the caller closes it."""
    writable = os.memfd_create("assay")
    try:
        with open(writable, "wb", closefd=False) as file:
            file.write(content)
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)
