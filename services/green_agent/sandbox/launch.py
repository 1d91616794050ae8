"""Command lines that start a worker: what it sees, as whom it runs, what it is told.

A program gets the interpreter's executable and standard library, the shared libraries of the system and an empty scratch
folder; no installed package, no /etc, no home. Source: code-and-math specification 9.3.
"""

from __future__ import annotations

import os
import shlex
import stat
import sys
import sysconfig
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Final

from services.green_agent.sandbox.compiler import compiler_files

NOBODY: Final = 65534
"""User and group of programs when the service runs as root."""

ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
DEVICES: Final = ("null", "zero", "full", "random", "urandom")
LIBRARIES: Final = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
ARCHIVE: Final = "/cell.pyz"
STAGE: Final = "/mnt"

# No `site` (it would show installed packages), no byte code written, no current folder on the path.
PYTHON_OPTIONS: Final = ("-S", "-s", "-B", "-P", "-X", "frozen_modules=on")


class View(Enum):
    """How much of the system a cell sees."""

    RUN = "run"
    """The interpreter and the system's libraries."""
    BUILD = "build"
    """Also the compiler and the system's headers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """Where the running interpreter lives, without its virtual environment."""

    executable: str
    files: tuple[str, ...]
    """Paths a program needs to read, beside the system's libraries."""
    hidden: tuple[str, ...]
    """Folders of installed packages inside of them."""


@cache
def interpreter() -> Interpreter:
    """The interpreter that runs green, for programs to run on."""
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix, "installed_base": sys.base_prefix}
    base["installed_platbase"] = sys.base_exec_prefix
    folders = {os.path.realpath(sysconfig.get_path(name, vars=base)) for name in ("stdlib", "platstdlib")}
    library = _shared_library()
    files = {executable, *folders, *([library] if library else [])}
    roots = [*map(Path, sorted(folders)), Path("/usr/lib/python3")]
    hidden = [root / name for root in roots for name in ("site-packages", "dist-packages") if (root / name).is_dir()]
    return Interpreter(executable=executable, files=tuple(sorted(files)), hidden=tuple(map(str, hidden)))


def _shared_library() -> str | None:
    folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
    if not folder or not name or not str(name).count(".so"):
        return None
    path = os.path.realpath(Path(folder) / name)
    return path if Path(path).exists() else None


def readable(view: View) -> list[str]:
    """What a program may read where file rules take the place of a root of its own."""
    beside = compiler_files() if view is View.BUILD else ()
    candidates = (*interpreter().files, *LIBRARIES, "/etc/ld.so.cache", "/usr/share/zoneinfo", *beside)
    return sorted({os.path.realpath(path) for path in candidates if Path(path).exists()})


def python(*arguments: str) -> list[str]:
    """The interpreter with the options of a cell."""
    return [interpreter().executable, *PYTHON_OPTIONS, *arguments]


def bubblewrap(*, archive: int, scratch_bytes: int | None, arguments: list[str], view: View) -> list[str]:
    """A cell archive inside bubblewrap, as an unprivileged user.

    `archive` is the descriptor of the archive; `arguments` are the archive's. With `scratch_bytes` the process is the
    first of its namespace and gets a scratch folder; without, it is a worker that makes both for each program.
    """
    sources = {path: path for path in interpreter().files}
    if view is View.BUILD:
        sources |= {path: path for path in compiler_files()}
    prefix = _unprivileged(sources) if os.geteuid() == 0 else []
    command = [*prefix, "bwrap", "--die-with-parent", "--new-session", "--clearenv"]
    command += ["--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--unshare-cgroup-try", "--hostname", "sandbox"]
    # Symbols bound at the start are bound once; the worker forgets the variable before it runs a program.
    for name, value in {**ENVIRONMENT, "LD_BIND_NOW": "1"}.items():
        command += ["--setenv", name, value]
    command += [*_root(sources), "--ro-bind-data", str(archive), ARCHIVE]
    if scratch_bytes is None:
        command += ["--dir", "/tmp"]  # noqa: S108 - a folder of the new root
    else:
        command += ["--as-pid-1", "--perms", "0700", "--size", str(scratch_bytes), "--tmpfs", "/tmp"]  # noqa: S108
    # Bubblewrap's root is a memory file system that its owner could write to.
    return [*command, "--remount-ro", "/", "--chdir", "/", "--", *python(ARCHIVE, *arguments)]


def _root(sources: dict[str, str]) -> list[str]:
    options = ["--proc", "/proc", "--dir", "/dev"]
    for name in DEVICES:
        options += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    links = {"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1"}
    for link, target in {**links, "/dev/stderr": "/proc/self/fd/2", "/dev/shm": "/tmp"}.items():  # noqa: S108
        options += ["--symlink", target, link]
    for folder in LIBRARIES:
        path = Path(folder)
        if path.is_symlink():
            options += ["--symlink", str(path.readlink()), folder]
        elif path.is_dir():
            options += ["--ro-bind", folder, folder]
    options += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    options += ["--ro-bind-try", "/usr/share/zoneinfo", "/usr/share/zoneinfo"]
    for target, source in sources.items():
        options += ["--ro-bind", source, target]
    for folder in interpreter().hidden:
        options += ["--tmpfs", folder, "--remount-ro", folder]
    return options


def _unprivileged(sources: dict[str, str]) -> list[str]:
    """What runs a command as nobody.

    Interpreter files nobody could reach are bound to a reachable place beforehand, in a mount namespace of its own, and
    `sources` changed to say so.
    """
    drop = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    secluded = [path for path in sources if not everyone_may_read(path)]
    if not secluded:
        return drop
    steps = [f"mount -t tmpfs -o mode=755,size=64k assay {STAGE}"]
    for number, path in enumerate(secluded):
        place = f"{STAGE}/{number}"
        steps += [f"{'mkdir' if Path(path).is_dir() else 'touch'} {place}"]
        steps += [f"mount --bind {shlex.quote(path)} {place}"]
        sources[path] = place
    return ["unshare", "--mount", "--", "sh", "-c", " && ".join([*steps, f'exec {shlex.join(drop)} "$@"']), "sh"]


def everyone_may_read(*paths: str) -> bool:
    """True when every user of this machine can reach and read `paths`."""
    return all(_reachable(Path(path)) for path in paths)


def _reachable(path: Path) -> bool:
    readable_mode = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
    return path.stat().st_mode & readable_mode == readable_mode and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in path.parents
    )
