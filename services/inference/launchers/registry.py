"""The launchers by name. A new launcher is one module and one line here.

A launcher's own options are keyword arguments of its class, all with defaults: without them it can still tell the state of
servers and stop them.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Final, Literal, get_args

from services.inference.launchers.base import Launcher

LauncherName = Literal["local", "compose", "slurm"]
LAUNCHERS: Final[tuple[LauncherName, ...]] = get_args(LauncherName)
_CLASSES: Final[dict[LauncherName, str]] = {
    "local": "LocalLauncher",
    "compose": "ComposeLauncher",
    "slurm": "SlurmLauncher",
}
_SLURM: Final = re.compile(r"[0-9]+(_[0-9]+)?")


def launcher(name: LauncherName) -> Launcher:
    """The launcher of this name, with its defaults."""
    found: Launcher = getattr(import_module(f"services.inference.launchers.{name}"), _CLASSES[name])()
    return found


def launcher_of(server_id: str) -> LauncherName | None:
    """Which launcher a server's id in the registry belongs to; None: it is somebody else's, and never touched."""
    if _SLURM.fullmatch(server_id):
        return "slurm"
    kind, dash, _ = server_id.partition("-")
    return next((name for name in LAUNCHERS if dash and kind == name and name != "slurm"), None)
