"""Where servers of this machine go: free GPUs in groups of TP and free ports, both leased before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from services.inference.failures import UsageError
from services.inference.machine.gpus import Gpu, gpu_users, gpus
from services.inference.machine.leases import Lease, holder
from services.inference.machine.ports import is_free, named_owner

LAST_PORT: Final = 65_535


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """GPUs and port of one server."""

    port: int
    gpus: tuple[str, ...]
    """UUIDs; empty on a CPU."""
    leases: tuple[Lease, ...]

    def close(self) -> None:
        """Let go of our own hold; the server's processes keep theirs."""
        for lease in self.leases:
            lease.close()


def gpu_slots(
    *, tp: int, count: int, ids: Sequence[int], by: str, says: Callable[[str], None]
) -> list[tuple[Lease, ...]]:
    """Leases of up to `count` groups of `tp` GPUs; fewer are said aloud. GPUs in use are refused by name.

    `ids` are the driver's numbers; empty: every GPU that is free. Raises UsageError when a named GPU is in use or does not
    exist, or when not one group is free; NoGpusError without a driver.
    """
    present = gpus()
    chosen = _chosen(present, ids)
    leases, refused = _leased(chosen, most=tp * count, by=by)
    whole = len(leases) // tp
    if refused and (ids or not whole):
        _close(leases)
        raise UsageError("; ".join(refused) + f"; free are {len(leases)}, {tp} are needed for one server")
    for reason in refused:
        says(f"{reason}: left out")
    if not whole:
        _close(leases)
        raise UsageError(f"one server needs {tp} GPUs (--tp), and this machine has {len(chosen)} to choose from")
    if whole < count:
        says(f"{whole} instead of {count} servers: {len(leases)} GPUs are free, and each server takes {tp}")
    _close(leases[whole * tp :])
    return [tuple(leases[first : first + tp]) for first in range(0, whole * tp, tp)]


def port_slots(start: int, count: int, *, strict: bool, by: str, says: Callable[[str], None]) -> list[Lease]:
    """Leases of `count` free ports from `start` on; a taken one is skipped aloud.

    Raises UsageError when ports run out, or with `strict` for the first that is taken, naming who keeps it.
    """
    leases: list[Lease] = []
    for port in range(start, LAST_PORT + 1):
        if len(leases) == count:
            return leases
        lease = Lease.take(f"port-{port}", by)
        if lease is not None and is_free(port):
            leases.append(lease)
            continue
        keeper = named_owner(port) if lease is not None else holder(f"port-{port}")
        if lease is not None:
            lease.close()
        if strict:
            _close(leases)
            raise UsageError(f"port {port} is taken by {keeper}; stop it or choose another with --start-port")
        says(f"port {port} is taken by {keeper}: skipped")
    _close(leases)
    raise UsageError(f"no {count} free ports from {start} on; choose a lower --start-port")


def port_of(lease: Lease) -> int:
    """The port of a port's lease."""
    return int(lease.name.removeprefix("port-"))


def _chosen(present: Sequence[Gpu], ids: Sequence[int]) -> list[Gpu]:
    known = {gpu.index: gpu for gpu in present}
    if unknown := [str(index) for index in ids if index not in known]:
        raise UsageError(f"--gpu-ids: there is no GPU {', '.join(unknown)}; this machine has {_listed(known)}")
    return [known[index] for index in ids] if ids else list(present)


def _leased(chosen: Iterable[Gpu], *, most: int, by: str) -> tuple[list[Lease], list[str]]:
    leases: list[Lease] = []
    refused: list[str] = []
    for gpu in chosen:
        if len(leases) == most:
            break
        if gpu.busy:
            refused.append(f"{gpu} is in use: {gpu.used_gib:.1f} of {gpu.total_gib:.1f} GiB{_users(gpu)}")
        elif (lease := Lease.take(gpu.uuid, by)) is None:
            refused.append(f"{gpu} is leased by {holder(gpu.uuid) or 'a server that just ended'}")
        else:
            leases.append(lease)
    return leases, refused


def _users(gpu: Gpu) -> str:
    found = [f"process {user.pid} ({user.name})" for user in gpu_users() if user.uuid == gpu.uuid]
    return f", by {', '.join(found)}" if found else ""


def _listed(known: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(known)))


def _close(leases: Iterable[Lease]) -> None:
    for lease in leases:
        lease.close()
