"""Reads what running cells say until they have ended, within limits. Blocking; one call serves the cells of one job."""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from services.contract.execution import LimitHit, SandboxError
from services.green_agent.sandbox.archive import memory_file
from services.green_agent.sandbox.cell.bounds import Bounds

GRACE_S: Final = 10.0
"""Seconds after the wall limit at which a watcher that has not answered counts as broken."""
RESULT_BYTES: Final = 64 << 20
"""Result lines of one cell above this are endless output."""
CHUNK_BYTES: Final = 1 << 18
REPORT_BYTES: Final = 4096
STOP: Final = b"stop"

STREAMS: Final = ("stdout", "stderr", "result")
UNMEASURED: Final[dict[str, Any]] = {
    "exit_status": None,
    "limit": None,
    "cpu_s": 0.0,
    "wall_s": 0.0,
    "peak_memory_bytes": 0,
}
"""Stands for the report of a watcher that has none to give."""


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The job was cancelled while it ran."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a cell ended, as its watcher measured it, and what it wrote."""

    exit_status: int | None
    """Negative: the signal that ended it. None when it was still running as the job ended."""
    limit: LimitHit | None
    cpu_s: float
    wall_s: float
    peak_memory_bytes: int
    stdout: bytes
    stderr: bytes
    result: bytes
    truncated: bool


class Cell:
    """The outer ends of one cell's lines, and the descriptors to hand to its worker."""

    def __init__(
        self,
        *,
        payload: dict[str, Any],
        bounds: Bounds,
        stdin: bytes | int,
        stdout: int | None = None,
        extra: bytes | int | None = None,
    ) -> None:
        """`stdin` and `extra` are contents or descriptors, `stdout` is a descriptor; the cell closes those it is given.

        Standard output that goes elsewhere is not read here.
        """
        self.bounds = bounds
        self.output: dict[str, bytearray] = {name: bytearray() for name in STREAMS}
        self.report: dict[str, Any] | None = None
        self.overflow = False
        self._stack = ExitStack()
        self._inner = ExitStack()
        self.life, life = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stack.enter_context(self.life)
        self._inner.enter_context(life)
        self.readers: dict[str, int] = {}
        self.descriptors = [life.fileno(), self._inner_end(json.dumps(payload).encode()), self._inner_end(stdin)]
        for name in STREAMS:
            if name == "stdout" and stdout is not None:
                self.descriptors.append(self._inner_end(stdout))
                continue
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            self._stack.callback(os.close, reader)
            self._inner.callback(os.close, writer)
            self.readers[name] = reader
            self.descriptors.append(writer)
        if extra is not None:
            self.descriptors.append(self._inner_end(extra))

    def _inner_end(self, given: bytes | int) -> int:
        descriptor = memory_file(given) if isinstance(given, bytes) else given
        self._inner.callback(os.close, descriptor)
        return descriptor

    def handed_over(self) -> None:
        """Close the inner ends; the worker has its own now."""
        self._inner.close()

    def close(self) -> None:
        """Close everything. A cell that still runs is ended by that."""
        self._inner.close()
        self._stack.close()

    def stop(self) -> None:
        """Ask the watcher to end the program and to report."""
        with suppress(OSError):
            self.life.send(STOP, socket.MSG_DONTWAIT)

    def take(self, name: str) -> bool:
        """Read what there is on one stream. False at its end."""
        try:
            data = os.read(self.readers[name], CHUNK_BYTES)
        except BlockingIOError:
            return True
        buffer = self.output[name]
        room = (RESULT_BYTES if name == "result" else self.bounds.output_bytes) - len(buffer)
        buffer += data[:room]
        if len(data) > room:
            self.overflow = True
            self.stop()
        return bool(data)

    def take_report(self) -> None:
        """Read the watcher's report. Raises SandboxError when it is missing or tells of a broken sandbox."""
        try:
            message = self.life.recv(REPORT_BYTES)
        except ConnectionResetError:
            # The watcher ended without reading our request to stop; its report is behind this error.
            message = self.life.recv(REPORT_BYTES)
        if not message:
            raise SandboxError("a sandbox watcher ended without a report")
        report = json.loads(message)
        if "broken" in report:
            raise SandboxError(f"a sandbox cell could not be set up: {report['broken']}")
        self.report = report

    def ending(self) -> Ending:
        """What came of it; without a report only what it wrote."""
        report = self.report or UNMEASURED
        limit = report["limit"] and LimitHit(report["limit"])
        return Ending(
            exit_status=report["exit_status"],
            limit=LimitHit.OUTPUT if self.overflow else limit,
            cpu_s=report["cpu_s"],
            wall_s=report["wall_s"],
            peak_memory_bytes=report["peak_memory_bytes"],
            stdout=bytes(self.output["stdout"]),
            stderr=bytes(self.output["stderr"]),
            result=bytes(self.output["result"]),
            truncated=self.overflow,
        )


@dataclass(kw_only=True, slots=True)
class Supervision:
    """Cells of one job until all have ended. The job ends with its last cell; the others are stopped then."""

    cells: list[Cell]
    stop: int
    """A descriptor that becomes readable when the job is cancelled."""
    started: float = field(default_factory=time.monotonic)

    def run(self) -> list[Ending]:
        """Wait for the end. Raises SandboxError for a broken sandbox, Stopped for a cancelled job."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.stop, selectors.EVENT_READ)
            for cell in self.cells:
                selector.register(cell.life, selectors.EVENT_READ, (cell, "life"))
                for name, reader in cell.readers.items():
                    selector.register(reader, selectors.EVENT_READ, (cell, name))
            while len(selector.get_map()) > 1:
                self._step(selector)
        return [cell.ending() for cell in self.cells]

    def _step(self, selector: selectors.BaseSelector) -> None:
        deadline = self.started + max(cell.bounds.wall_s for cell in self.cells) + GRACE_S
        events = selector.select(max(0.0, deadline - time.monotonic()))
        if not events:
            raise SandboxError("a sandbox watcher did not end its program in time")
        for key, _ in events:
            if key.data is None:
                raise Stopped
            cell, name = key.data
            if not self._take(cell, name):
                selector.unregister(key.fileobj)

    def _take(self, cell: Cell, name: str) -> bool:
        if name != "life":
            return cell.take(name)
        cell.take_report()
        if cell is self.cells[-1]:
            for other in self.cells[:-1]:
                other.stop()
        return False
