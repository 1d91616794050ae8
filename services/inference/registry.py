"""`services.txt` as a registry: written under a lock by any number of processes, and never losing a line of another's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from services.contract.endpoint_files import ServiceLine


class Registry:
    """One registry file. Every change is `flock` on PATH.lock, a copy beside it, a rename."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def lines(self) -> Sequence[ServiceLine]:
        """Every service line, oldest first; none when there is no file."""
        raise NotImplementedError

    def put(self, line: ServiceLine) -> None:
        """Add the line in place of the one with its job id and port, if there is one."""
        raise NotImplementedError

    def ended(self, job_id: str, *, exit_code: str, at: str) -> None:
        """Mark every line of the job as stopped; `exit_code` is a number, `lost`, or empty."""
        raise NotImplementedError
