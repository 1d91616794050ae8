"""The sandbox on this machine: slots with a worker each, jobs waiting for a free slot in the order they came."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field, replace
from typing import Final, TypedDict, TypeVar

from services.contract.execution import (
    Build,
    Built,
    Executable,
    Interactive,
    Job,
    JobResult,
    LimitHit,
    Limits,
    Program,
    SandboxError,
    SandboxInfo,
)
from services.green_agent.sandbox import compiler
from services.green_agent.sandbox.backends import Backend
from services.green_agent.sandbox.builds import Builds
from services.green_agent.sandbox.cell.bounds import Bounds
from services.green_agent.sandbox.jobs import (
    TIME_LIMITS,
    Binary,
    Link,
    Work,
    binary,
    building,
    digest,
    limit_hit,
    parts,
    plan,
    result,
)
from services.green_agent.sandbox.launch import View
from services.green_agent.sandbox.supervision import Cell, Ending, Supervision
from services.green_agent.sandbox.workers import Worker

STARVED: Final = 0.5
"""A program stopped by the wall clock with less than this share of its CPU limit used may have been kept waiting by its
neighbours: it is run once more, alone."""

KINDS: Final = ((View.RUN, 0), (View.RUN, 1), (View.BUILD, 0))
"""Workers of a slot: the two cells of a job never share one, and what builds sees more than what runs."""

PROOF: Final = Executable(source="#include <iostream>\nint main() { std::cout << 1; }", language="cpp")
"""A program that has to build and to run before a build that fails is held against anybody's program."""
_proven: Final[set[tuple[str, Limits]]] = set()
"""Backends, with the limits of their builds, whose compiler has stood the proof in this process."""

T = TypeVar("T")
Kind = tuple[View, int]
Finish = Callable[[list[Ending]], T]


@dataclass(kw_only=True, slots=True)
class Slot:
    """Place for one job at a time."""

    number: int
    workers: dict[Kind, Worker] = field(default_factory=dict)
    """Kept workers."""

    def close(self) -> None:
        """End the workers."""
        while self.workers:
            self.workers.popitem()[1].close()


class LocalSandbox:
    """Runs jobs on this machine. Use it from one event loop; `aclose` when done."""

    def __init__(self, backend: Backend, *, workers: int, build_limits: Limits = compiler.LIMITS) -> None:
        self.backend = backend
        self.build_limits = build_limits
        self.proof = SandboxInfo(backend=backend.name, isolated=backend.isolated)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="sandbox")
        self._free: asyncio.Queue[Slot] = asyncio.Queue()
        self._slots = [Slot(number=number) for number in range(workers)]
        self._gathering = asyncio.Lock()
        self._builds = Builds()
        self._closed = False
        for slot in self._slots:
            self._free.put_nowait(slot)

    @property
    def info(self) -> SandboxInfo:
        """Backend and the proof taken at start-up."""
        return self.proof

    async def run(self, job: Job) -> JobResult:
        """Run one job. Raises SandboxError when the sandbox itself is broken. Cancelling ends the program."""
        binaries = [await self._binary(part) if part.language == "cpp" else None for part in parts(job)]
        if isinstance(job, Interactive):
            _insist(binaries[0])
        made = binaries[-1] if binaries else None
        if isinstance(job, Build):
            return JobResult(build=made.built if made else Built(ok=True), backend=self.backend.name)
        if made is not None and not made.built.ok:
            return JobResult(build=made.built, backend=self.backend.name)
        work = plan(job, binaries)
        outcome = await self._done(work, lambda endings: result(job, work, endings, backend=self.backend.name))
        return outcome.model_copy(update={"build": made.built}) if made else outcome

    async def _binary(self, program: Executable) -> Binary:
        """What building the program gives. Raises SandboxError where nothing can be built."""
        compiler.required()
        if (self.backend.name, self.build_limits) not in _proven:
            await self._prove_compiler()
        return await self._built(program)

    async def _built(self, program: Executable) -> Binary:
        work = building(program, self.build_limits)
        return await self._builds.get(digest(program), lambda: self._done(work, lambda endings: binary(work, endings)))

    async def _prove_compiler(self) -> None:
        made = await self._built(PROOF)
        if not made.built.ok:
            raise SandboxError(f"the C++ compiler of this sandbox fails on a right program: {_reason(made.built)}")
        job = Program(source=PROOF.source, language="cpp")
        work = plan(job, [made])
        ran = await self._done(work, lambda endings: result(job, work, endings, backend=self.backend.name))
        if (ran.stdout, ran.exit_status) != ("1", 0):
            raise SandboxError(f"what the C++ compiler of this sandbox builds does not run: {ran.stderr[:500]}")
        _proven.add((self.backend.name, self.build_limits))

    async def _done(self, work: Work, finish: Finish[T]) -> T:
        """The cells' work, and what `finish` makes of their endings, in a thread."""
        async with self._slot() as slot:
            endings, outcome = await self._attempt(work, finish, slot)
        if not _starved(work.limits, endings):
            return outcome
        async with self._alone() as slot:
            return (await self._attempt(work, finish, slot))[1]

    async def aclose(self) -> None:
        """Wait for running jobs, then end the workers; nothing is left running. Later jobs are refused."""
        if self._closed:
            return
        async with self._alone():
            self._closed = True
            await asyncio.gather(*(self._in_thread(slot.close) for slot in self._slots))
        self._builds.clear()
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

    async def _attempt(self, work: Work, finish: Finish[T], slot: Slot) -> tuple[list[Ending], T]:
        """Run cells in a thread. Does not return before the thread is done with the slot, cancelled or not."""
        stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        running = asyncio.ensure_future(self._in_thread(lambda: _run(self.backend, slot, work, finish, stop)))
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


