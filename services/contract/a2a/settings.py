"""What a server is told: who it is, where it listens, what it bears. Light to import; the CLIs build it from flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

UNSPECIFIED_HOSTS: Final = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - compared with, not bound to
MIB: Final = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Skill:
    """One entry of the card's `skills`."""

    id: str
    name: str
    description: str
    tags: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentProfile:
    """What the card says about the agent. At least one skill; `version` is the package's."""

    name: str
    description: str
    version: str
    skills: Sequence[Skill]


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one peer may take (interop specification 2.4). Seconds and bytes."""

    body_bytes: int = 10 * MIB
    json_depth: int = 64
    parts: int = 64
    part_bytes: int = 8 * MIB
    header_bytes: int = 64 << 10
    header_s: float = 10.0
    """From the connection, or from the first byte of a further request, to the end of its headers."""
    body_s: float = 30.0
    write_s: float = 60.0
    """A response of which the peer reads nothing for this long is cut."""
    history: int = 500
    """Messages of the agent that a task keeps, the newest."""
    history_bytes: int = 32 * MIB
    """What they may weigh together; the newest stays whatever it weighs."""
    ended_tasks: int = 1_000
    ended_task_s: float = 3_600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """How a server runs. `port` 0 takes a free one; `ready_file` then tells which."""

    host: str = "127.0.0.1"
    port: int = 0
    card_url: str | None = None
    """Address in the card; None: `http://HOST:PORT/`, an unspecified host as 127.0.0.1."""
    card_dialect: Literal["both", "1.0"] = "both"
    rest: bool = False
    """Also serve the HTTP+JSON interface."""
    auth_token: str | None = field(default=None, repr=False)
    """Bearer token that every request but card and health check must carry; None: none needed."""
    ready_file: Path | None = None
    """Receives the base URL, atomically, once the server listens."""
    drain_s: float = 15.0
    """After SIGTERM, seconds that running messages have to finish before they are cancelled; 0 cancels them at once."""
    cancel_s: float = 5.0
    """Seconds that `Agent.cancel` may take before the handler is cancelled under it."""
    heartbeat_s: float | None = None
    """Send an empty `working` at once and every so many seconds while a handler runs; None: the agent reports itself."""
    max_in_flight: int = 320
    """Messages handled or waiting at once; one more gets HTTP 503 with `Retry-After: 1`."""
    limits: Limits = Limits()

    def base_url(self) -> str:
        """Where the server is reached from this host, with a trailing slash."""
        host = "127.0.0.1" if self.host in UNSPECIFIED_HOSTS else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    def public_url(self) -> str:
        """Address for the card, with a trailing slash."""
        return self.card_url.rstrip("/") + "/" if self.card_url else self.base_url()
