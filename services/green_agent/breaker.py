"""Stops an assessment from burning through its plan while the agent is away.

Ten infrastructure errors in a row pause it; the agent's card is probed every 5 s; after 120 s without an answer, or at once
for a fault that no further trial can escape, what is left ends unscored. Interop specification 3.4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from services.contract.outcomes import STOPS_ASSESSMENT, Failure, Outcome

log = structlog.get_logger()


class Breaker:
    """Admits trials while the agent can be reached. `alive` tells whether its card answers now."""

    def __init__(
        self,
        alive: Callable[[], Awaitable[bool]],
        *,
        in_a_row: int = 10,
        probe_every_s: float = 5.0,
        give_up_after_s: float = 120.0,
    ) -> None:
        self._alive = alive
        self._in_a_row = in_a_row
        self._probe_every_s = probe_every_s
        self._give_up_after_s = give_up_after_s
        self._failures = 0
        self._probing = asyncio.Lock()
        self._over: Failure | None = None

    async def admit(self) -> None:
        """Return when a trial may start; waits while paused. Raises Failure once the assessment is over."""
        if self._failures >= self._in_a_row:
            async with self._probing:
                if self._failures >= self._in_a_row and self._over is None:
                    await self._wait_for_agent()
        if self._over is not None:
            raise self._over

    def succeeded(self) -> None:
        """A trial reached the agent."""
        self._failures = 0

    def failed(self, failure: Failure) -> None:
        """An attempt ended in a failure, whatever its outcome."""
        if failure.outcome is not Outcome.INFRA_ERROR:
            self.succeeded()
            return
        self._failures += 1
        if failure.kind in STOPS_ASSESSMENT:
            self.end(failure)

    def end(self, failure: Failure) -> None:
        """Admit no further trial, since each would meet this failure."""
        self._over = Failure(failure.outcome, failure.kind, f"not asked, since no trial can pass: {failure.message}")

    async def _wait_for_agent(self) -> None:
        log.warning("assessment_paused", infra_errors_in_a_row=self._failures)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._give_up_after_s
        while not await self._alive():
            if loop.time() + self._probe_every_s > until:
                self._over = Failure(Outcome.INFRA_ERROR, "agent_lost", "not asked: the agent's card answers no more")
                return
            await asyncio.sleep(self._probe_every_s)
        self._failures = 0
        log.info("assessment_resumed")
