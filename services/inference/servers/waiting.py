"""Waiting for servers: asks launchers and servers again and again, until enough are ready or too few ever can be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.inference.servers.readiness import Readiness, Target, probe_all
from services.inference.servers.registry import Registry
from services.inference.servers.survey import Known, survey
from services.inference.servers.wording import plain

NEVER: Final = frozenset({"wrong_model", "unauthorised"})
"""Answers that do not change by waiting."""
_IN_PEACE: Final = frozenset({"", "0", "129", "130", "143"})
"""Exit codes of who ended by itself or was told to: SIGHUP, SIGINT, SIGTERM."""
_PROBE_S: Final = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A server and what it answered; `readiness` None: it was not asked, having ended or no address yet."""

    server: Known
    readiness: Readiness | None = None

    @property
    def ready(self) -> bool:
        """Whether it can be given work."""
        return self.readiness is not None and self.readiness.ready

    @property
    def over(self) -> bool:
        """Whether it can never become ready."""
        return self.server.over or (self.readiness is not None and self.readiness.condition in NEVER)

    @property
    def words(self) -> str:
        """`ready`, or why not."""
        if self.readiness is not None:
            return "ready" if self.ready else f"{self.server.status}: {self.readiness.problem}"
        line = self.server.line
        code = f" ({line.exit_code})" if line and line.exit_code else ""
        return f"{self.server.status}{code}" + ("" if line else ", not yet registered")


@dataclass(frozen=True, kw_only=True, slots=True)
class Waited:
    """How it ended."""

    enough: bool
    reason: str
    standings: Sequence[Standing]
    failed: Sequence[Standing]
    """Those of them that never become ready, without the history of the registry."""

    @property
    def ready(self) -> int:
        """Servers that are ready."""
        return sum(standing.ready for standing in self.standings)


async def standings(servers: Sequence[Known], *, timeout_s: float) -> Sequence[Standing]:
    """Ask every server that has not ended."""
    targets: dict[int, Target] = {
        number: target
        for number, server in enumerate(servers)
        if not server.over and (target := server.target()) is not None
    }
    answers = dict(zip(targets, await probe_all(list(targets.values()), timeout_s=timeout_s), strict=True))
    return [Standing(server=server, readiness=answers.get(number)) for number, server in enumerate(servers)]


async def wait_until_ready(
    registry: Registry,
    *,
    min_healthy: int,
    timeout_s: float,
    check_interval_s: float,
    model: str | None = None,
    says: Callable[[str], None],
) -> Waited:
    """Wait until `min_healthy` servers (of `model`) are ready, or cannot become so, or time is over.

    Servers that had stopped in peace before are history, and servers that nobody has registered yet may still come: only
    failures end the wait early. `says` is told every change.
    """
    deadline = time.monotonic() + timeout_s
    seen_alive: set[str] = set()
    told: dict[str, str] = {}
    if not registry.path.exists():
        says(f"{registry.path} does not exist yet: `inference up` writes it, --registry names another file")
    while True:
        found = await survey(registry)
        patience = min(max(check_interval_s, _PROBE_S), max(deadline - time.monotonic(), 1.0))
        current = await standings(found.of(model), timeout_s=patience)
        _tell([*(("", notice) for notice in found.notices), *map(_entry, current)], told, says)
        seen_alive |= {standing.server.id for standing in current if not standing.over}
        failed = [standing for standing in current if _failed(standing, seen_alive)]
        left = deadline - time.monotonic()
        if (reason := _reason(current, len(failed), min_healthy)) is None and left <= 0:
            reason = f"not ready within {timeout_s:g} s"
        if reason is not None:
            enough = sum(standing.ready for standing in current) >= min_healthy
            return Waited(enough=enough, reason=reason, standings=current, failed=failed)
        await asyncio.sleep(min(check_interval_s, left))


def _reason(current: Sequence[Standing], failed: int, min_healthy: int) -> str | None:
    """Why to wait no longer; None: there is hope."""
    ready = sum(standing.ready for standing in current)
    if ready >= min_healthy:
        return f"{ready} ready"
    possible = sum(not standing.over for standing in current)
    if possible < min_healthy and failed:
        return f"{failed} failed, and {possible} that may still become ready are too few for {min_healthy}"
    return None


def _failed(standing: Standing, seen_alive: set[str]) -> bool:
    server = standing.server
    if not standing.over:
        return False
    if not server.over or server.state is not None or server.id in seen_alive:
        return True
    return server.facts is not None and server.line is not None and server.line.exit_code not in _IN_PEACE


def _entry(standing: Standing) -> tuple[str, str]:
    server = standing.server
    return f"{server.id} {server.url or ''}".strip(), standing.words


def _tell(entries: Sequence[tuple[str, str]], told: dict[str, str], says: Callable[[str], None]) -> None:
    for name, words in entries:
        key = name or words
        if told.get(key) != words:
            told[key] = words
            says(plain(f"{name}: {words}" if name else words))
