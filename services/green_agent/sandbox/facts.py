"""What a report has to say about the machine that ran the programs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache

from services.contract.execution import Limits
from services.green_agent.sandbox import compiler
from services.green_agent.sandbox.cell import landlock
from services.green_agent.sandbox.launch import interpreter
from services.green_agent.sandbox.memory_groups import hierarchy


def machine_facts(*, isolated: bool) -> dict[str, str]:
    """Facts by name, as text. `isolated`: programs give up the rights of a service that runs as root."""
    user = "root" if os.geteuid() == 0 else "unprivileged"
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "interpreter": os.path.basename(interpreter().executable),  # noqa: PTH119 - the folder is nobody's business
        "bubblewrap": _bubblewrap_version(),
        "landlock": str(landlock.version() or "none"),
        "user": f"{user}, programs as another" if isolated and os.geteuid() == 0 else user,
        "compiler": compiler.version(),
        "compiler flags": " ".join(compiler.FLAGS),
        "build limits": _told(compiler.LIMITS),
        "memory limit": f"address space of each process, resident size of all every 50 ms{_groups()}",
        "cpu limit": "CPU time of all processes",
    }


def _told(limits: Limits) -> str:
    return (
        f"{limits.cpu_s:g} s cpu, {limits.wall_s:g} s wall, {limits.memory_bytes >> 20} MiB memory, "
        f"{limits.output_bytes >> 10} KiB output, {limits.file_bytes >> 20} MiB file, {limits.scratch_bytes >> 20} MiB scratch"
    )


def _groups() -> str:
    found = hierarchy()
    return f", cgroup v{found.version} of each worker" if found else "; no cgroup may be made here"


@cache
def _bubblewrap_version() -> str:
    program = shutil.which("bwrap")
    if program is None:
        return "not installed"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"
