"""One worker process: started, given orders, closed. Blocking; used from the sandbox's own threads."""

from __future__ import annotations

import os
import select
import socket
import subprocess
from contextlib import ExitStack
from typing import Final

from services.contract.execution import SandboxError
from services.green_agent.sandbox.archive import cell_archive, memory_file
from services.green_agent.sandbox.backends import Backend, Place, scratch_folder
from services.green_agent.sandbox.cell.bounds import Bounds
from services.green_agent.sandbox.launch import ENVIRONMENT, View
from services.green_agent.sandbox.memory_groups import SPARE_BYTES, MemoryGroup, hierarchy

START_S: Final = 20.0
"""Seconds a worker may take until it answers. A busy machine needs one."""
END_S: Final = 5.0
PROGRAMS_PER_WORKER: Final = 500


class Worker:
    """A worker that has said it is ready. Raises SandboxError when it does not come up."""

    def __init__(self, backend: Backend, bounds: Bounds, *, number: int, view: View = View.RUN) -> None:
        self.programs = 0
        self.suspect = False
        """True after a time-out or a surprise: the worker is replaced before it runs another program."""
        self._stack = ExitStack()
        self._group: MemoryGroup | None = None
        try:
            self._start(backend, bounds, number, view)
        except BaseException:
            self._stack.close()
            raise

    @property
    def memory_kills(self) -> int:
        """How often the kernel has ended a process here for want of memory; 0 where nobody counts."""
        return self._group.kills() if self._group else 0

    @property
    def worn_out(self) -> bool:
        """True when the next program should get another worker."""
        return self.suspect or self.programs >= PROGRAMS_PER_WORKER

    def order(self, bounds: Bounds, descriptors: list[int]) -> None:
        """Have a program started. Raises SandboxError when the worker is gone."""
        self.programs += 1
        try:
            if self._group:
                self._group.limit(bounds.memory_bytes + bounds.scratch_bytes + SPARE_BYTES)
            socket.send_fds(self._control, [bounds.to_bytes()], descriptors)
        except OSError as error:
            raise SandboxError(f"a sandbox worker has ended: {error}; {self._last_words()}") from error

    def close(self) -> None:
        """End the worker and whatever it runs."""
        self._stack.close()

    def _start(self, backend: Backend, bounds: Bounds, number: int, view: View) -> None:
        control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control = self._stack.enter_context(control)
        self._errors = os.memfd_create("assay-errors")
        self._stack.callback(os.close, self._errors)
        where = hierarchy()
        if where:
            self._group = MemoryGroup(where)
            self._stack.callback(self._group.remove)
        archive = memory_file(cell_archive())
        scratch = self._stack.enter_context(scratch_folder(backend))
        control_number = inner.fileno()
        place = Place(control=control_number, archive=archive, bounds=bounds, scratch=scratch, number=number, view=view)
        with inner:
            try:
                command = backend.command(place)
                self._process = subprocess.Popen(
                    self._group.inside(command) if self._group else command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=self._errors,
                    pass_fds=(control_number, archive),
                    env=ENVIRONMENT | {"PATH": os.environ.get("PATH", ENVIRONMENT["PATH"])},
                )
            except OSError as error:
                raise SandboxError(f"cannot start a {backend.name} worker: {error}") from error
            finally:
                os.close(archive)
        self._stack.callback(self._end)
        self._await_ready(backend.name)

    def _await_ready(self, name: str) -> None:
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        if not poller.poll(START_S * 1000):
            raise SandboxError(f"a {name} worker did not start within {START_S:g} s; {self._last_words()}")
        if not self._control.recv(64):
            raise SandboxError(f"a {name} worker ended at its start; {self._last_words()}")

    def _end(self) -> None:
        # The end of its control line ends a worker, and the end of a life line everything a watcher started.
        self._control.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)

    def _last_words(self) -> str:
        text = os.pread(self._errors, 2000, 0).decode(errors="replace").strip()
        return f"it said: {text}" if text else "it said nothing"
