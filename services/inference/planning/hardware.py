"""Which GPUs are meant: a kind of the file, the driver's (`auto`), or none (`cpu`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from services.inference.planning.presets import Catalogue, Hardware

AUTO: Final = "auto"
CPU: Final = "cpu"
_CGROUP_LIMIT: Final = Path("/sys/fs/cgroup/memory.max")


def gpu(name: str, known: Catalogue) -> tuple[Hardware, int | None]:
    """The kind of GPU, and how many there are where that is known.

    Raises UsageError for an unknown kind, and for `auto` where the driver shows no GPU.
    """
    if name == CPU:
        return this_machine(), 1
    if name != AUTO:
        return known.gpu(name), None
    from services.inference.machine.gpus import as_hardware, gpus  # noqa: PLC0415 - starts processes, so only when asked

    found = gpus()
    return as_hardware(found), len(found)


def this_machine() -> Hardware:
    """The memory of this machine, or of this container, as the one device of a CPU build."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Hardware(key=CPU, gib=min(total, _container_limit() or total) / 2**30, cc="", per_node=1)


def _container_limit() -> int | None:
    try:
        limit = _CGROUP_LIMIT.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(limit) if limit.isdecimal() else None
