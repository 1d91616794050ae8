"""The system call filter: its form for each architecture, and what the kernel makes of it."""

import errno
import platform
import signal
import struct
from typing import Any

import pytest

from services.contract.execution import CallArguments, Calls
from services.contract.values import decode, encode
from services.green_agent.sandbox.cell.seccomp import ARCHITECTURES, CLONE3, DENIED, program
from services.green_agent.sandbox.pool import LocalSandbox

ERRORS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def f(numbers):
    return [libc.syscall(number, *[0] * 6) and ctypes.get_errno() for number in numbers]
"""
CLONE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def f(number, flags):
    child = libc.syscall(number, flags | 17, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return ctypes.get_errno() if child < 0 else 0
"""


async def errors(sandbox: LocalSandbox, source: str, *args: object) -> Any:
    job = Calls(source=source, entry_point="f", calls=[CallArguments(args=[encode(value) for value in args])])
    return decode((await sandbox.run(job)).calls[0].value)


def own_numbers() -> dict[str, int]:
    column = ARCHITECTURES[platform.machine()].column
    return {name: number for name, pair in DENIED.items() if (number := pair[column]) is not None}


async def test_every_denied_call_is_refused(warm: LocalSandbox) -> None:
    numbers = own_numbers()

    told = await errors(warm, ERRORS, list(numbers.values()))

    assert dict(zip(numbers, told, strict=True)) == dict.fromkeys(numbers, errno.EPERM)


async def test_calls_of_another_convention_and_clone3_do_not_exist(warm: LocalSandbox) -> None:
    other = [0x40000000 | 101] if platform.machine() == "x86_64" else []

    assert await errors(warm, ERRORS, [CLONE3, *other]) == [errno.ENOSYS] * (1 + len(other))


@pytest.mark.parametrize("flag", [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000])
async def test_clone_makes_no_namespace(warm: LocalSandbox, flag: int) -> None:
    clone = ARCHITECTURES[platform.machine()].clone

    assert await errors(warm, CLONE, clone, flag) == errno.EPERM


async def test_clone_still_forks(warm: LocalSandbox) -> None:
    assert await errors(warm, CLONE, ARCHITECTURES[platform.machine()].clone, 0) == 0


async def test_only_the_end_of_children_cannot_be_ignored(warm: LocalSandbox) -> None:
    """Nobody is told the CPU time of children that are ignored."""
    source = """
import signal
def f():
    refused = []
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_IGN)
        except PermissionError:
            refused.append(int(number))
        except OSError:
            pass
    return refused
"""
    assert await errors(warm, source) == [signal.SIGCHLD]


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_every_jump_stays_inside_the_filter_and_every_path_returns(machine: str) -> None:
    code = program(machine)
    steps = [struct.unpack_from("=HBBI", code, offset) for offset in range(0, len(code), 8)]

    for index, (operation, jump_true, jump_false, _) in enumerate(steps):
        assert index + 1 + max(jump_true, jump_false) < len(steps) or operation == 0x06

    assert steps[-1] == (0x06, 0, 0, 0x7FFF0000)
    assert len(steps) < 4096
