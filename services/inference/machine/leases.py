"""Leases of GPUs and ports on this machine: a server that is starting holds neither memory nor port yet, but must count.

A lease is a locked file. A server's guard inherits the open file and outlives the server, so the kernel ends the lease when
nothing of the server is left, however it ended, and nothing stale can be left.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.inference.failures import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A held lease; `handle` is passed to the processes that keep it alive."""

    name: str
    handle: int

    def note(self, text: str) -> None:
        """Say who holds it, for those who are refused."""
        os.ftruncate(self.handle, 0)
        os.pwrite(self.handle, text.encode(), 0)

    def close(self) -> None:
        """Let go of our own hold on it."""
        os.close(self.handle)

    @classmethod
    def take(cls, name: str, holder: str) -> Self | None:
        """The lease of a GPU's UUID or of a port; None when a living server has it."""
        handle = os.open(_path(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        lease = cls(name=name, handle=handle)
        lease.note(holder)
        return lease


def holder(name: str) -> str:
    """Who holds the lease, in its own words; empty when nobody does."""
    path = _path(name)
    if not path.exists():
        return ""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return path.read_text(encoding="utf-8", errors="replace") or "a server that is starting"
    finally:
        os.close(handle)
    return ""


def _path(name: str) -> Path:
    folder = Path(tempfile.gettempdir()) / f"assay-leases-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # Somebody else could have made the folder first, to have us write where a link of theirs leads.
    found = folder.lstat()
    if found.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
        raise UsageError(f"{folder} belongs to somebody else; set TMPDIR to a folder of your own")
    return folder / f"{name}.lock"
