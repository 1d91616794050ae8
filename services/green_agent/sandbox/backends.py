"""The backends a worker can be started by: what isolates, and the command line."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from services.green_agent.sandbox.cell.bounds import Bounds
from services.green_agent.sandbox.launch import bubblewrap, python

Command = list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """One way to start a worker."""

    name: str
    isolated: bool
    persistent: bool
    """True when a worker serves many programs; False when it is started for one."""
    command: Callable[[int, int, Bounds, str], Command]
    """Command line from control descriptor, archive descriptor, bounds and scratch folder on this machine."""
    needs_scratch: bool = False
    missing: Callable[[], str | None] = lambda: None
    """What the machine lacks for this backend, or None."""


def _no_bubblewrap() -> str | None:
    return None if shutil.which("bwrap") else "bwrap is not installed"


def _warm(control: int, archive: int, _bounds: Bounds, _scratch: str) -> Command:
    return bubblewrap(archive=archive, scratch_bytes=None, arguments=["namespaces", str(control)])


def _cold(control: int, archive: int, bounds: Bounds, _scratch: str) -> Command:
    return bubblewrap(archive=archive, scratch_bytes=bounds.scratch_bytes, arguments=["root", str(control)])


def _unsafe(control: int, archive: int, _bounds: Bounds, scratch: str) -> Command:
    return python(f"/proc/self/fd/{archive}", "nothing", str(control), scratch)


BWRAP_WARM: Final = Backend(
    name="bwrap-warm", isolated=True, persistent=True, command=_warm, missing=_no_bubblewrap
)
BWRAP_COLD: Final = Backend(
    name="bwrap-cold", isolated=True, persistent=False, command=_cold, missing=_no_bubblewrap
)
UNSAFE: Final = Backend(
    name="unsafe-subprocess", isolated=False, persistent=False, command=_unsafe, needs_scratch=True
)


def scratch_folder(backend: Backend) -> AbstractContextManager[str]:
    """A folder on this machine for one worker, removed with it; empty text for a backend that makes its own."""
    if not backend.needs_scratch:
        return nullcontext("")
    return tempfile.TemporaryDirectory(prefix="assay-cell-", ignore_cleanup_errors=True)
