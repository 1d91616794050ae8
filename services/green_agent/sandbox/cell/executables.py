"""What a cell does for programs that are no Python: build one, or become one. Runs fully confined, as the harness does."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Callable
from typing import Any, Final

from services.green_agent.sandbox.cell.frames import Reporter

BINARY_ROLE: Final = "binary"
NO_MEMORY: Final = 12
IGNORED_BY_PYTHON: Final = (signal.SIGPIPE, signal.SIGXFSZ)


def write_files(files: dict[str, str]) -> None:
    """Write `files` into the current folder. Raises OSError when they do not fit."""
    for name, text in files.items():
        with open(name, "wb") as file:  # noqa: PTH123 - the smallest import set counts here
            file.write(text.encode("utf-8", "surrogatepass"))


def build(payload: dict[str, Any], report: Reporter) -> int:
    """Run the compiler on the files that have been written; send the binary when there is one.

    `payload`: `command`, the compiler's arguments with its full path first, and `output`, the file it makes. Returns the
    compiler's exit status.
    """
    command: list[str] = payload["command"]
    environment = {**os.environ, "TMPDIR": os.getcwd()}  # noqa: PTH109 - likewise
    pid = os.posix_spawn(command[0], command, environment, setsigdef=IGNORED_BY_PYTHON)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 0:
        with open(payload["output"], "rb") as file:  # noqa: PTH123 - likewise
            report.send(binary=base64.b64encode(file.read()).decode())
    return status


def become(descriptor: int, payload: dict[str, Any], report: Reporter, limit: Callable[[], None]) -> int:
    """Execute the binary that `descriptor` holds in place of this process, under the limits that `limit` sets.

    `payload`: `arguments` and `outlives_reader`, true for a program that a write nobody reads must not end. Returns
    only when that was refused; the frame sent then says why. Nothing of this process is inherited but standard input,
    output and error: all other descriptors close on the way.
    """
    command = ["program", *payload["arguments"]]
    for number in IGNORED_BY_PYTHON:
        if not (payload["outlives_reader"] and number == signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
    try:
        # Last: the limits may leave this interpreter, which is larger than most programs, no memory at all.
        limit()
        os.execve(descriptor, command, os.environ)  # noqa: S606 - the point of the cell
    except (OSError, ValueError) as error:
        too_large = isinstance(error, OSError) and error.errno == NO_MEMORY
        report.send(**({"error": "MemoryError: too large to start"} if too_large else {"refused": str(error)}))
    return 1
