"""The system calls Python has no name for. Each raises OSError as `os` would."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import struct
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096

PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_CHILD_SUBREAPER: Final = 36
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
SECCOMP_MODE_FILTER: Final = 2

M_ARENA_MAX: Final = -8
CAPABILITY_VERSION_3: Final = 0x20080522
EINVAL: Final = 22

CLONE: Final = {"x86_64": 56, "aarch64": 220}.get(platform.machine(), 0)

_libc: Final = ctypes.CDLL(None, use_errno=True)
_locked: Final = ctypes.PyDLL(None, use_errno=True)


def _checked(result: int, what: str) -> int:
    if result < 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"{what}: {os.strerror(errno)}")
    return result


def fork_into(flags: int) -> int:
    """Fork into new namespaces: 0 in the child, its id in the parent.

    The plain system call: `unshare` would cost a second fork, since only children enter a new PID namespace. Python is not
    told, which is fine for a single thread whose child forks again, properly, before it runs anything foreign. The lock
    of the interpreter is held throughout (PyDLL).
    """
    return _checked(_locked.syscall(ctypes.c_long(CLONE), ctypes.c_ulong(flags | signal.SIGCHLD), 0, 0, 0, 0), "clone")


def mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount or remount `target`."""
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    options = None if data is None else data.encode()
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), options), f"mount {target}")


def prctl(option: int, *arguments: int) -> int:
    """Set a property of this process; `arguments` may hold addresses."""
    padded = [*arguments, 0, 0, 0, 0][:4]
    return _checked(_libc.prctl(option, *map(ctypes.c_ulong, padded)), f"prctl {option}")


def syscall(number: int, *arguments: int) -> int:
    """Call the kernel by number."""
    return _checked(_libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, arguments)), f"syscall {number}")


def drop_capabilities() -> None:
    """Give up every capability, also those that executing a file could bring."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except PermissionError:
            break  # none is held, so there is none to drop
        except OSError as error:
            if error.errno != EINVAL:
                raise
            break  # past the last capability this kernel knows
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("=II", CAPABILITY_VERSION_3, 0))
    nothing = ctypes.create_string_buffer(24)
    _checked(_libc.capset(header, nothing), "capset")


def forbid_new_privileges() -> None:
    """No file executed from here on grants anything."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def limit_arenas() -> None:
    """Two malloc arenas: each reserves 64 MiB of address space, which the memory limit would count."""
    _libc.mallopt(M_ARENA_MAX, 2)
