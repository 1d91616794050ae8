"""The C++ compiler of this machine: where it is, what it is told, what it needs to read.

Building is done in a cell of its own, which sees these files; a cell that runs what was built does not need them.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from services.contract.execution import Limits, SandboxError

NAME: Final = "g++"
FLAGS: Final = ("-O2", "-std=gnu++17")
"""As the published judges. Not `-static`: the system's libraries are in every cell, a static binary is 140 times as large."""
SOURCE: Final = "program.cpp"
BINARY: Final = "program"
REMEDY: Final = "install it (`apt-get install g++`, or scripts/install as root)"

LIMITS: Final = Limits(
    cpu_s=30.0,
    wall_s=60.0,
    memory_bytes=4 << 30,
    processes=64,
    open_files=256,
    output_bytes=64 << 10,
    file_bytes=64 << 20,
    scratch_bytes=256 << 20,
)
"""Of one build. Source: code-and-math specification 9.2."""

LOADED_SEGMENT: Final = 1
"""PT_LOAD of the 64 bit ELF format, whose table of segments `loaded_bytes` reads."""
_FOLDERS: Final = ("/usr/bin", "/usr/include", "/usr/libexec", "/etc/alternatives")
_PARTS: Final = ("bin", "include", "lib", "lib64", "libexec")


def command(compiler: str | None = None) -> list[str]:
    """The command line of a build; `compiler` is the program to start, its plain name when it is only told."""
    return [compiler or NAME, *FLAGS, "-o", BINARY, SOURCE]


@cache
def executable() -> str | None:
    """The compiler itself, behind all links; None where there is none."""
    found = shutil.which(NAME)
    return None if found is None else os.path.realpath(found)


def required() -> str:
    """The compiler. Raises SandboxError with the remedy where there is none."""
    found = executable()
    if found is None:
        raise SandboxError(f"this sandbox cannot build C++ programs: {NAME} is not installed; {REMEDY}")
    return found


@cache
def version() -> str:
    """First line of what the compiler says of itself, or `absent`."""
    found = executable()
    if found is None:
        return "absent"
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return told.stdout.partition("\n")[0].strip() or "unknown"


@cache
def compiler_files() -> tuple[str, ...]:
    """Folders a build reads, beside the system's libraries."""
    found = executable()
    home = Path(found).parent.parent if found else Path("/usr")
    # A compiler of the system is in the system's folders; one from elsewhere brings its own beside them.
    own = () if home in (Path("/usr"), Path("/")) else tuple(str(home / part) for part in _PARTS)
    return tuple(path for path in (*_FOLDERS, *own) if Path(path).is_dir())


def loaded_bytes(binary: bytes) -> int:
    """Address space an executable file takes when it is loaded, its arrays of zeros included; 0 for what is none."""
    try:
        (table,) = struct.unpack_from("<Q", binary, 32)
        size, count = struct.unpack_from("<HH", binary, 54)
        segments = [struct.unpack_from("<I36xQ", binary, table + number * size) for number in range(count)]
    except (struct.error, OverflowError):
        return 0
    return sum(memory for kind, memory in segments if kind == LOADED_SEGMENT)
