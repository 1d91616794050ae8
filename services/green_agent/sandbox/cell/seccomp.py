"""The system call filter of a program, as classic BPF built here: no library is needed.

Denied calls fail with EPERM, so a program sees an error and not its end. `clone3` fails with ENOSYS: its flags lie in memory
that a filter cannot read, and every libc falls back to `clone`. Source: code-and-math specification 9.3.
"""

from __future__ import annotations

import ctypes
import platform
import struct
from dataclasses import dataclass
from functools import cache
from typing import Final

from services.green_agent.sandbox.cell import kernel

EPERM: Final = 1
ENOSYS: Final = 38

# name: (x86-64, aarch64); None where the architecture has no such call.
DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    # the mount family and what leads out of a root
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "unshare": (272, 97),
    "setns": (308, 268),
    # large surfaces of the kernel that no test program needs
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "modify_ldt": (154, None),
    "personality": (135, 92),
    # the machine itself
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    # network; a pair of connected sockets (socketpair) stays, event loops need it
    "socket": (41, 198),
    # memory that no process maps escapes the memory limit
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semctl": (66, 191),
    "msgget": (68, 186),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
}

CLONE_NEW: Final = 0x7E020000
"""Every flag of `clone` that makes a namespace."""
CLONE3: Final = 435
SIGCHLD: Final = 17


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """What differs between machines."""

    audit: int
    """AUDIT_ARCH value the kernel reports."""
    column: int
    clone: int
    sigaction: int
    """`rt_sigaction`. A process that ignores the end of its children loses their CPU time to the accounts."""
    highest: int
    """System call numbers above belong to another calling convention (x32) and are refused."""


ARCHITECTURES: Final = {
    "x86_64": Architecture(audit=0xC000003E, column=0, clone=56, sigaction=13, highest=0x3FFFFFFF),
    "aarch64": Architecture(audit=0xC00000B7, column=1, clone=220, sigaction=134, highest=0xFFFFFFFF),
}

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_GREATER: Final = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_NUMBER, _ARCH, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24  # offsets in struct seccomp_data
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_KILL: Final = 0x80000000


def program(machine: str) -> bytes:
    """The filter for `machine` as an array of struct sock_filter. Raises KeyError for a machine it does not know."""
    arch = ARCHITECTURES[machine]
    numbers = [pair[arch.column] for pair in DENIED.values()]
    denied = sorted({number for number in numbers if number is not None})
    steps = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch.audit),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_GREATER, 0, 1, arch.highest),
        (_RETURN, 0, 0, _ERRNO | ENOSYS),
        (_EQUAL, 0, 1, CLONE3),
        (_RETURN, 0, 0, _ERRNO | ENOSYS),
    ]
    for number in denied:
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERRNO | EPERM)]
    steps += [
        (_EQUAL, 0, 8, arch.sigaction),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_EQUAL, 0, 4, SIGCHLD),
        (_LOAD, 0, 0, _SECOND_ARGUMENT),
        (_EQUAL, 0, 3, 0),
        (_LOAD, 0, 0, _SECOND_ARGUMENT + 4),
        (_EQUAL, 0, 1, 0),
        (_RETURN, 0, 0, _ALLOW),  # another signal, or no new handler: it only asks
        (_RETURN, 0, 0, _ERRNO | EPERM),
        (_EQUAL, 0, 3, arch.clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_ANY_BIT, 0, 1, CLONE_NEW),
        (_RETURN, 0, 0, _ERRNO | EPERM),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


@cache
def _own_program() -> bytes:
    return program(platform.machine())


def prepare() -> None:
    """Build the filter now, so that no program waits for it."""
    _own_program()


def install() -> None:
    """Filter this process and all it starts, for good. Needs no-new-privileges."""
    code = _own_program()
    filters = ctypes.create_string_buffer(code, len(code))
    head = struct.pack("@HP", len(code) // 8, ctypes.addressof(filters))
    header = ctypes.create_string_buffer(head, len(head))
    kernel.prctl(kernel.PR_SET_SECCOMP, kernel.SECCOMP_MODE_FILTER, ctypes.addressof(header))
