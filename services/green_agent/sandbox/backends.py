"""The backends a worker can be started by: what isolates, and the command line."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

from services.green_agent.sandbox.cell.bounds import Bounds
from services.green_agent.sandbox.launch import View, bubblewrap, everyone_may_read, interpreter, python, readable


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What a worker is told at its start."""

    control: int
    """Descriptor its orders come from."""
    archive: int
    """Descriptor of the cell archive."""
    bounds: Bounds
    """Of its first program."""
    scratch: str
    """Folder on this machine; empty where the worker makes its own."""
    number: int
    """Different for every worker of a sandbox."""
    view: View


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """One way to start a worker."""

    name: str
    isolated: bool
    persistent: bool
    """True when a worker serves many programs; False when it is started for one."""
    command: Callable[[Place], list[str]]
    missing: Callable[[], str | None] = lambda: None
    """What the machine lacks for this backend, or None."""
    needs_scratch: bool = False


def _no_bubblewrap() -> str | None:
    return None if shutil.which("bwrap") else "bwrap is not installed"


def _no_users() -> str | None:
    if os.geteuid() != 0:
        return "needs root inside a container, to give each program a user of its own"
    return None if everyone_may_read(*interpreter().files) else "other users may not read the interpreter"


def _warm(place: Place) -> list[str]:
    arguments = ["namespaces", str(place.control)]
    return bubblewrap(archive=place.archive, scratch_bytes=None, arguments=arguments, view=place.view)


def _cold(place: Place) -> list[str]:
    arguments = ["root", str(place.control)]
    scratch_bytes = place.bounds.scratch_bytes
    return bubblewrap(archive=place.archive, scratch_bytes=scratch_bytes, arguments=arguments, view=place.view)


def _users(place: Place) -> list[str]:
    user = FIRST_USER + place.number
    return python(
        f"/proc/self/fd/{place.archive}",
        "user",
        str(place.control),
        str(user),
        f"/tmp/cell-{user}",  # noqa: S108 - made by that user, for that user
        *readable(place.view),
    )


def _unsafe(place: Place) -> list[str]:
    return python(f"/proc/self/fd/{place.archive}", "nothing", str(place.control), place.scratch)


BWRAP_WARM: Final = Backend(name="bwrap-warm", isolated=True, persistent=True, command=_warm, missing=_no_bubblewrap)
BWRAP_COLD: Final = Backend(name="bwrap-cold", isolated=True, persistent=False, command=_cold, missing=_no_bubblewrap)
USERS: Final = Backend(name="container", isolated=True, persistent=True, command=_users, missing=_no_users)
"""Only inside the service's container, whose walls it completes."""
UNSAFE: Final = Backend(name="unsafe-subprocess", isolated=False, persistent=False, command=_unsafe, needs_scratch=True)
FIRST_USER: Final = 64000


def scratch_folder(backend: Backend) -> AbstractContextManager[str]:
    """A folder on this machine for one worker, removed with it; empty text for a backend that makes its own."""
    if not backend.needs_scratch:
        return nullcontext("")
    return tempfile.TemporaryDirectory(prefix="assay-cell-", ignore_cleanup_errors=True)
