"""The servers of a registry as they are now: its lines, corrected by what the launchers know.

Lines of other tools and of other machines are shown and never touched.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from services.contract.endpoint_files import ServiceLine, same_model
from services.inference.failures import InferenceError
from services.inference.launchers.base import Server, State
from services.inference.launchers.registry import LauncherName, launcher, launcher_of
from services.inference.servers.readiness import Target
from services.inference.servers.registry import Registry, ServerFacts

log = structlog.get_logger()

ENDED: Final[frozenset[State]] = frozenset({"stopped", "lost", "failed"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """One server: a line of the registry, what its launcher noted (at least one of them), and what has become of it."""

    id: str
    line: ServiceLine | None = None
    """None: a job that waits for its turn, or died before it could register."""
    facts: ServerFacts | None = None
    state: State | None = None
    """By its launcher; None: nobody here knows, as for servers of other tools and other machines."""

    @property
    def status(self) -> str:
        """What people are told: the line's word, or the launcher's where there is no line."""
        if self.line is None:
            return self.state or "starting"
        return self.line.status

    @property
    def over(self) -> bool:
        """It never becomes ready."""
        return self.status in ENDED

    @property
    def url(self) -> str | None:
        """Base URL ending in /v1; None while it has no address."""
        return self.line.url if self.line else None

    @property
    def model(self) -> str:
        """Path or id of the model, its served name where there is no line."""
        return self.line.model_path if self.line else self.facts.served_name if self.facts else ""

    def serves(self, model: str) -> bool:
        """Whether this model was asked for: by path, last part of the path, or served name."""
        names = (self.line.model_path if self.line else None, self.facts.served_name if self.facts else None)
        return any(name is not None and same_model(model, name) for name in names)

    def target(self) -> Target | None:
        """What to ask it; None while it has no address."""
        if self.line is None:
            return None
        name = self.facts.served_name if self.facts else None
        return Target(url=self.line.url, served_name=name, model_path=self.line.model_path, key=self._key())

    def server(self) -> Server | None:
        """As its launcher knows it; None for servers of other tools."""
        if self.facts is None:
            return None
        line = self.line
        return Server(
            id=self.id,
            engine=self.facts.engine,
            model=self.model,
            served_name=self.facts.served_name,
            host=line.hostname if line else "",
            ip=line.host_ip if line else "",
            port=line.port if line else 0,
            log=Path(self.facts.log) if self.facts.log else None,
        )

    def tail(self) -> str:
        """The end of its error output; empty for servers of other tools."""
        server, owner = self.server(), launcher_of(self.id)
        return launcher(owner).tail(server) if server and owner else ""

    def _key(self) -> str | None:
        if self.facts is None or self.facts.key_file is None:
            return None
        try:
            return Path(self.facts.key_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            log.warning("key_file_unreadable", server=self.id, file=self.facts.key_file, reason=str(error))
            return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """What was found."""

    servers: tuple[Known, ...]
    notices: tuple[str, ...] = ()
    """Launchers that could not be asked, each a sentence."""
    lost: tuple[str, ...] = ()
    """Ids of servers that were running when somebody last looked, and have ended since without being told to."""

    def of(self, model: str | None) -> tuple[Known, ...]:
        """Servers of a model; None: all."""
        return tuple(server for server in self.servers if model is None or server.serves(model))


async def survey(registry: Registry) -> Survey:
    """Read the registry, ask the launchers that own its servers, and mark the dead as `stopped||lost`, also in the file."""
    lines = registry.lines()
    waiting = sorted(
        {name for name in registry.noted() if launcher_of(name) == "slurm"} - {line.job_id for line in lines}
    )
    states, notices = await _states(askable(lines, waiting, hostname=socket.gethostname()))
    corrected = reconciled(lines, states)
    lost = frozenset(new.job_id for old, new in zip(lines, corrected, strict=True) if old != new)
    notices = (*notices, *_marked(registry, lost))
    listed = [
        Known(id=line.job_id, line=line, facts=registry.facts(line.job_id), state=states.get(line.job_id))
        for line in corrected
    ]
    unlisted = [Known(id=name, facts=registry.facts(name), state=states.get(name)) for name in waiting]
    return Survey(servers=(*listed, *unlisted), notices=notices, lost=tuple(sorted(lost)))


def reconciled(lines: Sequence[ServiceLine], states: Mapping[str, State]) -> Sequence[ServiceLine]:
    """The lines with every stale one as `stopped||lost`: a server that its launcher knows to have ended, on whatever way.

    Only ids in `states` are judged. Pure.
    """
    return [
        replace(line, status="stopped", end_time="", exit_code="lost")
        if line.status != "stopped" and states.get(line.job_id) in ENDED
        else line
        for line in lines
    ]


def askable(
    lines: Sequence[ServiceLine], waiting: Sequence[str], *, hostname: str
) -> Mapping[LauncherName, Sequence[str]]:
    """Which launcher to ask about which ids: nobody's are left out, ended ones too, and processes of other machines. Pure."""
    ids: dict[LauncherName, list[str]] = {}
    open_ids = [
        line.job_id
        for line in lines
        if line.status != "stopped" and (launcher_of(line.job_id) == "slurm" or line.hostname == hostname)
    ]
    for name in dict.fromkeys((*open_ids, *waiting)):
        if (owner := launcher_of(name)) is not None:
            ids.setdefault(owner, []).append(name)
    return ids


def _marked(registry: Registry, lost: frozenset[str]) -> tuple[str, ...]:
    try:
        if lost:
            registry.lost(lost)
    except InferenceError as error:
        # Whoever may only read the registry is told the truth all the same.
        return (f"the dead are still listed as alive in the file: {error}",)
    return ()


async def _states(asked: Mapping[LauncherName, Sequence[str]]) -> tuple[Mapping[str, State], tuple[str, ...]]:
    states: dict[str, State] = {}
    notices = []
    for name, ids in asked.items():
        try:
            states |= await launcher(name).state(ids)
        except InferenceError as error:
            # Not to know is not to be dead: the lines stay as they are.
            notices.append(f"{name} servers are shown as the registry has them: {error}")
    return states, tuple(notices)
