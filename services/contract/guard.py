"""Runs one command so that nothing of it outlives its starter. A script, `guard.py GRACE_S COMMAND...`: standard library only.

Standard input is the life line. When it ends (the starter stopped, crashed or was killed), at SIGTERM, or when the command
has ended, the command's process group gets SIGTERM, GRACE_S later SIGKILL; then whatever left the group is killed.
A starter that writes to the life line lets go: the command then outlives it, and still ends whole.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_SET_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_STOPPING = {int(signal.SIGTERM), int(signal.SIGINT), int(signal.SIGHUP)}


def main(grace_s: float, command: list[str]) -> int:
    """Run `command` to its end or to ours; once told to end it has `grace_s`.

    Returns its exit code, 128 + n after signal n, 127 when it cannot start.
    """
    _prctl(_SET_CHILD_SUBREAPER, 1)
    wakeups = _signals_as_bytes()
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            process_group=0,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread has been started
        )
    except OSError as error:
        print(f"cannot start {command[0]!r}: {error.strerror}", file=sys.stderr, flush=True)  # noqa: T201 - the command's log
        return 127
    watched = [0, wakeups]
    while child.poll() is None and not _told_to_stop(watched):
        _reap_adopted(child)
    _end(child, grace_s)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _told_to_stop(watched: list[int]) -> bool:
    """Whether the life line, if it is still watched, or a signal says so; the wakeups are last."""
    ready, _, _ = select.select(watched, [], [])
    if 0 in ready:
        if not os.read(0, 64):
            return True
        watched.remove(0)
    return watched[-1] in ready and bool(_STOPPING & set(os.read(watched[-1], 64)))


def _signals_as_bytes() -> int:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGCHLD, *_STOPPING):
        signal.signal(number, lambda *_: None)
    return reading


def _end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    _signal_group(child.pid, signal.SIGTERM)
    give_up = time.monotonic() + grace_s
    while time.monotonic() < give_up and (child.poll() is None or _group_lives(child.pid)):
        _reap_adopted(child)
        time.sleep(0.02)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()
    # As the subreaper we are the parent of every orphan of the command; killing one hands us its children.
    while left := _children():
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _reap_adopted(child: subprocess.Popen[bytes]) -> None:
    for pid in _children():
        if pid != child.pid:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _children() -> list[int]:
    with suppress(OSError):
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def _die_with_parent() -> None:
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the life line alone has to do."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