def _insist(made: Binary | None) -> None:
    if made is not None and not made.built.ok:
        raise SandboxError(f"the interactor does not build: {_reason(made.built)}")


def _reason(built: Built) -> str:
    return f"stopped by its {built.limit} limit" if built.limit else built.output[:500]


def _starved(limits: Limits, endings: Sequence[Ending]) -> bool:
    used_s = sum(ending.cpu_s for ending in endings)
    return limit_hit(endings) is LimitHit.WALL and used_s < STARVED * limits.cpu_s


def _run(backend: Backend, slot: Slot, work: Work, finish: Finish[T], stop: int) -> tuple[list[Ending], T]:
    bounds = Bounds(**work.limits.model_dump())
    with ExitStack() as stack:
        workers = _workers(backend, slot, bounds, work, stack)
        cells = _cells(work, bounds, stack)
        before = [worker.memory_kills for worker in workers]
        for worker, cell in zip(workers, cells, strict=True):
            worker.order(bounds, cell.descriptors)
            cell.handed_over()
        try:
            endings = Supervision(cells=cells, stop=stop).run()
        except SandboxError:
            # A program can have its own watcher killed: what the kernel keeps for it weighs on nobody in particular.
            if not any(_killed(workers, before)):
                raise
            endings = [cell.ending() for cell in cells]
        killed = _killed(workers, before)
        endings = [_weighed(*told) for told in zip(endings, killed, strict=True)]
        outcome = finish(endings)
        for worker, ran_short in zip(workers, killed, strict=True):
            worker.suspect = ran_short or limit_hit(endings) in TIME_LIMITS
    return endings, outcome


def _killed(workers: Sequence[Worker], before: Sequence[int]) -> list[bool]:
    """Which of the workers' groups the kernel has had to thin out since `before`."""
    return [worker.memory_kills > count for worker, count in zip(workers, before, strict=True)]


def _weighed(ending: Ending, killed: bool) -> Ending:  # noqa: FBT001 - told apart by their types
    """The ending; when the kernel had to end a process for want of memory, and nothing else was wrong, that is why."""
    return replace(ending, limit=LimitHit.MEMORY) if killed and ending.limit is None else ending


def _cells(work: Work, bounds: Bounds, stack: ExitStack) -> list[Cell]:
    """The cells with their lines; closed by `stack`."""
    made: list[Cell] = []
    for given, lines in zip(work.cells, _lines(work), strict=True):
        made.append(stack.enter_context(closing(Cell(payload=given.payload, bounds=bounds, **lines))))
    return made


class _Lines(TypedDict):
    stdin: bytes | int
    stdout: int | None
    extra: bytes | int | None


def _lines(work: Work) -> list[_Lines]:
    """What each cell reads and writes; the cells close the descriptors."""
    lines: list[_Lines] = [
        {"stdin": cell.stdin.encode("utf-8", "surrogatepass"), "stdout": None, "extra": cell.binary}
        for cell in work.cells
    ]
    if work.link is Link.PEERS:
        for line, peer in zip(lines, socket.socketpair(), strict=True):
            line["extra"] = peer.detach()
    if work.link is Link.CROSSED:
        for reader, writer in (lines, lines[::-1]):
            reader["stdin"], writer["stdout"] = os.pipe()
    return lines


def _workers(backend: Backend, slot: Slot, bounds: Bounds, work: Work, stack: ExitStack) -> list[Worker]:
    """A worker for each cell, put away by `stack` as far as it is not kept for the next job."""
    workers = []
    for cell in range(len(work.cells)):
        kind = (work.view, cell)
        if kind not in slot.workers:
            number = len(KINDS) * slot.number + KINDS.index(kind)
            slot.workers[kind] = Worker(backend, bounds, number=number, view=work.view)
        worker = slot.workers[kind]
        # Until the job has ended well nothing is known about the worker.
        worker.suspect = True
        stack.callback(_retire, slot, kind, kept=backend.persistent)
        workers.append(worker)
    return workers


def _retire(slot: Slot, kind: Kind, *, kept: bool) -> None:
    if slot.workers[kind].worn_out or not kept:
        slot.workers.pop(kind).close()
