"""One server as a process of this machine, in a process group of its own: started, recognised later, and ended whole."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from services.contract import guard
from services.inference.machine.gpus import NoGpusError, gpus
from services.inference.machine.ports import group_members, is_free, members_of, ports_of_group, session_of, start_ticks

GRACE_S: Final = 30.0
"""Given to a server to end by itself."""
_MEMORY_S: Final = 20.0
"""The driver frees memory of a process that has ended within seconds."""
_POLL_S: Final = 0.05
_REAP_S: Final = 5.0
_LOG: Final = re.compile(r"_port_[0-9]{1,5}_[0-9]{8}_[0-9]{6}\.(out|err)( \(deleted\))?$")
"""As the launcher names them."""


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
    """A server that we started, under a guard: it ends when we end, however that happens, unless we let it go."""

    def __init__(self, guarding: subprocess.Popen[bytes], identity: ProcessId | None) -> None:
        self._guard = guarding
        self.identity = identity
        """None: it ended before it could be seen."""

    @property
    def exit_code(self) -> int | None:
        """None while anything of it lives; 128 + n after signal n."""
        code = self._guard.poll()
        return code if code is None or code >= 0 else 128 - code

    def let_go(self) -> None:
        """It goes on when we end; its guard stays with it."""
        with suppress(BrokenPipeError), self._life_line:
            self._life_line.write(b".")

    async def death(self) -> int | None:
        """Its exit code if it has ended by itself, once what it left behind has ended too, in seconds; None while it lives."""
        if self.exit_code is not None:
            return await self._reaped(0.0)
        if self.identity is not None and not self.identity.lives:
            return await self.stop(_REAP_S)
        return None

    async def stop(self, timeout_s: float) -> int:
        """SIGTERM to its group, `timeout_s` later SIGKILL; returns its exit code once nothing of it is left."""
        # A group in our guard's session is ours, also when leader and guard have been killed.
        if self.identity is not None and self._guard.pid in map(session_of, group_members(self.identity.pid)):
            await _end(self.identity, timeout_s)
        if self.identity is not None and not self.identity.lives:
            # Its guard is on its way out with the exit code; a signal that meets it there would become the code.
            await _until(lambda: self.exit_code is not None, _REAP_S)
        if self.exit_code is None:
            self._guard.terminate()
        return await self._reaped(timeout_s + _REAP_S)

    async def _reaped(self, within_s: float) -> int:
        give_up = time.monotonic() + within_s
        while (code := self.exit_code) is None:
            if time.monotonic() > give_up:
                self._guard.kill()
            await asyncio.sleep(_POLL_S)
        with suppress(BrokenPipeError):
            self._life_line.close()
        return code

    @property
    def _life_line(self) -> IO[bytes]:
        if self._guard.stdin is None:
            raise AssertionError("started without a life line")
        return self._guard.stdin


async def started(
    argv: Sequence[str], env: Mapping[str, str], *, out: IO[bytes], err: IO[bytes], handles: Sequence[int]
) -> Child:
    """Start a server; its guard holds the `handles`, which are leases."""
    process = _guarded(argv, env, out=out, err=err, handles=handles)
    while process.poll() is None:
        if (pid := _only_child(process.pid)) is not None and (ticks := start_ticks(pid)) is not None:
            return Child(process, ProcessId(pid=pid, ticks=ticks))
        await asyncio.sleep(0.005)
    return Child(process, None)


def _guarded(
    argv: Sequence[str], env: Mapping[str, str], *, out: IO[bytes], err: IO[bytes], handles: Sequence[int]
) -> subprocess.Popen[bytes]:
    # asyncio's own subprocesses are killed when the loop's objects go, and a server that we let go must not be.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(GRACE_S), *argv],
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=err,
        env=env,
        start_new_session=True,
        pass_fds=handles,
    )


def orphans(among: Iterable[ProcessId]) -> frozenset[ProcessId]:
    """Those that have ended and left processes in their groups, as when their guard was killed too.

    A group's number is not given again while it has members. Ours are known by what no stranger does: writing its output to a
    server's log.
    """
    ended = {identity.pid: identity for identity in among if start_ticks(identity.pid) is None}
    members = members_of(ended)
    return frozenset(
        identity
        for group, identity in ended.items()
        if any(_writes_a_log(pid) and (start_ticks(pid) or 0) >= identity.ticks for pid in members.get(group, ()))
    )


def _writes_a_log(pid: int) -> bool:
    for stream in (1, 2):
        with suppress(OSError):
            if _LOG.search(os.readlink(f"/proc/{pid}/fd/{stream}")):  # noqa: PTH115 - a pathname that may be gone
                return True
    return False


async def end_group(identity: ProcessId, timeout_s: float) -> bool:
    """End a server's process group: SIGTERM, after `timeout_s` SIGKILL, until its ports and GPU memory are free.

    False when the process is not the one that was started, and left nothing either, and nothing is signalled then; or when it
    is another user's.
    """
    if not identity.lives and not orphans([identity]):
        return False
    await _end(identity, timeout_s)
    return not group_members(identity.pid)


async def _end(identity: ProcessId, timeout_s: float) -> None:
    guarding = session_of(identity.pid)
    held, devices = ports_of_group(identity.pid), _devices(guarding or identity.pid)
    _signal(identity.pid, signal.SIGTERM)
    if not await _empty(identity.pid, timeout_s):
        _signal(identity.pid, signal.SIGKILL)
        await _empty(identity.pid, _REAP_S)
    # Its guard has ended then what left the group.
    await _until(lambda: guarding is None or start_ticks(guarding) is None, _REAP_S)
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
    """UUIDs of the GPUs that a server was given. Its guard is the better source: engines overwrite theirs with a title."""
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
