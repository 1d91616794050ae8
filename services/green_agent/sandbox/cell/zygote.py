"""The worker: imports the common standard library once, then forks a watcher and a program for each order.

It receives bounds and descriptors, never a program, an input or a test: what a program could find in memory it shares
with the worker is nothing but this code. Order of descriptors: life line, payload, standard input, output and error,
results, and what the role asks for: the line to the other cell of a split test, or the binary to execute.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import signal
import site
import socket
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Any, Final, NoReturn, cast

from services.green_agent.sandbox.cell import executables, harness, kernel, seccomp
from services.green_agent.sandbox.cell.bounds import Bounds, apply_limits
from services.green_agent.sandbox.cell.confinement import Confinement, Namespaces, Nothing, OwnRoot, OwnUser
from services.green_agent.sandbox.cell.frames import Reporter
from services.green_agent.sandbox.cell.watcher import Watcher

READY: Final = b"ready"
MESSAGE_BYTES: Final = 4096
MOST_DESCRIPTORS: Final = 7
RESULT: Final = 3
EXTRA: Final = 4

ENVIRONMENT: Final = frozenset({"PATH", "LANG", "PYTHONHASHSEED"})
"""What a program may see of it."""

PERSISTENT: Final = frozenset({"namespaces", "user"})
"""Confinements whose worker serves many programs; the others are started for one."""

COMMON_MODULES: Final = """
    abc array ast bisect calendar cmath collections collections.abc contextlib copy dataclasses datetime decimal enum
    fractions functools hashlib heapq inspect io itertools json math numbers operator queue random re statistics string
    struct sys textwrap threading time traceback types typing unicodedata
"""


def main(arguments: list[str]) -> None:
    """`arguments`: confinement, number of the control descriptor, and what the confinement needs."""
    kind, descriptor, *rest = arguments
    control = socket.socket(fileno=int(descriptor))
    confinement = _confinement(kind, rest)
    _warm_up(common=kind in PERSISTENT)
    control.send(READY)
    while order := _receive(control):
        bounds, descriptors = order
        if confinement.fork() != 0:
            for number in descriptors:
                os.close(number)
            continue
        control.detach()
        _start(bounds, descriptors, confinement)


def _confinement(kind: str, rest: list[str]) -> Confinement:
    if kind == "user":
        return OwnUser(int(rest[0]), rest[1], tuple(rest[2:]))
    if kind == "nothing":
        return Nothing(rest[0])
    return Namespaces() if kind == "namespaces" else OwnRoot()


def _warm_up(*, common: bool) -> None:
    for name in COMMON_MODULES.split() if common else ():
        importlib.import_module(name)
    kernel.limit_arenas()
    seccomp.prepare()
    sys.set_int_max_str_digits(0)
    # The interpreter runs without `site`, which would show installed packages; programs still expect its builtins.
    site.setquit()
    site.sethelper()
    sys.path = [entry for entry in sys.path if not entry.endswith(".pyz") and not entry.startswith("/proc/")]
    sys.argv = ["solution.py"]
    for name in set(os.environ) - ENVIRONMENT:
        del os.environ[name]
    # Children come and go unobserved; a watcher restores the default for its own.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.collect()
    gc.freeze()


def _receive(control: socket.socket) -> tuple[Bounds, list[int]] | None:
    message, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, MOST_DESCRIPTORS)
    return (Bounds.from_bytes(message), descriptors) if message else None


def _start(bounds: Bounds, descriptors: list[int], confinement: Confinement) -> NoReturn:
    life = descriptors[0]
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # The only signal a first process would get from its namespace: the interpreter has a handler for it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        confinement.prepare(bounds)
        watcher = Watcher(bounds, confinement, life)
        watcher.run(lambda: _become_program(bounds, descriptors, confinement), descriptors[1:])
    except BaseException as error:  # noqa: BLE001 - reported to green as a broken sandbox
        _report_broken(life, error)
    os._exit(1)


def _report_broken(descriptor: int, error: BaseException) -> None:
    with suppress(OSError):
        os.write(descriptor, json.dumps({"broken": f"{type(error).__name__}: {error}"[:1000]}).encode())


def _become_program(bounds: Bounds, descriptors: list[int], confinement: Confinement) -> NoReturn:
    life, payload_file, *streams = descriptors
    status = 1
    try:
        payload = harness.read_payload(payload_file)
        life = _arrange([*streams, life])
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        beside = confinement.confine()
        # Before the limits: what the job brings counts against the scratch space alone.
        executables.write_files(payload.get("files", {}))
        if payload["role"] == executables.BINARY_ROLE:
            _become_binary(payload, bounds, beside, life)
        apply_limits(bounds, beside=beside)
    except BaseException as error:  # noqa: BLE001 - as above; the program has not been touched yet
        _report_broken(life, error)
        os._exit(1)
    try:
        os.close(life)
        _open_streams()
        gc.enable()
        status = harness.run(payload, bounds, result=RESULT, peer=EXTRA)
    except BaseException:  # noqa: BLE001 - whatever a program left behind, its process ends here
        status = 1
    finally:
        _flush()
        os._exit(status)


def _become_binary(payload: dict[str, Any], bounds: Bounds, beside: int | None, life: int) -> NoReturn:
    os.close(life)
    report = Reporter(RESULT, payload["nonce"])
    limit = functools.partial(apply_limits, bounds, beside=beside, whole_stack=True)
    os._exit(executables.become(EXTRA, payload, report, limit))


def _arrange(descriptors: list[int]) -> int:
    """Standard input, output and error as 0 to 2, results as 3, the extra one as 4, then the life line; all else closed.

    Returns the new number of the life line.
    """
    # Two passes: a descriptor may already have the number another one is to get.
    parked = [os.dup2(number, 100 + index, inheritable=False) for index, number in enumerate(descriptors)]
    for index, number in enumerate(parked):
        os.dup2(number, index, inheritable=index < RESULT)
    os.closerange(len(descriptors), 1 << 16)
    return len(descriptors) - 1


def _open_streams() -> None:
    # The worker's own streams would write to descriptors that mean something else now.
    sys.stdin = sys.__stdin__ = _stream(0, "r", "surrogateescape")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", "surrogateescape")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", "backslashreplace")  # type: ignore[misc]


def _stream(number: int, mode: str, errors: str) -> TextIOWrapper:
    return cast("TextIOWrapper", open(number, mode, encoding="utf-8", errors=errors, closefd=False))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
