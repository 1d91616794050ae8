"""What is on this machine: processes by the name they gave themselves, open descriptors, children."""

import os
import time
from collections.abc import Callable
from pathlib import Path

NAMED_SLEEPER = """
import ctypes, time
def f():
    ctypes.CDLL(None).prctl(15, {name!r}.encode(), 0, 0, 0)
    time.sleep(600)
"""
"""A program that can be seen from outside and never ends."""


def named(name: str) -> list[int]:
    """Ids of the processes that gave themselves `name`."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/comm") if _text(path).strip() == name]


def descendants(pid: int | None = None) -> set[int]:
    """Ids of all living processes below `pid`, this process by default."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = _text(path).rpartition(")")[2].split()
        if fields and fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    family = {pid or os.getpid()}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {pid or os.getpid()}


def children() -> set[int]:
    """Ids of the living processes this process started itself."""
    # One that ends between listing and reading has no line any more.
    lines = {pid: _text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split() for pid in descendants()}
    return {pid for pid, fields in lines.items() if fields and fields[1] == str(os.getpid())}


def descriptors() -> set[str]:
    """Open descriptors of this process and what they are."""
    folder = Path("/proc/self/fd")
    return {f"{entry.name} {_link(entry)}" for entry in folder.iterdir() if _link(entry)}


def eventually(condition: Callable[[], bool], *, within_s: float = 60.0) -> bool:
    """True as soon as `condition` holds; False when it still does not after a long time. Where nothing tells when."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
