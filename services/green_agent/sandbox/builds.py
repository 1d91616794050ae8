"""Keeps what was built, by content. Equal text is built once, also when it is asked for many times at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final

from services.green_agent.sandbox.jobs import Binary

KEPT_BYTES: Final = 128 << 20
ENTRY_BYTES: Final = 4096
"""What a result weighs beside its content; bounds the number of those that did not build."""


class Builds:
    """Results of building, the least recently used of which are forgotten first. Use it from one event loop."""

    def __init__(self, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._kept: OrderedDict[str, Binary] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self.size_bytes = 0

    async def get(self, name: str, build: Callable[[], Awaitable[Binary]]) -> Binary:
        """What `build` gave under this name, now or before; before, its `cpu_s` is 0.

        A build that was stopped by a limit is not kept: another time it may have the machine for itself. An error of
        `build`, and its cancellation, leave it to whoever waits next.
        """
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            async with lock:
                return self._known(name) or self._keep(name, await build())
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name], self._locks[name]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.size_bytes = 0

    def _known(self, name: str) -> Binary | None:
        found = self._kept.get(name)
        if found is None:
            return None
        self._kept.move_to_end(name)
        return Binary(built=found.built.model_copy(update={"cpu_s": 0.0}), content=found.content)

    def _keep(self, name: str, made: Binary) -> Binary:
        if made.built.limit is None:
            self._kept[name] = made
            self.size_bytes += ENTRY_BYTES + len(made.content)
        while self.size_bytes > self._kept_bytes:
            _, forgotten = self._kept.popitem(last=False)
            self.size_bytes -= ENTRY_BYTES + len(forgotten.content)
        return made
