"""An event loop whose clock jumps over every wait in which nothing happens: hours pass in milliseconds, sockets stay real.

Good for tests in which both ends of every connection run on the loop, for then silence on the sockets is silence.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")


_MOMENT_S: Final = 0.005


class _Skipping(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0
        self._talking = False
        """Something was read since the last wait, so an answer may be under way."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        # What was written to a loopback socket can be read at once, but for moments in which the kernel is busy.
        ready = super().select(_MOMENT_S if self._talking else 0)
        self._talking = bool(ready)
        if not ready:
            self.skipped_s += timeout
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """See above. `time()` counts the skipped seconds too."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return time.monotonic() + self._skipping.skipped_s


def run_skipping(story: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine on a fresh loop of this kind."""
    with asyncio.Runner(loop_factory=SkippingLoop) as runner:
        return runner.run(story)
