"""What `list` shows of servers and GPUs, and the removal of what is long over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from services.inference.launchers.registry import launcher_of
from services.inference.launchers.slurm_script import log_files
from services.inference.machine.gpus import gpu_users, gpus
from services.inference.servers.registry import Registry, moment
from services.inference.servers.survey import Known

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One server. Empty texts: not known."""

    id: str
    engine: str
    version: str
    model: str
    served_name: str
    url: str
    state: str
    exit_code: str
    started: datetime | None
    gpus: tuple[str, ...]
    kv_planned_tokens: tuple[int, int] | None
    kv_measured_tokens: int | None
    forced: bool

    @property
    def words(self) -> str:
        """The state, with its exit code when it has one, and whether the planner had refused it."""
        code = f" ({self.exit_code})" if self.exit_code else ""
        return f"{self.state}{code}" + (", forced" if self.forced else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuUse:
    """One GPU of this machine and who uses it."""

    index: int
    uuid: str
    name: str
    total_gib: float
    used_gib: float
    servers: tuple[str, ...]
    """Ids of our servers that were given it."""
    processes: tuple[str, ...]
    """`PID NAME GIB` of those that hold memory of it."""

    @property
    def words(self) -> str:
        """Both in one cell."""
        return ", ".join((*self.servers, *self.processes))


def rows(servers: Sequence[Known]) -> Sequence[Row]:
    """What is known of each."""
    return [_row(server) for server in servers]


def gpu_use(servers: Sequence[Known]) -> Sequence[GpuUse]:
    """The GPUs of this machine. Raises NoGpusError without a driver."""
    found, users = gpus(), gpu_users()
    living = [server for server in servers if not server.over and server.facts is not None and server.state is not None]
    return [
        GpuUse(
            index=gpu.index,
            uuid=gpu.uuid,
            name=gpu.name,
            total_gib=gpu.total_gib,
            used_gib=gpu.used_gib,
            servers=tuple(server.id for server in living if server.facts and gpu.uuid in server.facts.gpus),
            processes=tuple(
                f"{user.pid} {user.name}" + ("" if user.gib is None else f" {user.gib:.1f} GiB")
                for user in users
                if user.uuid == gpu.uuid
            ),
        )
        for gpu in found
    ]


def pruned(registry: Registry, servers: Sequence[Known], *, before: datetime) -> Sequence[str]:
    """Remove the lines, notes and logs of servers that ended before this time; gives their ids.

    A server that died unseen has no end: its start decides. Without a readable time a line stays.
    """
    old = [
        server
        for server in servers
        if server.over and (ended := _ended(server, registry)) is not None and ended < before
    ]
    registry.drop(frozenset((server.line.job_id, server.line.port) for server in old if server.line))
    kept = {line.job_id for line in registry.lines()}
    for server in old:
        if server.id in kept:
            continue
        for file in _logs(server):
            _remove(file)
        registry.forget(server.id)
    return tuple(dict.fromkeys(server.id for server in old))


def _logs(server: Known) -> Iterator[Path]:
    for named in (server.facts.log, server.facts.output) if server.facts else ():
        if named is not None:
            yield from log_files(named) if launcher_of(server.id) == "slurm" else (Path(named),)


def _remove(file: Path) -> None:
    if file.suffix not in {".out", ".err"}:
        return  # no launcher of ours calls a log so
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        log.warning("log_not_removed", file=str(file), reason=error.strerror)


def _ended(server: Known, registry: Registry) -> datetime | None:
    if server.line is None:
        return registry.noted_at(server.id)
    return moment(server.line.end_time) or moment(server.line.start_time)


def _row(server: Known) -> Row:
    line, facts = server.line, server.facts
    return Row(
        id=server.id,
        engine=facts.engine if facts else "",
        version=(facts.version or "") if facts else "",
        model=server.model,
        served_name=facts.served_name if facts else "",
        url=server.url or "",
        state=server.status,
        exit_code=line.exit_code if line else "",
        started=moment(line.start_time) if line else None,
        gpus=facts.gpus if facts else (),
        kv_planned_tokens=facts.kv_planned_tokens if facts else None,
        kv_measured_tokens=facts.kv_measured_tokens if facts else None,
        forced=facts is not None and facts.forced,
    )
