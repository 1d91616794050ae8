"""The bounds of one program as they travel to its worker, and how the kernel is told of them."""

from __future__ import annotations

import json
import math
import resource
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """Same fields and units as `services.contract.execution.Limits`."""

    cpu_s: float
    call_cpu_s: float
    wall_s: float
    memory_bytes: int
    processes: int
    open_files: int
    output_bytes: int
    file_bytes: int
    scratch_bytes: int

    def to_bytes(self) -> bytes:
        """One message for the worker."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, message: bytes) -> Bounds:
        """What `to_bytes` wrote."""
        return cls(**json.loads(message))


def apply_limits(bounds: Bounds, *, beside: int | None, whole_stack: bool = False) -> None:
    """Set this process's resource limits for good.

    `beside`: processes of the same user that do not belong to the program; None where the user cannot be limited.
    `whole_stack`: all the memory may be stack.
    """
    # A second more than the verdict's bound: the watcher decides on time, the kernel only where the watcher cannot.
    cpu = math.ceil(bounds.cpu_s) + 1
    wanted = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: bounds.memory_bytes,
        resource.RLIMIT_FSIZE: bounds.file_bytes,
        resource.RLIMIT_NOFILE: bounds.open_files,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    if whole_stack:
        wanted[resource.RLIMIT_STACK] = bounds.memory_bytes
    if beside is not None:
        wanted[resource.RLIMIT_NPROC] = bounds.processes + beside
    for limit, value in wanted.items():
        hard = resource.getrlimit(limit)[1]
        capped = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (capped, capped))
