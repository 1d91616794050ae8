"""Starts one program, measures it, ends it and everything it started, and says how it went.

In a namespace of its own the watcher is process 1 and the program process 2: a first process ignores default signals, so
a program must not be one. The watcher is the only judge of time and memory.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from services.green_agent.sandbox.cell.bounds import Bounds
from services.green_agent.sandbox.cell.confinement import Confinement

POLL_S: Final = 0.05
TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
SPARE_PROCESSES: Final = 2
"""Processes above the limit at which a program is ended where the kernel cannot hold the limit itself."""


class Watcher:
    """One program from its start to the end of its last process."""

    def __init__(self, bounds: Bounds, confinement: Confinement, life: int) -> None:
        self.bounds = bounds
        self.confinement = confinement
        self.life = life
        self.reaped_cpu_s = 0.0
        self.peak_bytes = 0
        self.exit_status: int | None = None
        self.stopped = False
        """Green asked for the end of a program that still ran."""
        self.limit: str | None = None
        self.started = 0.0

    def run(self, program: Callable[[], NoReturn], unneeded: list[int]) -> NoReturn:
        """Fork `program`, watch it, report on the life line and exit. `unneeded`: descriptors of the program alone."""
        self.started = time.monotonic()
        pid = os.fork()
        if pid == 0:
            program()
        for descriptor in unneeded:
            os.close(descriptor)  # their readers need not wait for the end of this process
        self._watch(pid)
        self._end_all(pid)
        with suppress(BrokenPipeError):  # green went away
            os.write(self.life, self._report())
        os._exit(0)

    def _watch(self, pid: int) -> None:
        poller = select.poll()
        poller.register(os.pidfd_open(pid), select.POLLIN)
        poller.register(self.life, select.POLLIN)
        while self.limit is None and self.exit_status is None:
            events = poller.poll(POLL_S * 1000)
            self._reap(pid)
            if self.exit_status is None:
                self.stopped = any(descriptor == self.life for descriptor, _ in events)
                if self.stopped:
                    return  # green is done with the program, or gone
                self._measure()

    def _measure(self) -> None:
        cpu_s, memory_bytes, count = self.reaped_cpu_s, 0, 0
        for pid in self.confinement.processes():
            used_s, resident = _usage(pid)
            cpu_s, memory_bytes, count = cpu_s + used_s, memory_bytes + resident, count + 1
        self.peak_bytes = max(self.peak_bytes, memory_bytes)
        if cpu_s > self.bounds.cpu_s:
            self.limit = "cpu"
        elif memory_bytes > self.bounds.memory_bytes:
            self.limit = "memory"
        elif time.monotonic() - self.started > self.bounds.wall_s:
            self.limit = "wall"
        elif count > self.bounds.processes + SPARE_PROCESSES:
            self.limit = "processes"

    def _reap(self, program: int, flags: int = os.WNOHANG) -> bool:
        """Collect dead children. True when no child is left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, flags)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            self.reaped_cpu_s += usage.ru_utime + usage.ru_stime
            self.peak_bytes = max(self.peak_bytes, usage.ru_maxrss * 1024)
            if pid == program:
                ended = os.waitstatus_to_exitcode(status)
                # The signal that we sent is not how the program ended.
                self.exit_status = None if self.stopped and ended == -signal.SIGKILL else ended

    def _end_all(self, program: int) -> None:
        while True:
            self.confinement.end()
            if self._reap(program) and not any(self.confinement.processes()):
                break
            time.sleep(0.001)
        # Polling sees less than the truth; the sum the kernel kept has the last word on time.
        if self.limit is None and self.reaped_cpu_s > self.bounds.cpu_s:
            self.limit = "cpu"

    def _report(self) -> bytes:
        report = {
            "exit_status": self.exit_status,
            "limit": self.limit,
            "cpu_s": self.reaped_cpu_s,
            "wall_s": time.monotonic() - self.started,
            "peak_memory_bytes": self.peak_bytes,
        }
        return json.dumps(report).encode()


def _usage(pid: int) -> tuple[float, int]:
    """CPU seconds of a process and the children it has waited for, and its resident bytes."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0.0, 0
    return sum(map(int, fields[11:15])) * TICK_S, int(fields[21]) * PAGE_BYTES
