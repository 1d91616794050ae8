"""SIGINT and SIGTERM: at first in order where that is possible, the second time at once. For one run, or for several."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager


class Interruption:
    """Who is told of a signal: each task that is watched here."""

    def __init__(self, *watched: asyncio.Task[object]) -> None:
        self._asked = asyncio.Event()
        self._watched = set(watched)
        self._orderly: set[asyncio.Task[object]] = set()
        """Those that end by themselves when the event is set."""

    @property
    def asked(self) -> bool:
        """A signal came: nothing new begins."""
        return self._asked.is_set()

    def handle(self) -> None:
        """A signal came."""
        first = not self._asked.is_set()
        self._asked.set()
        for task in self._watched - (self._orderly if first else set()):
            task.cancel()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Inside, a signal cancels the current task."""
        task = _current()
        self._watched.add(task)
        try:
            yield
        finally:
            self._watched.discard(task)

    @asynccontextmanager
    async def orderly(self) -> AsyncIterator[asyncio.Event]:
        """Inside, a first signal only sets the event."""
        task = _current()
        self._orderly.add(task)
        try:
            yield self._asked
        finally:
            self._orderly.discard(task)


def interruption() -> Interruption:
    """Take over the signals of this process for the current task."""
    return _installed(Interruption(_current()))


def shared_interruption() -> Interruption:
    """Take over the signals of this process for the tasks that will be watched; the current one is left alone."""
    return _installed(Interruption())


def _installed(handler: Interruption) -> Interruption:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handler.handle)
    return handler


def _current() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise AssertionError("called outside of a task")
    return task
