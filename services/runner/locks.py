"""One process executes a run. The lock is the kernel's, so it is gone when its holder dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from services.runner.failures import JournalError

LOCK_NAME: Final = ".lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the run whose results go to `folder`; creates the folder. Raises JournalError when another process holds it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / LOCK_NAME).open("w")
    except OSError as error:
        raise JournalError(
            f"cannot write to {folder} ({error.strerror}): make it writable or choose another --results-dir"
        ) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(f"run {folder.name} is being executed by another process; wait for it to end") from None
        yield


def is_held(folder: Path) -> bool:
    """True while some process executes the run of `folder`."""
    try:
        with (folder / LOCK_NAME).open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
