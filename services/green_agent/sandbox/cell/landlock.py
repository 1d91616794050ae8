"""File rules of one program by Landlock, where the kernel has it: what may be read, what may be written, nothing else."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final

from services.green_agent.sandbox.cell import kernel

# Same numbers on every architecture.
CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
VERSION: Final = 1
PATH_BENEATH: Final = 1

READ: Final = 0b1101  # execute, read a file, read a folder
RIGHTS_BY_VERSION: Final = (0x1FFF, 0x3FFF, 0x7FFF)
"""Every right of version 1, 2 (+ refer) and 3 (+ truncate)."""
ON_FILES: Final = 0b0111 | 0x4000
"""Rights that make sense for a single file."""


def version() -> int:
    """Landlock version of this kernel, 0 when there is none."""
    try:
        return kernel.syscall(CREATE_RULESET, 0, 0, VERSION)
    except OSError:
        return 0


def restrict_files(*, readable: tuple[str, ...], writable: tuple[str, ...]) -> bool:
    """Allow this process and its children these paths and no others. False when the kernel has no Landlock."""
    known = version()
    if known == 0:
        return False
    rights = RIGHTS_BY_VERSION[min(known, 3) - 1]
    attributes = ctypes.create_string_buffer(struct.pack("=Q", rights), 8)
    ruleset = kernel.syscall(CREATE_RULESET, ctypes.addressof(attributes), 8, 0)
    for path in readable:
        _allow(ruleset, path, READ)
    for path in writable:
        _allow(ruleset, path, rights)
    kernel.syscall(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    return True


def _allow(ruleset: int, path: str, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    allowed = rights if os.path.isdir(path) else rights & ON_FILES  # noqa: PTH112 - the smallest import set counts here
    rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, descriptor), 12)
    kernel.syscall(ADD_RULE, ruleset, PATH_BENEATH, ctypes.addressof(rule), 0)
    os.close(descriptor)
