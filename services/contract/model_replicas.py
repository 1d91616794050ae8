"""The servers of one model: which of them a call goes to, and which are left alone because they are lost.

Specification: inference 7, affinity. All calls of a trial go to one server, so that a conversation finds its prefix in the cache;
another takes over while that one is lost, and gives the trial back when it has returned.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog

from services.contract.model_budget import ContextBudget
from services.contract.model_call import CallKey, Dialect
from services.contract.model_errors import HttpFault

log = structlog.get_logger()

State = Literal["closed", "open", "half_open"]

OPEN_S: Final = 10.0
LONGEST_OPEN_S: Final = 120.0
KNOCK_S: Final = 5.0
"""How often, while calls come, a server that did not listen is asked whether it does again, and how long it has to answer.
Without that one that was away for minutes would be left alone for up to two more."""


@dataclass(kw_only=True, slots=True)
class Breaker:
    """Whether a server is to be asked. A fault opens it; after a while one call tries the server, and decides.

    Closed: every call may pass. Open: none. Half open, after 10 s, doubled with every vain try up to 120 s: one at a time.
    `clock` gives seconds. Pure but for that.
    """

    clock: Callable[[], float]
    opened: float = 0.0
    """When it was last opened, by the clock; 0 before."""
    _until: float | None = None
    _open_s: float = OPEN_S
    _trying: bool = False

    @property
    def state(self) -> State:
        """As of now."""
        if self._until is None:
            return "closed"
        return "open" if self.clock() < self._until else "half_open"

    @property
    def admits(self) -> bool:
        """True when a call may pass."""
        state = self.state
        return state == "closed" or (state == "half_open" and not self._trying)

    @contextmanager
    def passing(self) -> Iterator[None]:
        """A call while it passes. One that ends without a verdict, such as a cancelled one, leaves the try to the next."""
        tries = self.state == "half_open" and not self._trying
        self._trying = self._trying or tries
        try:
            yield
        finally:
            if tries:
                self._trying = False

    def succeeded(self) -> None:
        """The server answered, whoever asked and whenever."""
        self._until, self._open_s = None, OPEN_S

    def failed(self) -> bool:
        """The server did not answer, or with an error of its own. True when that opened it.

        Calls that were on their way when it opened fail as well; they tell nothing new.
        """
        state = self.state
        if state == "open":
            return False
        self._open_s = OPEN_S if state == "closed" else min(2 * self._open_s, LONGEST_OPEN_S)
        self.opened = self.clock()
        self._until = self.opened + self._open_s
        return True

    def returned(self) -> None:
        """The server listens again: the next call tries it."""
        if self._until is not None:
            self._until = min(self._until, self.clock())


@dataclass(kw_only=True, slots=True)
class Replica:
    """One server of the endpoint."""

    url: str
    dialect: Dialect
    budget: ContextBudget
    breaker: Breaker
    unheard: bool = False
    """It was lost because nothing answered at its address, so that it can be noticed when something does."""
    knocked: float = 0.0
    """When that was last looked for."""

    def answered(self) -> None:
        """It gave an answer, if only an error of the caller."""
        if self.breaker.state != "closed":
            log.info("replica_back", replica=self.url)
        self.breaker.succeeded()

    def lost(self, fault: HttpFault | None) -> None:
        """It gave none; without a fault: it was silent."""
        if not self.breaker.failed():
            return
        self.unheard = fault is not None and fault.status is None
        self.knocked = self.breaker.clock()
        log.warning("replica_lost", replica=self.url, reason="silent" if fault is None else fault.message[:200])


def is_loss(fault: HttpFault) -> bool:
    """True when the fault is the server's: no answer at all, or a status of 500 and above."""
    return fault.status is None or fault.status >= 500


@dataclass(kw_only=True, slots=True)
class Replicas:
    """All servers of an endpoint."""

    all: Sequence[Replica]
    clock: Callable[[], float]
    _knocks: set[asyncio.Task[None]] = field(default_factory=set)

    def ordered(self, key: CallKey) -> list[Replica]:
        """The servers as a trial prefers them: by the hash of index, task and trial, highest first.

        Addresses and ports do not matter, so a run that is repeated elsewhere asks the same ones.
        """
        return _by_hash(self.all, key.task_id, key.trial)

    def choose(self, key: CallKey, failed: Collection[str] = ()) -> Replica:
        """The server for the next try of a call that servers of these URLs have failed already.

        Of those that may be asked, the one that has failed the call least often, and of these the first by preference. When
        none may be asked, waiting for a breaker would lose the call for sure, so one is asked all the same: again the one
        that has failed the call least often, then the one that was lost longest ago.
        """
        self._knock()

        def burden(replica: Replica) -> tuple[bool, int, float]:
            shut = not replica.breaker.admits
            return shut, failures.count(replica.url), replica.breaker.opened if shut else 0.0

        failures = list(failed)
        return min(self.ordered(key), key=burden)

    def healthy_first(self) -> list[Replica]:
        """For questions that belong to no trial."""
        return sorted(self.all, key=lambda one: not one.breaker.admits)

    async def aclose(self) -> None:
        """Close all connections."""
        knocks = list(self._knocks)
        for knock in knocks:
            knock.cancel()
        await asyncio.gather(*knocks, return_exceptions=True)
        for replica in self.all:
            await replica.dialect.aclose()

    def _knock(self) -> None:
        now = self.clock()
        for replica in self.all:
            due = replica.unheard and replica.breaker.state == "open" and now - replica.knocked >= KNOCK_S
            if due and len(self.all) > 1:
                replica.knocked = now
                task = asyncio.create_task(_listen(replica))
                self._knocks.add(task)
                task.add_done_callback(self._knocks.discard)


async def _listen(replica: Replica) -> None:
    """Let the next call try the server when something answers at its address."""
    try:
        async with asyncio.timeout(KNOCK_S):
            await replica.dialect.listening()
    except (HttpFault, TimeoutError):
        return
    replica.breaker.returned()


def _by_hash(replicas: Sequence[Replica], task_id: str, trial: int) -> list[Replica]:
    if len(replicas) == 1:
        return list(replicas)

    def weight(index: int) -> bytes:
        return hashlib.blake2b(repr((index, task_id, trial)).encode(), digest_size=8).digest()

    return [replicas[index] for index in sorted(range(len(replicas)), key=weight, reverse=True)]
