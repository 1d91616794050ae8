"""Free ports, found by binding, and who keeps one that is taken, found in /proc. Nothing is ever ended to free a port."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LISTEN: Final = "0A"
_CONNECT_S: Final = 1.0
_WILDCARDS: Final = {socket.AF_INET: "0.0.0.0", socket.AF_INET6: "::"}  # noqa: S104 - a probe, closed at once
_BINDING: Final = frozenset({errno.EADDRINUSE, errno.EACCES})


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """A process that listens on a port."""

    pid: int
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def is_free(port: int) -> bool:
    """Whether a server could listen there, on IPv4 and IPv6, on every address.

    A port that is bound but not yet listened on, as by an engine that still loads, is taken; one on which only connections of
    an earlier server wait out their time is free.
    """
    if all(_binds(family, port, reuse=False) for family in _WILDCARDS):
        return True
    return all(_binds(family, port, reuse=True) for family in _WILDCARDS) and _only_leftovers(port)


def listens(port: int) -> bool:
    """Whether any process accepts connections there."""
    return bool(_listening_sockets(port))


async def answers(host: str, port: int) -> bool:
    """Whether somebody accepts a connection there now. A fiftieth of the cost of the kernel's tables."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _CONNECT_S)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


def owners(port: int) -> tuple[Owner, ...]:
    """Processes that listen on the port, as far as this user may see them."""
    sockets = _listening_sockets(port)
    return tuple(Owner(pid=pid, command=command_of(pid)) for pid in _pids() if sockets and _holds(pid, sockets))


def named_owner(port: int) -> str:
    """Who keeps the port, in words."""
    found = owners(port)
    if found:
        return " and ".join(map(str, found))
    return "another user's process" if listens(port) else "a process that has bound it and does not listen yet"


def group_listens(port: int, group: int) -> bool:
    """Whether a process of the process group listens on the port."""
    sockets = _listening_sockets(port)
    return bool(sockets) and any(_holds(pid, sockets) for pid in group_members(group))


def ports_of_group(group: int) -> frozenset[int]:
    """Ports on which processes of the group listen."""
    held = {inode for pid in group_members(group) for inode in _socket_inodes(pid)}
    return frozenset(entry.port for entry in _entries() if entry.state == _LISTEN and entry.inode in held)


def group_members(group: int) -> tuple[int, ...]:
    """Living processes of a process group."""
    return tuple(members_of({group}).get(group, ()))


def members_of(groups: Container[int]) -> Mapping[int, Sequence[int]]:
    """Living processes of these process groups, by group; those without any are left out."""
    found: dict[int, list[int]] = {}
    for pid in _pids():
        if (state := _stat(pid)) and state[0] != "Z" and (group := int(state[2])) in groups:
            found.setdefault(group, []).append(pid)
    return found


def session_of(pid: int) -> int | None:
    """The leader of its session; None when it has ended."""
    state = _stat(pid)
    return int(state[3]) if state and state[0] != "Z" else None


def start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since the machine did; None when it has ended. With the pid it is unique."""
    state = _stat(pid)
    return int(state[19]) if state and state[0] != "Z" else None


def command_of(pid: int) -> str:
    """Its command line, shortened; its name alone where the line is hidden."""
    with suppress(OSError):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        if line:
            return line if len(line) <= 80 else f"{line[:77]}..."
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    return "ended meanwhile"


@dataclass(frozen=True, slots=True)
class _Entry:
    port: int
    state: str
    inode: str


def _binds(family: socket.AddressFamily, port: int, *, reuse: bool) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if reuse:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Not listened on: another launcher's server could be taken for a stranger's meanwhile.
            probe.bind((_WILDCARDS[family], port))
    except OSError as error:
        # A machine without IPv6 says so with another error, and nobody can keep the port there.
        return error.errno not in _BINDING
    return True


def _only_leftovers(port: int) -> bool:
    """Connections explain why a plain bind fails. Sockets that are only bound are in none of the kernel's tables."""
    return any(entry.port == port and entry.state != _LISTEN for entry in _entries())


def _listening_sockets(port: int) -> frozenset[str]:
    return frozenset(entry.inode for entry in _entries() if entry.port == port and entry.state == _LISTEN)


def _entries() -> Iterator[_Entry]:
    """The kernel's TCP tables: local address in hexadecimal after the line's number, state third after it, inode tenth."""
    for table in ("tcp", "tcp6"):
        with suppress(OSError), Path(f"/proc/self/net/{table}").open(encoding="ascii") as lines:
            next(lines, None)
            for line in lines:
                fields = line.split()
                yield _Entry(int(fields[1].rpartition(":")[2], 16), fields[3], fields[9])


def _pids() -> Iterator[int]:
    with suppress(OSError):
        yield from (int(name) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - an order faster


def _holds(pid: int, inodes: frozenset[str]) -> bool:
    return any(inode in inodes for inode in _socket_inodes(pid))


def _socket_inodes(pid: int) -> Iterator[str]:
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                target = os.readlink(descriptor)  # noqa: PTH115 - an order faster
                if target.startswith("socket:["):
                    yield target[len("socket:[") : -1]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on; empty when the process is gone. The name before may hold anything."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return []
