"""One server as a process of this machine, in a process group of its own: started, recognised later, and ended whole."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from services.contract import guard
from services.inference.gpus import NoGpusError, gpus
from services.inference.ports import group_members, is_free, ports_of_group, start_ticks

GRACE_S: Final = 30.0
"""Given to a server to end by itself."""
_MEMORY_S: Final = 20.0
"""The driver frees memory of a process that has ended within seconds."""
_POLL_S: Final = 0.05
_REAP_S: Final = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessId:
    """A process that cannot be mistaken for a later one with its number. It leads the group of its server."""

    pid: int
    ticks: int
    """Start time in clock ticks since the machine's."""

    def __str__(self) -> str:
        return f"local-{self.pid}-{self.ticks}"

    @classmethod
    def parse(cls, server_id: str) -> Self | None:
        """The process of `local-PID-STARTTICKS`; None for ids of another form."""
        kind, _, rest = server_id.partition("-")
        pid, _, ticks = rest.partition("-")
        if kind != "local" or not (pid.isdecimal() and ticks.isdecimal()):
            return None
        return cls(pid=int(pid), ticks=int(ticks))

    @property
    def lives(self) -> bool:
        """Whether this very process is still there."""
        return start_ticks(self.pid) == self.ticks


class Child:
    """A server that we started."""

    def __init__(self, process: subprocess.Popen[bytes], identity: ProcessId | None) -> None:
        self._process = process
        self.identity = identity
        """None: it ended before it could be seen."""

    @property
    def _guarded(self) -> bool:
        return self._process.stdin is not None

    @property
    def exit_code(self) -> int | None:
        """None while it lives; 128 + n after signal n."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    async def stop(self, timeout_s: float) -> int:
        """SIGTERM to its group, `timeout_s` later SIGKILL; returns its exit code once nothing of it is left."""
        if self.identity is not None and (self.exit_code is None or not self._guarded):
            # Of a detached server that died the group may live on.
            await _end(self.identity, timeout_s)
        if self.exit_code is None:
            # The guard ends what left the group too, and then itself.
            self._process.terminate()
        return await self._reaped(timeout_s + _REAP_S)

    async def _reaped(self, within_s: float) -> int:
        give_up = time.monotonic() + within_s
        while (code := self.exit_code) is None:
            if time.monotonic() > give_up:
                self._process.kill()
            await asyncio.sleep(_POLL_S)
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code


async def start_guarded(
    argv: Sequence[str], env: Mapping[str, str], *, out: IO[bytes], err: IO[bytes], handles: Sequence[int]
) -> Child:
    """Start a server that ends when we end, however that happens."""
    guarded = [sys.executable, "-I", "-S", guard.__file__, str(GRACE_S), *argv]
    process = _started(guarded, env, stdin=subprocess.PIPE, out=out, err=err, handles=handles)
    while process.poll() is None:
        if (pid := _only_child(process.pid)) is not None and (ticks := start_ticks(pid)) is not None:
            return Child(process, ProcessId(pid=pid, ticks=ticks))
        await asyncio.sleep(0.005)
    return Child(process, None)


def start_detached(
    argv: Sequence[str], env: Mapping[str, str], *, out: IO[bytes], err: IO[bytes], handles: Sequence[int]
) -> Child:
    """Start a server that goes on when we end."""
    process = _started(argv, env, stdin=subprocess.DEVNULL, out=out, err=err, handles=handles)
    ticks = start_ticks(process.pid)
    return Child(process, None if ticks is None else ProcessId(pid=process.pid, ticks=ticks))


def _started(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    stdin: int,
    out: IO[bytes],
    err: IO[bytes],
    handles: Sequence[int],
) -> subprocess.Popen[bytes]:
    # asyncio's own subprocesses are killed when the loop's objects go, and a detached server must not be.
    return subprocess.Popen(
        argv, stdin=stdin, stdout=out, stderr=err, env=env, start_new_session=True, pass_fds=handles
    )


async def end_group(identity: ProcessId, timeout_s: float) -> bool:
    """End a server's process group: SIGTERM, after `timeout_s` SIGKILL, until its ports and GPU memory are free.

    False when the process is not the one that was started, and nothing is signalled then; or when it is another user's.
    """
    if not identity.lives:
        return False
    await _end(identity, timeout_s)
    return not group_members(identity.pid)


async def _end(identity: ProcessId, timeout_s: float) -> None:
    held, devices = ports_of_group(identity.pid), _devices(identity.pid)
    _signal(identity.pid, signal.SIGTERM)
    if not await _empty(identity.pid, timeout_s):
        _signal(identity.pid, signal.SIGKILL)
        await _empty(identity.pid, _REAP_S)
    await _until(lambda: all(map(is_free, held)), _REAP_S)
    if devices:
        await _memory_is_free(devices)


async def _empty(group: int, within_s: float) -> bool:
    return await _until(lambda: not group_members(group), within_s)


async def _until(condition: Callable[[], bool], within_s: float) -> bool:
    give_up = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > give_up:
            return False
        await asyncio.sleep(_POLL_S)
    return True


async def _memory_is_free(devices: frozenset[str]) -> None:
    give_up = time.monotonic() + _MEMORY_S
    while time.monotonic() < give_up:
        try:
            present = await asyncio.to_thread(gpus)
        except NoGpusError:
            return
        if not any(gpu.busy for gpu in present if gpu.uuid in devices):
            return
        await asyncio.sleep(0.5)


def _devices(pid: int) -> frozenset[str]:
    """UUIDs of the GPUs that a server was given."""
    with suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == b"CUDA_VISIBLE_DEVICES":
                return frozenset(filter(None, value.decode(errors="replace").split(",")))
    return frozenset()


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _only_child(pid: int) -> int | None:
    with suppress(OSError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return int(found[0]) if found else None
    return None
