"""The log of one agent: redacted, kept whole in a file, its end in memory."""

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

Echo = Callable[[str, str], None]
"""Called with role and line for each line of a log."""


class AgentLog:
    """Takes bytes, keeps redacted lines. A log that cannot be written never stops an agent or a run."""

    def __init__(self, role: str, path: Path, echo: Echo | None = None) -> None:
        self.role = role
        self.path = path
        self._echo = echo
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
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
        """The last 40 lines."""
        return "\n".join(self._tail)

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
        clean = [redact(line.decode(errors="replace").rstrip("\r")) for line in lines]
        self._tail.extend(clean)
        for line in clean:
            self._show(line)
        if not clean or self._broken:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in clean)
        except OSError as error:
            self._broken = True
            structlog.get_logger().warning("agent_log_lost", role=self.role, path=str(self.path), reason=str(error))
