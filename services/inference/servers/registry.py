"""`services.txt` as a registry: written under a lock by any number of processes, and never losing a line of another's.

Beside it, in the folder `services.txt.d`, lies what its columns have no place for: one JSON file a server.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from services.contract.endpoint_files import (
    EndpointFileError,
    ServiceLine,
    parse_line,
    parse_services,
    read_text,
    replace_text,
)
from services.inference.failures import InferenceError, UsageError
from services.inference.planning.presets import EngineName

log = structlog.get_logger()

LOCK_TIMEOUT_S: Final = 30.0
"""The SLURM script waits as long: `flock -w 30`."""
_POLL_S: Final = 0.02
_NO_LOCKS: Final = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


class RegistryError(InferenceError):
    """The registry cannot be read or written."""


class RegistryPlaceError(UsageError):
    """The registry lies where none can be: no folder, no right to write, a file system without locks."""


class ServerFacts(BaseModel):
    """What is known of a server besides its line; launchers write it at the start and again when it is ready.

    Servers of other tools have none: every reader works without.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    id: str
    """The job id of its line."""
    engine: EngineName
    served_name: str
    """What /v1/models lists."""
    version: str | None = None
    """Of the engine, as it says itself."""
    gpus: tuple[str, ...] = ()
    """UUIDs for local processes, indices for others; empty: a CPU build, or not known."""
    max_model_len: int | None = None
    """Tokens that were asked for."""
    log: str | None = None
    """File of the error output, the one whose end is shown after a failure."""
    output: str | None = None
    """File of the standard output, where it is another one."""
    key_file: str | None = None
    """Holds the key that clients must send; the key itself is never written here."""
    command: tuple[str, ...] = ()
    """The command line, for the record."""
    environment: Mapping[str, str] = {}
    """Variables that were set for it, and those of engines that it inherited: with the command line what is needed to run it
    again. Never a secret."""
    image: str | None = None
    """Of a container: its image by digest, or by the id that docker gave it where it was built there."""
    forced: bool = False
    """Started although the planner called it impossible."""
    kv_planned_tokens: tuple[int, int] | None = None
    """Planned size of the KV cache, for high and low overhead."""
    kv_measured_tokens: int | None = None
    """By the engine's own log."""
    concurrency: float | None = None
    """Full-length sequences at once, by the engine's own count."""
    router: bool = False
    """It serves nothing itself and passes requests on to the others."""


