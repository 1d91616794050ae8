"""Stopping servers of a registry: which are meant, and what became of them. Somebody else's are never touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.inference.failures import UsageError
from services.inference.launchers.registry import LauncherName, launcher, launcher_of
from services.inference.servers.registry import Registry, stamp
from services.inference.servers.survey import ENDED, Known
from services.inference.servers.wording import few


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """What became of those that were to be stopped, by id."""

    ended: tuple[str, ...]
    left: tuple[str, ...]
    """Still alive."""


def chosen(servers: Sequence[Known], ids: Sequence[str], *, where: str) -> Sequence[Known]:
    """The servers of these ids that may still live, all of ours without ids; the number of a job array means all its tasks.

    Raises UsageError for an id that the registry, called `where`, does not list, and for one that is somebody else's.
    """
    if not ids:
        return [server for server in servers if _may_live(server) and ours(server)]
    found = {asked: [server for server in servers if _named(server.id, asked)] for asked in ids}
    if unknown := [asked for asked, named in found.items() if not named]:
        listed = few(list(dict.fromkeys(server.id for server in servers)))
        raise UsageError(f"{where} does not list {', '.join(unknown)}; it lists {listed}")
    named = list({(server.id, server.url): server for several in found.values() for server in several}.values())
    alive = [server for server in named if _may_live(server)]
    if foreign := [server.id for server in alive if not ours(server)]:
        raise UsageError(f"{', '.join(foreign)}: not of this machine, so never stopped from here; end it where it runs")
    return alive


def ours(server: Known) -> bool:
    """Whether a launcher of this machine knows the server."""
    return launcher_of(server.id) is not None and server.state is not None


def unasked(servers: Sequence[Known]) -> Sequence[str]:
    """Ids of jobs that may live, while SLURM gives no answer about them."""
    return [one.id for one in servers if launcher_of(one.id) == "slurm" and one.state is None and not one.over]


async def stop(registry: Registry, servers: Sequence[Known], *, timeout_s: float) -> Stopped:
    """End them, each by its launcher, and mark them in the registry. Raises what a launcher raises."""
    ended: list[str] = []
    left: list[str] = []
    by_launcher: dict[LauncherName, list[str]] = {}
    for name in dict.fromkeys(server.id for server in servers):
        if (owner := launcher_of(name)) is not None:
            by_launcher.setdefault(owner, []).append(name)
    for owner, ids in by_launcher.items():
        worker = launcher(owner)
        gone = set(await worker.stop(ids, timeout_s=timeout_s))
        states = await worker.state([name for name in ids if name not in gone])
        for name in ids:
            (ended if name in gone or states.get(name) in ENDED else left).append(name)
    unlisted = {server.id for server in servers if server.line is None}
    for name in ended:
        registry.ended(name, exit_code="", at=stamp(datetime.now(UTC)))
        if name in unlisted:
            registry.forget(name)
    return Stopped(ended=tuple(ended), left=tuple(left))


def _may_live(server: Known) -> bool:
    """A job that waits for ever is over for those who wait for it, and is in the queue all the same."""
    return not server.over or server.line is None


def _named(server_id: str, asked: str) -> bool:
    return server_id == asked or (asked.isdecimal() and server_id.startswith(f"{asked}_"))
