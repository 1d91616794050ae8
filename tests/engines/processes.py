"""Which processes live, read from /proc: to show that nothing of an engine is left."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.engines.servers import START_TIMEOUT_S


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """One process. A number alone may be given to another one later."""

    pid: int
    started: str
    """Clock ticks after the machine's start."""


def family(pid: int) -> frozenset[Process]:
    """A process that lives and all its descendants."""
    parents = dict(_living())
    found = {process for process in parents if process.pid == pid}
    while more := {child for child, parent in parents.items() if parent in {one.pid for one in found}} - found:
        found |= more
    return frozenset(found)


def living(processes: AbstractSet[Process]) -> frozenset[Process]:
    """Those that still live; a zombie does not."""
    return frozenset(processes & {process for process, _ in _living()})


def await_end(processes: AbstractSet[Process]) -> None:
    """Wait until none of them lives."""
    await_true(lambda: not living(processes), what=lambda: f"the end of {sorted(titles(processes))}")


def await_true(condition: Callable[[], bool], *, what: Callable[[], str]) -> None:
    """Wait for what other processes bring about; engines take their time on a busy machine."""
    give_up = time.monotonic() + START_TIMEOUT_S
    while not condition():
        assert time.monotonic() < give_up, f"never came true: {what()}"
        time.sleep(0.05)


def titles(processes: AbstractSet[Process]) -> frozenset[str]:
    """First words of their command lines."""
    found = set()
    for process in living(processes):
        with suppress(OSError):  # it may end meanwhile
            words = Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
            found.add(words[0].decode(errors="replace").strip())
    return frozenset(found)


def _living() -> list[tuple[Process, int]]:
    """Every process that is no zombie, with its parent's number."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:  # it has just ended
            continue
        state, parent, *rest = text.rpartition(")")[2].split()
        if state not in "ZX":
            found.append((Process(pid=int(entry.parent.name), started=rest[17]), int(parent)))
    return found
