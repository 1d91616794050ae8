"""The GPUs of this machine, as the driver's `nvidia-smi` counts them, and who uses their memory."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.inference.failures import UsageError
from services.inference.planning.presets import Hardware

BUSY_SHARE: Final = 0.05
"""A GPU whose memory is used beyond this part belongs to somebody else."""
_TIMEOUT_S: Final = 30.0
_GPU_COLUMNS: Final = "index,uuid,name,memory.total,memory.reserved,memory.used,compute_cap"
_USER_COLUMNS: Final = "gpu_uuid,pid,process_name,used_memory"
_WITHOUT: Final = "for an engine on the CPU pass --gpu cpu; to plan for another machine name its --gpu KIND --count N"


class NoGpusError(UsageError):
    """The driver shows no GPU, or there is no driver."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU of this machine."""

    index: int
    """As the driver counts; what `--gpu-ids` means."""
    uuid: str
    name: str
    total_gib: float
    """Memory that programs can have: without what the driver keeps for itself."""
    used_gib: float
    cc: str
    """Compute capability, such as "9.0"."""

    @property
    def busy(self) -> bool:
        """Its memory is in use."""
        return self.used_gib > BUSY_SHARE * self.total_gib

    def __str__(self) -> str:
        return f"GPU {self.index} ({self.name})"


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuUser:
    """One process that holds memory of a GPU."""

    uuid: str
    """Of the GPU."""
    pid: int
    name: str
    gib: float | None
    """None: the driver does not say, as in a container."""


def gpus() -> tuple[Gpu, ...]:
    """The GPUs in the driver's order. Raises NoGpusError with the driver's own words and the remedy. Takes up to a second."""
    found = tuple(map(_gpu, _rows(f"--query-gpu={_GPU_COLUMNS}")))
    if not found:
        raise NoGpusError(f"nvidia-smi lists no GPU; {_WITHOUT}")
    return found


def gpu_users() -> tuple[GpuUser, ...]:
    """Processes that hold GPU memory, as far as the driver shows them. Raises NoGpusError."""
    return tuple(
        GpuUser(uuid=uuid, pid=int(pid), name=name, gib=_gib(used))
        for uuid, pid, name, used in _rows(f"--query-compute-apps={_USER_COLUMNS}")
    )


def as_hardware(found: Sequence[Gpu]) -> Hardware:
    """What `--gpu auto` means to the planner: the driver's numbers; of unlike GPUs the least of each.

    Raises NoGpusError when there is none.
    """
    if not found:
        raise NoGpusError(f"no GPU was chosen; {_WITHOUT}")
    least = min(found, key=lambda gpu: gpu.total_gib)
    oldest = min(found, key=lambda gpu: tuple(map(int, gpu.cc.split("."))))
    return Hardware(
        key="auto", gib=least.total_gib, cc=oldest.cc, per_node=len(found), notes=f"{len(found)} of {least.name}"
    )


def _rows(query: str) -> list[list[str]]:
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise NoGpusError(f"nvidia-smi was not found, so no NVIDIA GPU can be used here; {_WITHOUT}") from None
    except subprocess.TimeoutExpired:
        raise NoGpusError(f"nvidia-smi gave no answer within {_TIMEOUT_S:.0f} s; is the driver well?") from None
    columns = query.count(",") + 1
    rows = [_fields(line, columns) for line in ran.stdout.splitlines() if line.strip()]
    # The driver's complaints come on standard output too, some of them with exit code 0.
    if ran.returncode or any(len(row) != columns for row in rows):
        said = " ".join((ran.stdout + " " + ran.stderr).split())
        raise NoGpusError(f"nvidia-smi ended with exit code {ran.returncode} and said: {said[:400]}; {_WITHOUT}")
    return rows


def _fields(line: str, columns: int) -> list[str]:
    """Nothing is quoted: the third field, a name, may hold commas."""
    first = line.split(",", 2)
    fields = [*first[:2], *first[2].rsplit(",", columns - 3)] if len(first) == 3 else first
    return [field.strip() for field in fields]


def _gpu(row: Sequence[str]) -> Gpu:
    index, uuid, name, total, reserved, used, cc = row
    total_gib, used_gib = _gib(total), _gib(used)
    if total_gib is None or used_gib is None or "." not in cc:
        raise NoGpusError(f"nvidia-smi does not tell memory and compute capability of GPU {index} ({name}): {row}")
    return Gpu(
        index=int(index),
        uuid=uuid,
        name=name,
        total_gib=total_gib - (_gib(reserved) or 0.0),
        used_gib=used_gib,
        cc=cc,
    )


def _gib(mebibytes: str) -> float | None:
    """Numbers come as MiB; what is unknown as `[N/A]`, `[Not Supported]` and the like."""
    return int(mebibytes) / 1024 if mebibytes.isdecimal() else None
