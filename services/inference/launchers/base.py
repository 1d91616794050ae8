"""The shape of a launcher: what is launched, the servers that come of it, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from services.inference.engines.base import Serving
from services.inference.planning.planner import Plan
from services.inference.planning.presets import EngineName

State = Literal["starting", "running", "stopped", "lost", "failed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """One `up`: several servers of one model."""

    plan: Plan
    serving: Serving
    engine: EngineName
    count: int
    """Servers asked for."""
    host: str = "127.0.0.1"
    """Address to bind."""
    start_port: int = 8000
    log_folder: Path
    registry: Path
    """services.txt."""
    server_timeout_s: float = 600.0
    """From a server's own start until it is ready."""
    program: str | None = None
    says: Callable[[str], None]
    """Tells people what happens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """One server that was launched. `id` is what `down`, `list` and the registry call it."""

    id: str
    """`local-PID-STARTTICKS`, `compose-PROJECT-SERVICE`, or a SLURM job id (`123`, `123_0`)."""
    engine: EngineName
    model: str
    """Path or id of the model."""
    served_name: str
    host: str
    """Name of the machine."""
    ip: str
    port: int
    log: Path | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Base URL ending in /v1."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"http://{host}:{self.port}/v1"


class Launcher(Protocol):
    """One way to run servers."""

    async def start(self, launch: Launch) -> Sequence[Server]:
        """Start them and write them into the registry; returns when all are started, for local ones when all are ready.

        Raises StartError or NotReadyError with the end of a server's log; what had been started is stopped then.
        """
        ...

    async def state(self, ids: Sequence[str]) -> Mapping[str, State]:
        """What has become of each."""
        ...

    async def stop(self, ids: Sequence[str], *, timeout_s: float) -> Sequence[str]:
        """End them. Returns those that were ended; ids of others are never touched."""
        ...

    def tail(self, server: Server) -> str:
        """The end of its error output."""
        ...
