"""The log of one agent: redacted, kept in a file up to a size, its end in memory."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from services.contract.secrets import redact

TAIL_LINES: Final = 40
_CHUNK: Final = 1 << 16
_LONGEST_LINE: Final = 1 << 20
LARGEST: Final = 1 << 26
"""Bytes of a log that are kept in its file: an agent that prints for ever must not fill the disk."""
_LONGEST_SHOWN: Final = 2_000
"""Characters of a line in messages."""

Echo = Callable[[str, str], None]
"""Called with role and line for each line of a log."""


class AgentLog:
    """Takes bytes, keeps redacted lines. A log that cannot be written never stops an agent or a run."""

    def __init__(self, role: str, path: Path, echo: Echo | None = None, *, largest: int = LARGEST) -> None:
        self.role = role
        self.path = path
        self._echo = echo
        self._left = largest
        self._tail: deque[bytes] = deque(maxlen=TAIL_LINES)
        """As they came: most lines are never shown, and redacting those of a flood would take all our time."""
        self._pending = b""
        self._broken = False
        self._lock = threading.Lock()

    def feed(self, data: bytes) -> None:
        """Take what the agent wrote; whole lines go on."""
        with self._lock:
            *lines, self._pending = (self._pending + data).split(b"\n")
            if len(self._pending) > _LONGEST_LINE:
                lines, self._pending = [*lines, self._pending], b""
            self._write(lines)

    def end(self) -> None:
        """The agent will write no more."""
        with self._lock:
            if self._pending:
                self._write([self._pending])
                self._pending = b""

    def tail(self) -> str:
        """The last 40 lines, redacted, each up to 2,000 characters."""
        with self._lock:
            lines = list(self._tail)
        return "\n".join(_clean(line)[:_LONGEST_SHOWN] for line in lines)

    async def pump(self, stream: asyncio.StreamReader) -> None:
        """Read a stream to its end."""
        while data := await stream.read(_CHUNK):
            await asyncio.to_thread(self.feed, data)
        self.end()

    def _show(self, line: str) -> None:
        if self._echo is None:
            return
        try:
            self._echo(self.role, line)
        except OSError:  # nobody reads any more; an unread pipe would stop the agent
            self._echo = None

    def _write(self, lines: list[bytes]) -> None:
        self._tail.extend(lines)
        if self._echo is not None:
            for line in lines:
                self._show(_clean(line))
        kept = self._that_fit(lines)
        if not kept or self._broken:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in kept)
        except OSError as error:
            self._broken = True
            structlog.get_logger().warning("agent_log_lost", role=self.role, path=str(self.path), reason=str(error))

    def _that_fit(self, lines: list[bytes]) -> list[str]:
        """Those that the file still takes, redacted; instead of the first that it does not, what was left out."""
        kept: list[str] = []
        for line in lines:
            if self._left < 0:
                break
            self._left -= len(line) + 1
            kept.append(_clean(line) if self._left >= 0 else "[the log is full: the rest is not kept]")
        return kept


def _clean(line: bytes) -> str:
    return redact(line.decode(errors="replace").rstrip("\r"))
