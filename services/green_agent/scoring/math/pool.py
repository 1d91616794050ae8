"""Green's side of the workers that run the algebra system: two processes, shared, started when first needed.

A comparison that takes too long, or kills its worker, is undecided; the worker is replaced. Nothing here blocks the loop.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import queue
import selectors
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

import structlog

from services.contract.outcomes import SCORER, Failure, Outcome

log = structlog.get_logger()

WORKERS: Final = 2
LONGEST_S: Final = 10.0
"""Wall seconds of one comparison."""
START_S: Final = 60.0
"""Wall seconds a worker has for loading its libraries."""
COMPARISONS: Final = 1_000
"""After so many a worker is replaced: caches of the parser only grow."""
ROOT: Final = Path(__file__).parents[4]

_WORDS: Final = frozenset({"equal", "different", "undecided"})


class WorkerPool:
    """Workers and the threads that wait for them."""

    def __init__(self, *, workers: int = WORKERS, longest_s: float = LONGEST_S) -> None:
        self._longest_s = longest_s
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="math")
        self._workers = tuple(_Worker() for _ in range(workers))
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    async def compare(self, gold: str, answer: str) -> str:
        """equal, different or undecided. Raises Failure when no worker can be started."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._compare, gold, answer)

    def close(self) -> None:
        """End the workers; comparisons that run are undecided, those that wait are cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.kill()
        self._threads.shutdown(wait=True)
        for worker in self._workers:
            worker.end()

    def _compare(self, gold: str, answer: str) -> str:
        worker = self._idle.get()
        try:
            return worker.ask(gold, answer, within_s=self._longest_s)
        finally:
            self._idle.put(worker)


class _Worker:
    """One process, started at its first question and again after it ended. Used by one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._asked = 0

    def ask(self, gold: str, answer: str, *, within_s: float) -> str:
        process = self._running()
        self._asked += 1
        reply = ""
        if _told(process, json.dumps([gold, answer])):
            reply = _line(process, within_s)
        if reply not in _WORDS:
            log.info("comparison_undecided", reason="no verdict in time" if process.poll() is None else "worker ended")
            self.end()
            return "undecided"
        return reply

    def kill(self) -> None:
        """Kill the process from another thread; the one that waits for it finds out."""
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """Kill the process, if there is one, and wait for it."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and (self._asked >= COMPARISONS or self._process.poll() is not None):
            self.end()
        if self._process is None:
            self._process = self._started()
            self._asked = 0
        return self._process

    def _started(self) -> subprocess.Popen[bytes]:
        # No secret of green's environment is of use here.
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.green_agent.scoring.math.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=environment,
        )
        if _line(process, START_S) != "ready":
            process.kill()
            process.communicate()
            raise Failure(Outcome.INFRA_ERROR, SCORER, "the process that compares mathematical answers did not start")
        return process


def _told(process: subprocess.Popen[bytes], question: str) -> bool:
    try:
        _pipe(process.stdin).write(question.encode() + b"\n")
        _pipe(process.stdin).flush()
    except OSError:
        return False
    return True


def _line(process: subprocess.Popen[bytes], within_s: float) -> str:
    """The next line, empty when none comes in time. A worker writes a short line at once."""
    output = _pipe(process.stdout)
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        if not selector.select(within_s):
            return ""
    return output.readline().decode(errors="replace").strip()


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    if end is None:
        raise TypeError("the worker was started without pipes")
    return end


_shared: WorkerPool | None = None
_opening = threading.Lock()


def shared_pool() -> WorkerPool:
    """The workers of this process, ended with it."""
    global _shared  # noqa: PLW0603 - one pool a process, whatever event loop asks
    with _opening:
        if _shared is None:
            _shared = WorkerPool()
            atexit.register(_shared.close)
        return _shared
