"""What a conversational agent keeps between messages: one state for each owner and context, bounded in every direction."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from services.contract.a2a.emitter import Declined, Incoming

T = TypeVar("T")
Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContextLimits:
    """Bounds of a store (interop specification 2.2). Seconds and bytes."""

    concurrency: int = 64
    """Messages in work at once, of different contexts."""
    waiting: int = 256
    """Messages that wait for their context or for a place; one more is refused."""
    contexts: int = 4_096
    idle_s: float = 3_600.0
    messages: int = 1_024
    """Messages of one context, both directions."""
    context_bytes: int = 8 << 20
    remembered: int = 65_536
    """Evicted contexts whose ids are still known."""


class ContextRefused(Declined):
    """The message is not taken: `context expired`, `context too large` or `busy`. The server answers `failed` with it."""


@dataclass(slots=True)
class _Kept(Generic[T]):
    used_at: float
    state: T | None = None
    line: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    messages: int = 0
    size: int = 0


class Turn(Generic[T]):
    """One message's time with its context."""

    def __init__(self, kept: _Kept[T]) -> None:
        self._kept = kept

    @property
    def state(self) -> T | None:
        """What the last message left; None in a new context. This message has it to itself."""
        return self._kept.state

    @state.setter
    def state(self, state: T) -> None:
        self._kept.state = state

    def said(self, size: int) -> None:
        """Count a further message of `size` bytes, such as the reply, towards the bounds of the context."""
        self._kept.messages += 1
        self._kept.size += size


class ContextStore(Generic[T]):
    """One state for each owner and context id. `clock` counts seconds."""

    def __init__(self, *, limits: ContextLimits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or ContextLimits()
        self._clock = clock
        self._kept: OrderedDict[Key, _Kept[T]] = OrderedDict()  # least recently used first
        self._expired: OrderedDict[Key, None] = OrderedDict()
        self._places = asyncio.Semaphore(self._limits.concurrency)
        self._waiting = 0

    def __len__(self) -> int:
        return len(self._kept)

    @asynccontextmanager
    async def turn(self, incoming: Incoming) -> AsyncIterator[Turn[T]]:
        """Wait in line, then hold the message's context while it is answered. Raises ContextRefused.

        Messages of one context come one at a time in order of arrival; it is not evicted while one holds or awaits it.
        """
        key, size = (incoming.owner, incoming.context_id), len(incoming.text.encode("utf-8", "replace"))
        self._evict_idle()
        kept = self._find(key)
        kept.users += 1
        try:
            async with self._place(kept):
                turn = Turn(kept)
                self._check_size(kept, size)
                turn.said(size)
                yield turn
        finally:
            kept.users -= 1
            kept.used_at = self._clock()
            self._kept.move_to_end(key)

    @asynccontextmanager
    async def _place(self, kept: _Kept[T]) -> AsyncIterator[None]:
        """First the context's own line, then one of the common places: who waits for its context takes none."""
        if self._waiting >= self._limits.waiting and (kept.line.locked() or self._places.locked()):
            raise ContextRefused("busy")
        self._waiting += 1
        waits = True
        try:
            async with kept.line, self._places:
                self._waiting -= 1
                waits = False
                yield
        finally:
            if waits:
                self._waiting -= 1

    def _find(self, key: Key) -> _Kept[T]:
        if key in self._expired:
            raise ContextRefused("context expired")
        if key not in self._kept:
            self._make_room()
            self._kept[key] = _Kept(used_at=self._clock())
        self._kept.move_to_end(key)
        return self._kept[key]

    def _check_size(self, kept: _Kept[T], size: int) -> None:
        if kept.messages + 1 > self._limits.messages or kept.size + size > self._limits.context_bytes:
            raise ContextRefused("context too large")

    def _evict_idle(self) -> None:
        oldest_kept = self._clock() - self._limits.idle_s
        idle = []
        for key, kept in self._kept.items():
            if kept.used_at >= oldest_kept:
                break
            if not kept.users:
                idle.append(key)
        for key in idle:
            self._evict(key)

    def _make_room(self) -> None:
        if len(self._kept) < self._limits.contexts:
            return
        oldest = next((key for key, kept in self._kept.items() if not kept.users), None)
        if oldest is None:
            raise ContextRefused("busy")
        self._evict(oldest)

    def _evict(self, key: Key) -> None:
        del self._kept[key]
        self._expired[key] = None
        if len(self._expired) > self._limits.remembered:
            self._expired.popitem(last=False)