class Registry:
    """One registry file. Every change is `flock` on PATH.lock, a copy beside it, a rename."""

    def __init__(self, path: Path, *, lock_timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.path = path
        self._lock_timeout_s = lock_timeout_s

    def lines(self) -> Sequence[ServiceLine]:
        """Every service line, oldest first; none when there is no file."""
        return parse_services("\n".join(self._raw()))

    def put(self, line: ServiceLine, facts: ServerFacts | None = None) -> None:
        """Add the line in place of the one with its job id and port, if there is one.

        Raises UsageError for a field that the format cannot hold, RegistryPlaceError, RegistryError.
        """
        try:
            text = line.render()
        except EndpointFileError as error:
            raise UsageError(str(error)) from error

        def changed(raw: Sequence[str]) -> Sequence[str]:
            own = [number for number, old in enumerate(raw) if _names(old, line.job_id, line.port)]
            first = own[0] if own else len(raw)
            return [*raw[:first], text, *(raw[number] for number in range(first, len(raw)) if number not in own)]

        if facts is not None:
            self.note(facts)
        self._change(changed)

    def ended(self, job_id: str, *, exit_code: str, at: str) -> None:
        """Mark every line of the job as stopped, except where it says so already; `exit_code` is a number, `lost`, or empty.

        A number takes the place of `lost`: whoever watched the server knows better than whoever only missed it.
        """

        def changed(old: str) -> str:
            line = parse_line(old)
            if line is None or line.job_id != job_id or _is_final(line, exit_code):
                return old
            return replace(line, status="stopped", end_time=at, exit_code=exit_code).render()

        self._change(lambda raw: [changed(old) for old in raw])

    def lost(self, job_ids: frozenset[str]) -> None:
        """Mark every line of these jobs as `stopped||lost`, except where it says already that it stopped."""

        def changed(old: str) -> str:
            line = parse_line(old)
            if line is None or line.job_id not in job_ids or line.status == "stopped":
                return old
            return replace(line, status="stopped", end_time="", exit_code="lost").render()

        self._change(lambda raw: [changed(old) for old in raw])

    def drop(self, keys: frozenset[tuple[str, int]]) -> None:
        """Take out the lines of these job ids and ports."""

        def stays(old: str) -> bool:
            line = parse_line(old)
            return line is None or (line.job_id, line.port) not in keys

        self._change(lambda raw: [old for old in raw if stays(old)])

    def facts(self, job_id: str) -> ServerFacts | None:
        """What a launcher noted about the server; None for those of other tools.

        What another user noted names no files: they would be read as keys, shown as logs and removed with our rights.
        """
        file = self._note(job_id)
        if file is None:
            return None
        try:
            found = ServerFacts.model_validate_json(file.read_bytes())
            trusted = file.stat().st_uid in {0, os.geteuid()}
            return found if trusted else found.model_copy(update={"key_file": None, "log": None, "output": None})
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            log.warning("server_facts_ignored", file=str(file), reason=str(error).splitlines()[0])
            return None

    def noted(self) -> Sequence[str]:
        """Ids of servers with facts: also of jobs that wait for their turn and have no line yet."""
        return sorted(file.stem for file in self._notes.glob("*.json")) if self._notes.is_dir() else []

    def noted_at(self, job_id: str) -> datetime | None:
        """When facts were written last; None when there are none."""
        file = self._note(job_id)
        try:
            return datetime.fromtimestamp(file.stat().st_mtime, UTC) if file is not None else None
        except OSError:
            return None

    def note(self, facts: ServerFacts) -> None:
        """Write what is known about a server; replaces what was noted before. Raises RegistryPlaceError."""
        file = self._note(facts.id)
        if file is None:
            raise UsageError(f"{facts.id!r} is no id of a server: letters, digits, `-`, `_` and `.` only")
        try:
            self._notes.mkdir(exist_ok=True)
            replace_text(file, facts.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise RegistryPlaceError(
                f"cannot write {file}: {error.strerror}; choose another place with --registry"
            ) from error

    def forget(self, job_id: str) -> None:
        """Remove what was noted about a server; its line stays. Raises RegistryPlaceError."""
        if (file := self._note(job_id)) is None:
            return
        try:
            file.unlink(missing_ok=True)
        except OSError as error:
            raise RegistryPlaceError(f"cannot remove {file}: {error.strerror}") from error

    @property
    def _notes(self) -> Path:
        return self.path.with_name(f"{self.path.name}.d")

    def _note(self, job_id: str) -> Path | None:
        """Ids come out of a file that anybody may write, so not every one becomes a path."""
        return self._notes / f"{job_id}.json" if _SAFE_ID.fullmatch(job_id) else None

    def _raw(self) -> list[str]:
        try:
            raw = read_text(self.path).split("\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RegistryPlaceError(f"cannot read the registry {self.path}: {error.strerror}") from error
        return raw[:-1] if raw[-1] == "" else raw

    def _change(self, changed: Callable[[Sequence[str]], Sequence[str]]) -> None:
        with self._locked():
            self._clear()
            before = self._raw()
            after = changed(before)
            if list(after) == before:
                return
            try:
                replace_text(self.path, "".join(f"{line}\n" for line in after))
            except OSError as error:
                raise RegistryPlaceError(f"cannot write the registry {self.path}: {error.strerror}") from error

    def _clear(self) -> None:
        """Copies that killed writers left: whoever has the lock is the only one that writes."""
        target = self.path.resolve()
        name = re.escape(target.name)
        copies = re.compile(
            rf"\.{name}\.[0-9a-f]{{12}}|{name}\.[0-9]+(_[0-9]+)?\.tmp"
        )  # ours, and those of the SLURM script
        for copy in target.parent.glob(f"*{glob.escape(target.name)}.*"):
            if copies.fullmatch(copy.name):
                with suppress(OSError):  # another user's may stay
                    copy.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        file = self.path.with_name(f"{self.path.name}.lock")
        try:
            handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise RegistryPlaceError(
                f"cannot write the lock {file}: {error.strerror}; choose another place with --registry"
            ) from error
        try:
            self._acquire(handle, file)
            yield
        finally:
            os.close(handle)  # which gives the lock back, as does the death of the process

    def _acquire(self, handle: int, file: Path) -> None:
        deadline = time.monotonic() + self._lock_timeout_s
        while not _try_lock(handle, file):
            if time.monotonic() > deadline:
                raise RegistryError(
                    f"{file} has been locked for {self._lock_timeout_s:g} s by {_holder(handle)}; "
                    "the registry was not changed: end that process, then try again"
                )
            time.sleep(_POLL_S)


def stamp(at: datetime) -> str:
    """A time as the registry writes it: local, `YYYY-mm-dd HH:MM:SS`."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def moment(text: str) -> datetime | None:
    """The time of a line, whichever tool wrote it: seconds since the epoch, or a date; None where it is neither."""
    try:
        found = (
            datetime.fromtimestamp(float(text)).astimezone()
            if _NUMBER.fullmatch(text)
            else datetime.fromisoformat(text)
        )
    except (ValueError, OverflowError, OSError):
        return None
    return found.astimezone()


_NUMBER: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")


def _is_final(line: ServiceLine, exit_code: str) -> bool:
    return line.status == "stopped" and (line.exit_code != "lost" or not exit_code.isdecimal())


def _names(raw: str, job_id: str, port: int) -> bool:
    line = parse_line(raw)
    return line is not None and (line.job_id, line.port) == (job_id, port)


def _try_lock(handle: int, file: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise RegistryPlaceError(
            f"the file system of {file} has no file locks ({error.strerror}), so two writers would lose lines; "
            "choose another place with --registry, such as a local disk or an NFS mount with locks"
        ) from error
    return True


def _holder(handle: int) -> str:
    """Who has the lock, by the kernel's table; it does not show processes of other machines and containers."""
    inode = os.fstat(handle).st_ino
    try:
        locks = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        locks = []
    for fields in (line.split() for line in locks):
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode):
            return _process(fields[4])
    return "a process that cannot be seen from here"


def _process(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = ""
    return f"process {pid} ({words[:100]})" if words else f"process {pid}"
