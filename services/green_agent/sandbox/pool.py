"""The sandbox on this machine: slots with a worker each, jobs waiting for a free slot in the order they came."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from typing import Final, TypeVar

from services.contract.execution import Job, JobResult, LimitHit, Limits, SandboxError, SandboxInfo
from services.green_agent.sandbox.backends import Backend
from services.green_agent.sandbox.cell.bounds import Bounds
from services.green_agent.sandbox.jobs import TIME_LIMITS, plan, result
from services.green_agent.sandbox.supervision import Cell, Supervision
from services.green_agent.sandbox.workers import Worker

STARVED: Final = 0.5
"""A program stopped by the wall clock with less than this share of its CPU limit used may have been kept waiting by its
neighbours: it is run once more, alone."""

MOST_CELLS: Final = 2

T = TypeVar("T")


@dataclass(kw_only=True, slots=True)
class Slot:
    """Place for one job at a time."""

    number: int
    workers: dict[int, Worker] = field(default_factory=dict)
    """Kept workers by cell: the two cells of a split test never share one."""

    def close(self) -> None:
        """End the workers."""
        while self.workers:
            self.workers.popitem()[1].close()


class LocalSandbox:
    """Runs jobs on this machine. Use it from one event loop; `aclose` when done."""

    def __init__(self, backend: Backend, *, workers: int) -> None:
        self.backend = backend
        self.proof = SandboxInfo(backend=backend.name, isolated=backend.isolated)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        self._slots = [Slot(number=number) for number in range(workers)]
        self._gathering = asyncio.Lock()
        self._closed = False
        for slot in self._slots:
            self._free.put_nowait(slot)

    @property
    def info(self) -> SandboxInfo:
        """Backend and the proof taken at start-up."""
        return self.proof

    async def run(self, job: Job) -> JobResult:
        """Run one job. Raises SandboxError when the sandbox itself is broken. Cancelling ends the program."""
        async with self._slot() as slot:
            outcome = await self._attempt(job, slot)
        if not _starved(job.limits, outcome):
            return outcome
        async with self._alone() as slot:
            return await self._attempt(job, slot)

    async def aclose(self) -> None:
        """Wait for running jobs, then end the workers; nothing is left running. Later jobs are refused."""
        if self._closed:
            return
        async with self._alone():
            self._closed = True
            await asyncio.gather(*(self._in_thread(slot.close) for slot in self._slots))
        self._threads.shutdown()

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[Slot]:
        slot = await self._free.get()
        try:
            if self._closed:
                raise SandboxError("the sandbox has been closed")
            yield slot
        finally:
            self._free.put_nowait(slot)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[Slot]:
        taken: list[Slot] = []
        try:
            async with self._gathering:
                while len(taken) < len(self._slots):
                    taken.append(await self._free.get())
            yield taken[0]
        finally:
            for slot in taken:
                self._free.put_nowait(slot)

    async def _attempt(self, job: Job, slot: Slot) -> JobResult:
        """Run a job in a thread. Does not return before the thread is done with the slot, cancelled or not."""
        stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        running = asyncio.ensure_future(self._in_thread(lambda: _run(self.backend, slot, job, stop)))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            os.eventfd_write(stop, 1)
            while not running.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            running.exception()  # Stopped, most likely; the caller asked for it
            raise
        finally:
            os.close(stop)

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, work)


def _starved(limits: Limits, outcome: JobResult) -> bool:
    return outcome.limit is LimitHit.WALL and outcome.cpu_s < STARVED * limits.cpu_s


def _run(backend: Backend, slot: Slot, job: Job, stop: int) -> JobResult:
    bounds = Bounds(**job.limits.model_dump())
    plans = plan(job)
    with ExitStack() as stack:
        workers = _workers(backend, slot, bounds, len(plans), stack)
        peers: tuple[socket.socket | None, ...] = socket.socketpair() if len(plans) > 1 else (None,)
        cells = [
            stack.enter_context(closing(Cell(payload=cell.payload, stdin=cell.stdin, bounds=bounds, peer=peer)))
            for cell, peer in zip(plans, peers, strict=True)
        ]
        for worker, cell in zip(workers, cells, strict=True):
            worker.order(bounds, cell.descriptors)
            cell.handed_over()
        endings = Supervision(cells=cells, stop=stop).run()
        outcome = result(job, plans, endings, backend=backend.name)
        for worker in workers:
            worker.suspect = outcome.limit in TIME_LIMITS
    return outcome


def _workers(backend: Backend, slot: Slot, bounds: Bounds, count: int, stack: ExitStack) -> list[Worker]:
    """A worker for each of `count` cells, put away by `stack` as far as it is not kept for the next job."""
    workers = []
    for cell in range(count):
        if cell not in slot.workers:
            slot.workers[cell] = Worker(backend, bounds, number=MOST_CELLS * slot.number + cell)
        worker = slot.workers[cell]
        # Until the job has ended well nothing is known about the worker.
        worker.suspect = True
        stack.callback(_retire, slot, cell, kept=backend.persistent)
        workers.append(worker)
    return workers


def _retire(slot: Slot, cell: int, *, kept: bool) -> None:
    if slot.workers[cell].worn_out or not kept:
        slot.workers.pop(cell).close()
