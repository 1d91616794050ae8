"""Loads a program and does with it what the job says. Runs in the program's own process, fully confined.

It holds arguments, never an expected value, and what it sends is only a claim: green compares. So a program that takes it
apart gains nothing.
"""

from __future__ import annotations

import atexit
import builtins
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any, Final, NoReturn

from services.contract.values import decode, encode
from services.green_agent.sandbox.cell import executables
from services.green_agent.sandbox.cell.bounds import Bounds
from services.green_agent.sandbox.cell.frames import PeerLost, Reporter, receive_message, send_message

ERROR_LENGTH: Final = 2000


class _CallTimeout(BaseException):
    """A call used up its CPU time."""


def run(payload: dict[str, Any], bounds: Bounds, *, result: int, peer: int) -> int:
    """Do the job and return the exit status of the process.

    `payload`: role, source, nonce and what the role needs; `result`, `peer`: descriptors, `peer` only for a split test.
    """
    report = Reporter(result, payload["nonce"])
    random.seed(payload.get("seed", 0))
    roles: dict[str, Callable[[], int]] = {
        "calls": lambda: _calls(payload, bounds, report),
        "program": lambda: _program(payload, report),
        "build": lambda: executables.build(payload, report),
        "candidate": lambda: _candidate(payload, bounds, report, peer),
        "test": lambda: _test(payload, report, peer),
    }
    return roles[payload["role"]]()


def _calls(payload: dict[str, Any], bounds: Bounds, report: Reporter) -> int:
    function = _load(payload["source"], payload["entry_point"], report)
    if function is None:
        return 1
    for index, arguments in enumerate(payload["calls"]):
        report.send(call=index, **_call(function, arguments, bounds.call_cpu_s))
    return 0


def _program(payload: dict[str, Any], report: Reporter) -> int:
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv += payload["arguments"]
    try:
        _execute(payload["source"], module)
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - what the interpreter does at its end
    except SystemExit as request:
        return _exit_status(request.code)
    except BaseException as error:  # noqa: BLE001 - the boundary of the program
        _print_traceback(error)
        report.send(error=_describe(error))
        return 1
    finally:
        atexit._run_exitfuncs()  # noqa: SLF001 - likewise
    return 0


def _candidate(payload: dict[str, Any], bounds: Bounds, report: Reporter, peer: int) -> int:
    function = _load(payload["source"], payload["entry_point"], report)
    if function is None:
        return 1
    while True:
        try:
            arguments = receive_message(peer)
        except PeerLost:
            return 0
        send_message(peer, _call(function, arguments, bounds.call_cpu_s))


def _test(payload: dict[str, Any], report: Reporter, peer: int) -> int:
    module = ModuleType("test")
    vars(module)[payload["entry_point"]] = _remote(peer)
    sys.modules["test"] = module
    try:
        _execute(payload["source"], module)
    except BaseException as error:  # noqa: BLE001 - the boundary of the test
        report.send(error=_describe(error))
        return 1
    report.send(passed=True)
    return 0


def _remote(peer: int) -> Callable[..., Any]:
    """The program under test, as a function whose calls are answered in another cell."""

    def function(*args: Any, **kwargs: Any) -> Any:
        encoded = {name: encode(value) for name, value in kwargs.items()}
        send_message(peer, {"args": [encode(value) for value in args], "kwargs": encoded})
        answer = receive_message(peer)
        if answer.get("status") == "returned":
            return decode(answer.get("value"))
        raise _exception(str(answer.get("exception") or answer.get("status")))

    return function


def _exception(name: str) -> BaseException:
    """An exception of that builtin type; RuntimeError, which no test expects, for a type the test cell does not know."""
    kind = vars(builtins).get(name)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind("raised by the program under test")
        except TypeError:
            pass
    return RuntimeError(f"the program under test ended its call with {name[:200]}")


def _load(source: str, entry_point: str, report: Reporter) -> Callable[..., Any] | None:
    module = ModuleType("solution")
    sys.modules["solution"] = module
    try:
        _execute(source, module)
        function = _entry(module, entry_point)
    except BaseException as error:  # noqa: BLE001 - the boundary of the program
        report.send(error=_describe(error))
        return None
    report.send(loaded=True)
    return function


def _entry(module: ModuleType, name: str) -> Callable[..., Any]:
    """A function of the module, or a method of its class `Solution`. Raises NameError."""
    if name in vars(module):
        found: Callable[..., Any] = vars(module)[name]
        return found
    solution = vars(module).get("Solution")
    if isinstance(solution, type) and hasattr(solution, name):
        method: Callable[..., Any] = getattr(solution(), name)
        return method
    raise NameError(f"the program does not define {name!r}")


def _execute(source: str, module: ModuleType) -> None:
    # Some editors of replies leave a byte order mark, some data sets carriage returns.
    code = compile(source.removeprefix("\ufeff"), f"<{module.__name__}>", "exec", dont_inherit=True)
    exec(code, vars(module))  # noqa: S102 - running it is the whole point of the cell


def _call(function: Callable[..., Any], arguments: dict[str, Any], cpu_s: float) -> dict[str, Any]:
    # Decoded for each call: a program that changes its arguments changes only its own.
    args = [decode(value) for value in arguments["args"]]
    kwargs = {name: decode(value) for name, value in arguments["kwargs"].items()}
    started = time.process_time()
    try:
        answer = _interruptible(lambda: encode(function(*args, **kwargs)), cpu_s)
    except _CallTimeout:
        return {"status": "timeout"}
    # A program may swallow the interruption, but not the time.
    return {"status": "timeout"} if time.process_time() - started > cpu_s else answer


def _interruptible(call: Callable[[], Any], cpu_s: float) -> dict[str, Any]:
    try:
        signal.signal(signal.SIGPROF, _out_of_time)
        signal.setitimer(signal.ITIMER_PROF, cpu_s)
        return {"status": "returned", "value": call()}
    except _CallTimeout:
        raise
    except BaseException as error:  # noqa: BLE001 - one call that fails leaves the others their chance
        return {"status": "raised", "exception": type(error).__name__}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _out_of_time(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _CallTimeout


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    print(code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    return 1


def _describe(error: BaseException) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - a program's exception may refuse to be printed
        text = type(error).__name__
    return text[:ERROR_LENGTH].encode("utf-8", "backslashreplace").decode()


def _print_traceback(error: BaseException) -> None:
    """On standard error, without this module's own frames."""
    frames = error.__traceback__
    while frames and frames.tb_frame.f_code.co_filename != "<__main__>":
        frames = frames.tb_next
    try:
        traceback.print_exception(type(error), error, frames)
    except BaseException:  # noqa: BLE001 - likewise
        os.write(2, type(error).__name__.encode() + b"\n")


def read_payload(descriptor: int) -> dict[str, Any]:
    """The job, from a memory file that green wrote and the worker never opened."""
    with open(descriptor, "rb") as file:
        payload: dict[str, Any] = json.load(file)
    return payload
