"""What a report has to say about the machine that ran the programs."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from functools import cache

from services.green_agent.sandbox.cell import landlock
from services.green_agent.sandbox.launch import interpreter


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
        "memory limit": "address space of each process, resident size of all every 50 ms",
        "cpu limit": "CPU time of all processes",
    }


@cache
def _bubblewrap_version() -> str:
    program = shutil.which("bwrap")
    if program is None:
        return "not installed"
    told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"
