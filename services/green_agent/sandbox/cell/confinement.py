"""The four ways a program is kept apart, and how everything it started is ended.

`Namespaces`: new namespaces per program inside a long-lived worker. `OwnRoot`: the process is already the first of a
namespace of its own. `OwnUser`: a user id per slot, for containers that may not make namespaces. `Nothing`: limits only.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from services.green_agent.sandbox.cell import kernel, seccomp
from services.green_agent.sandbox.cell.bounds import Bounds
from services.green_agent.sandbox.cell.landlock import restrict_files

INNER_ID = 1000
SCRATCH = "/tmp"  # noqa: S108 - an empty file system of the program's own
PUBLIC_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue")  # noqa: S108 - where anyone may leave a file
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


class Confinement(Protocol):
    """One way of keeping a program apart."""

    def fork(self) -> int:
        """Start the watcher: 0 in the watcher. A worker that serves one program is its watcher itself."""
        ...

    def prepare(self, bounds: Bounds, /) -> None:
        """Run by the watcher before it starts the program."""
        ...

    def confine(self) -> int | None:
        """Run in the program's process, after its descriptors are in order. Returns `beside` of `apply_limits`."""
        ...

    def processes(self) -> Iterator[int]:
        """Ids of the program's processes, dead ones not yet reaped included."""
        ...

    def end(self) -> None:
        """Send every process of the program the signal that cannot be caught; run until none is left."""
        ...


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def _all_processes() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal())


class OwnRoot:
    """First process of its own PID namespace, with a root that holds nothing but the interpreter."""

    def fork(self) -> int:
        """This process is the watcher."""
        return 0

    def prepare(self, _bounds: Bounds, /) -> None:
        """Bubblewrap made everything; only /proc/1 has to be closed to the program."""
        os.chdir(SCRATCH)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)

    def confine(self) -> int | None:
        """Drop every privilege and filter the system calls."""
        kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
        kernel.drop_capabilities()
        kernel.forbid_new_privileges()
        seccomp.install()
        return 1

    def processes(self) -> Iterator[int]:
        """Everything in the namespace but its first process."""
        return (pid for pid in _all_processes() if pid != os.getpid())

    def end(self) -> None:
        """One signal reaches all of the namespace but its first process."""
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)


class Namespaces(OwnRoot):
    """As OwnRoot, but the namespaces are made here, inside a worker that bubblewrap has confined already."""

    def __init__(self) -> None:
        self.user, self.group = os.geteuid(), os.getegid()

    def fork(self) -> int:
        """The child is the first process of new namespaces."""
        return kernel.fork_into(kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC)

    def prepare(self, bounds: Bounds, /) -> None:
        """Map the user to itself, then mount a process list and a scratch folder of the namespace's own."""
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{INNER_ID} {self.user} 1")
        _write("/proc/self/gid_map", f"{INNER_ID} {self.group} 1")
        quiet = kernel.MS_NOSUID | kernel.MS_NODEV
        kernel.mount("proc", "/proc", "proc", quiet | kernel.MS_NOEXEC)
        _write("/proc/sys/user/max_user_namespaces", "0")
        kernel.mount(None, "/proc", None, kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY | quiet)
        size = f"size={bounds.scratch_bytes},nr_inodes=4096,mode=700"
        kernel.mount("scratch", SCRATCH, "tmpfs", quiet, size)
        super().prepare(bounds)


class OwnUser:
    """A user id that nothing else has. Its processes and files are found by that id."""

    def __init__(self, user: int, scratch: str, readable: tuple[str, ...]) -> None:
        self.user = user
        self.scratch = scratch
        self.readable = readable

    def fork(self) -> int:
        """The watcher keeps the worker's rights: it has to end what runs under another id."""
        return os.fork()

    def prepare(self, _bounds: Bounds, /) -> None:
        """Nothing of the program before may be left, even if its watcher was killed."""
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        self.end()
        # As the slot's user: in a container root may not change owners.
        self._as_user(lambda: os.mkdir(self.scratch, 0o700))  # noqa: PTH102

    def confine(self) -> int | None:
        """Become the slot's user; read the interpreter, write the scratch folder, nothing else."""
        self._become()
        os.chdir(self.scratch)
        kernel.forbid_new_privileges()
        restrict_files(readable=self.readable, writable=(self.scratch, *DEVICES))
        seccomp.install()
        return 0

    def processes(self) -> Iterator[int]:
        """Everything that runs under the slot's id."""
        return (pid for pid in _all_processes() if _user(pid) == self.user)

    def end(self) -> None:
        """Kill and sweep as the slot's user: that reaches all of its processes and files, and nobody else's."""
        self._as_user(self._kill_and_sweep)

    def _as_user(self, deed: Callable[[], None]) -> None:
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                self._become()
                deed()
                os._exit(0)
            os._exit(1)
        _, status = os.waitpid(child, 0)
        if status != 0:
            raise OSError(f"user {self.user} of a sandbox slot could not be used")

    def _become(self) -> None:
        os.setgroups([])
        os.setresgid(self.user, self.user, self.user)
        os.setresuid(self.user, self.user, self.user)

    def _kill_and_sweep(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        for folder in PUBLIC_FOLDERS:
            with suppress(OSError):
                _sweep(folder, self.user)


def _sweep(folder: str, user: int) -> None:
    for entry in os.scandir(folder):
        with suppress(OSError):
            if entry.stat(follow_symlinks=False).st_uid != user:
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()


class Nothing:
    """No isolation: resource limits, and an end of all descendants."""

    def __init__(self, scratch: str) -> None:
        self.scratch = scratch

    def fork(self) -> int:
        """This process is the watcher."""
        return 0

    def prepare(self, _bounds: Bounds, /) -> None:
        """Orphans come to the watcher instead of the machine's first process, so that none is lost."""
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        os.chdir(self.scratch)

    def confine(self) -> int | None:
        """The user's other processes share the process limit; it cannot be set for the program alone."""
        return None

    def processes(self) -> Iterator[int]:
        """All descendants of the watcher."""
        parents = {pid: parent for pid in _all_processes() if (parent := _parent(pid))}
        family = {os.getpid()}
        grown = True
        while grown:
            children = {pid for pid, parent in parents.items() if parent in family} - family
            family |= children
            grown = bool(children)
        yield from family - {os.getpid()}

    def end(self) -> None:
        """Kill the descendants there are now."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _user(pid: int) -> int | None:
    """Real user id; the owner of /proc/PID would be wrong for a process that hides itself."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in lines if line.startswith("Uid:")), None)


def _parent(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return int(fields[1])
