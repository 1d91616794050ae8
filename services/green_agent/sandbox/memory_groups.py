"""Memory limits the kernel holds for all processes of a worker together: a cgroup each, where this user may make some.

Version 1 or 2, as the machine has it. Elsewhere the watcher's polling stands alone. Source: code-and-math specification 9.2.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOTS: Final = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
MEMBERSHIP: Final = Path("/proc/self/cgroup")
PREFIX: Final = "assay-"
SPARE_BYTES: Final = 128 << 20
"""Of the worker, its watchers and the buffers of its files, beside the program's memory and scratch space."""
PROBE_BYTES: Final = 256 << 20
REMOVAL_S: Final = 2.0
JOIN: Final = 'echo $$ > "$0" && exec "$@"'
"""Shell: enter the group whose file is $0, then become the command."""

_numbers: Final = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class Hierarchy:
    """Where groups can be made, and how its version calls things."""

    version: int
    folder: Path

    @property
    def limit_file(self) -> str:
        """Takes the limit in bytes."""
        return "memory.max" if self.version > 1 else "memory.limit_in_bytes"

    @property
    def events_file(self) -> str:
        """Counts kills, on a line `oom_kill N`."""
        return "memory.events" if self.version > 1 else "memory.oom_control"


class MemoryGroup:
    """The group of one worker."""

    def __init__(self, hierarchy: Hierarchy) -> None:
        """Make it. Raises OSError where that is not allowed."""
        self._hierarchy = hierarchy
        self._folder = hierarchy.folder / f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self._limit_bytes = 0
        self._folder.mkdir()

    def inside(self, command: list[str]) -> list[str]:
        """The command, started in the group."""
        return ["/bin/sh", "-c", JOIN, str(self._folder / "cgroup.procs"), *command]

    def limit(self, memory_bytes: int) -> None:
        """Bound the group from now on. Raises OSError."""
        if memory_bytes != self._limit_bytes:
            (self._folder / self._hierarchy.limit_file).write_text(str(memory_bytes))
            self._limit_bytes = memory_bytes

    def kills(self) -> int:
        """How often the kernel has ended a process of the group for want of memory."""
        lines = _lines(self._folder / self._hierarchy.events_file)
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)

    def remove(self) -> None:
        """Remove the group, whose processes have been ended; the kernel may take a moment to let go of them."""
        end = time.monotonic() + REMOVAL_S
        while time.monotonic() < end:
            try:
                self._folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.005)
            else:
                return


@cache
def hierarchy() -> Hierarchy | None:
    """Where this process may limit memory; None where it may not. Takes away what a killed process left there."""
    for candidate in _candidates():
        with suppress(OSError, subprocess.SubprocessError):
            _sweep(candidate.folder)
            _try(candidate)
            return candidate
    return None


def _candidates() -> list[Hierarchy]:
    found = []
    for line in _lines(MEMBERSHIP):
        _, controllers, path = line.split(":", 2)
        own = path.lstrip("/")
        if "memory" in controllers.split(","):
            found += [Hierarchy(version=1, folder=root / "memory" / own) for root in ROOTS[:1]]
        if not controllers:
            # A group with processes of its own cannot hand memory to groups below, but its parent may have.
            places = [root / place for root in ROOTS for place in dict.fromkeys((own, str(Path(own).parent)))]
            found += [Hierarchy(version=2, folder=place) for place in places if _hands_out_memory(place)]
    return found


def _hands_out_memory(folder: Path) -> bool:
    return any("memory" in line.split() for line in _lines(folder / "cgroup.subtree_control"))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{PREFIX}*-*"):
        owner = left.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdecimal() and not Path(f"/proc/{owner}").exists():
            with suppress(OSError):
                left.rmdir()


def _try(candidate: Hierarchy) -> None:
    """Make a group, limit it and start something in it. Raises OSError or SubprocessError."""
    group = MemoryGroup(candidate)
    try:
        group.limit(PROBE_BYTES)
        subprocess.run(group.inside(["true"]), check=True, stderr=subprocess.DEVNULL)
        group.kills()
    finally:
        group.remove()
