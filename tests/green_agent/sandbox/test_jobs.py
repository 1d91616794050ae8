"""What jobs give: values, exceptions, exit codes, output; the same on every backend."""

import pytest
from pydantic import ValidationError

from services.contract.execution import (
    Build,
    CallArguments,
    CallResult,
    Calls,
    CallStatus,
    JobResult,
    Limits,
    Program,
    Split,
)
from services.contract.values import decode, encode
from services.green_agent.sandbox.pool import LocalSandbox


def calls(source: str, *arguments: tuple[object, ...], entry_point: str = "f", limits: Limits | None = None) -> Calls:
    encoded = [CallArguments(args=[encode(value) for value in values]) for values in arguments]
    return Calls(source=source, entry_point=entry_point, calls=encoded, limits=limits or Limits())


def returned(result: JobResult) -> list[object]:
    assert {call.status for call in result.calls} <= {CallStatus.RETURNED}, result
    return [decode(call.value) for call in result.calls]


VALUES = [1, -(2**200), 2.5, "é\ud800", None, True, (1, [2]), {"a": {1, 2}}, frozenset({3}), range(4), 1j, b"\x00"]


async def test_each_call_gives_its_value(sandbox: LocalSandbox) -> None:
    result = await sandbox.run(calls("def f(x):\n    return x", *((value,) for value in VALUES)))

    assert returned(result) == VALUES
    assert result.backend == sandbox.info.backend
    assert (result.error, result.limit, result.exit_status) == ("", None, 0)


async def test_an_exception_costs_its_own_call_only(sandbox: LocalSandbox) -> None:
    source = "import sys\ndef f(x):\n    if x == 1: raise KeyError(x)\n    if x == 2: sys.exit(3)\n    return x"

    result = await sandbox.run(calls(source, (0,), (1,), (2,), (3,)))

    assert result.calls == [
        CallResult(status=CallStatus.RETURNED, value=0),
        CallResult(status=CallStatus.RAISED, exception="KeyError"),
        CallResult(status=CallStatus.RAISED, exception="SystemExit"),
        CallResult(status=CallStatus.RETURNED, value=3),
    ]


async def test_a_call_cannot_change_the_arguments_of_the_next(warm: LocalSandbox) -> None:
    assert returned(await warm.run(calls("def f(x):\n    x.append(1)\n    return x", ([],), ([],)))) == [[1], [1]]


async def test_keyword_arguments_arrive(warm: LocalSandbox) -> None:
    job = Calls(source="def f(**k): return k", entry_point="f", calls=[CallArguments(kwargs={"a": encode((1,))})])

    assert returned(await warm.run(job)) == [{"a": (1,)}]


async def test_a_method_of_solution_counts_as_entry_point(warm: LocalSandbox) -> None:
    source = "class Solution:\n    def f(self, x):\n        return x * 2"

    assert returned(await warm.run(calls(source, (4,)))) == [8]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def f(:", "SyntaxError: "),
        ("raise ValueError('at import')", "ValueError: at import"),
        ("def g(): pass", "NameError: the program does not define 'f'"),
        ("import numpy", "ModuleNotFoundError: No module named 'numpy'"),
        ("import services.green_agent.benchmarks", "ModuleNotFoundError: "),
        ("raise SystemExit(4)", "SystemExit: 4"),
    ],
)
async def test_a_program_that_does_not_load_says_why(warm: LocalSandbox, source: str, error: str) -> None:
    result = await warm.run(calls(source, (1,)))

    assert result.error.startswith(error)
    assert result.calls == [CallResult(status=CallStatus.NOT_RUN)]


async def test_a_main_guard_does_not_run_in_call_mode_and_runs_in_a_program(warm: LocalSandbox) -> None:
    source = "def f(): return __name__\nif __name__ == '__main__': print('ran')"

    called, ran = await warm.run(calls(source, ())), await warm.run(Program(source=source))

    assert (returned(called), called.stdout) == (["solution"], "")
    assert ran.stdout == "ran\n"


async def test_a_program_reads_its_input_and_its_output_is_kept(sandbox: LocalSandbox) -> None:
    source = "import sys\nfor line in sys.stdin: print(int(line) + 1)\nprint('bad', file=sys.stderr)"

    result = await sandbox.run(Program(source=source, stdin="1\n2\n"))

    assert (result.stdout, result.stderr, result.exit_status, result.truncated) == ("2\n3\n", "bad\n", 0, False)


@pytest.mark.parametrize(
    "read", ["open(0).read()", "sys.stdin.buffer.read().decode()", "input()", "open('/dev/stdin').read()"]
)
async def test_every_usual_way_to_read_input_works(warm: LocalSandbox, read: str) -> None:
    assert (await warm.run(Program(source=f"import sys\nprint({read}.strip())", stdin="12 13\n"))).stdout == "12 13\n"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("exit()", 0),
        ("import sys; sys.exit(3)", 3),
        ("1/0", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("exit('no')", 1),
    ],
)
async def test_exit_statuses_are_those_of_the_interpreter(warm: LocalSandbox, source: str, status: int) -> None:
    assert (await warm.run(Program(source=source))).exit_status == status


async def test_a_traceback_shows_the_program_and_nothing_of_the_harness(warm: LocalSandbox) -> None:
    result = await warm.run(Program(source="def g():\n    return 1/0\ng()"))

    assert result.error == "ZeroDivisionError: division by zero"
    assert 'File "<__main__>", line 2, in g' in result.stderr
    assert "harness" not in result.stderr


async def test_exit_handlers_and_threads_run_to_their_end(warm: LocalSandbox) -> None:
    source = """
import atexit, threading, time
atexit.register(print, "last")
threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
print("main")
"""
    assert (await warm.run(Program(source=source))).stdout == "main\nthread\nlast\n"


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("import asyncio\nprint(asyncio.run(asyncio.sleep(0, 5)))", "5\n"),
        ("import multiprocessing as m\nif __name__ == '__main__': print(m.Pool(2).map(abs, [-1, -2]))", "[1, 2]\n"),
        ("import threading as t\nw = [t.Thread(target=print) for _ in range(20)]\n[x.start() for x in w]", "\n" * 20),
        (
            "import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'print(1)']))",
            "b'1\\n'\n",
        ),
        ("print(len(str(10 ** 9000)))", "9001\n"),
        (
            "import sys\nsys.setrecursionlimit(10**6)\nf = lambda n: 0 if n == 0 else 1 + f(n - 1)\nprint(f(50_000))",
            "50000\n",
        ),
        ("from zoneinfo import ZoneInfo\nimport tempfile\nprint(tempfile.gettempdir())", "/tmp\n"),
    ],
)
async def test_programs_may_use_the_standard_library(warm: LocalSandbox, source: str, output: str) -> None:
    result = await warm.run(Program(source=source))

    assert (result.stdout, result.exit_status) == (output, 0), result.stderr


async def test_a_program_sees_an_empty_environment(warm: LocalSandbox) -> None:
    result = await warm.run(Program(source="import os, sys\nprint(sorted(os.environ), sys.argv, os.listdir('.'))"))

    assert result.stdout == "['LANG', 'PATH', 'PYTHONHASHSEED'] ['solution.py'] []\n"


async def test_hashes_and_random_numbers_are_the_same_in_every_cell(sandbox: LocalSandbox) -> None:
    job = calls("import random\ndef f(): return [random.random(), hash('a'), list({'x', 'y', 'z'})]", ())

    first, second = returned(await sandbox.run(job)), returned(await sandbox.run(job))

    assert first == second


async def test_a_split_test_passes_when_its_assertions_hold(sandbox: LocalSandbox) -> None:
    test = "def check(candidate):\n    assert candidate([2, 1]) == [1, 2]\n    assert candidate(x=()) == []\ncheck(f)"

    result = await sandbox.run(Split(source="def f(x): return sorted(x)", entry_point="f", test_source=test))

    assert (result.passed, result.error) == (True, "")


@pytest.mark.parametrize(
    ("source", "test", "error"),
    [
        ("def f(): return 1", "assert f() == 2", "AssertionError: "),
        ("def f(): return object()", "assert f()", "TypeError: unencodable: object is neither true nor false"),
        ("def f(): raise KeyError", "f()", "KeyError: 'raised by the program under test'"),
        (
            "class E(Exception): pass\ndef f(): raise E",
            "f()",
            "RuntimeError: the program under test ended its call with E",
        ),
        ("import os\ndef f(): os._exit(0)", "f()", "PeerLost: the program under test has ended"),
        ("def g(): pass", "f()", "NameError: the program does not define 'f'"),
        ("import os\ndef f():\n    while True: os.write(4, b'x' * 999)", "f()", "PeerLost: "),
        ("import os\ndef f(): os.write(4, bytes([0, 0, 0, 2]) + b'[]')", "f()", "PeerLost: "),
    ],
)
async def test_a_split_test_fails_with_the_reason(warm: LocalSandbox, source: str, test: str, error: str) -> None:
    result = await warm.run(Split(source=source, entry_point="f", test_source=test))

    assert result.passed is False
    assert result.error.startswith(error)


async def test_a_split_test_may_expect_an_exception(warm: LocalSandbox) -> None:
    test = "try:\n    f()\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError"

    result = await warm.run(Split(source="def f(): raise ValueError", entry_point="f", test_source=test))

    assert result.passed is True


async def test_the_seed_of_a_split_test_seeds_its_random_numbers(warm: LocalSandbox) -> None:
    test = "import random\nassert random.Random(5).random() == random.random()"
    jobs = [Split(source="def f(): 0", entry_point="f", test_source=test, seed=seed) for seed in (5, 6)]

    assert [(await warm.run(job)).passed for job in jobs] == [True, False]


FORGERIES = [
    '{"call": 0, "status": "returned", "value": ["list", {}]}',
    '{"call": 0, "status": "returned", "value": "\\\\ud800"}',
    '{"call": 0, "status": "no such", "value": 1}',
    '{"call": 0, "status": "raised", "exception": ["\\\\ud800"]}',
    '{"call": 7, "status": "returned", "value": 1}',
    '{"error": "\\\\ud800"}',
    "[" * 100_000,
    "not JSON",
]


@pytest.mark.parametrize("forgery", FORGERIES, ids=range(len(FORGERIES)))
async def test_a_forged_frame_never_breaks_the_result(warm: LocalSandbox, forgery: str) -> None:
    source = f"""
import gc, os
def f():
    nonce = next(thing.nonce for thing in gc.get_objects() if type(thing).__name__ == "Reporter")
    os.write(3, b"\\n" + nonce.encode() + b" " + {forgery.encode()!r} + b"\\n")
    return 1
"""
    result = await warm.run(calls(source, ()))

    assert JobResult.model_validate_json(result.model_dump_json()) == result
    assert len(result.calls) == 1
    decode(result.calls[0].value)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../up", "nul\0", "é" * 128], ids=repr)
def test_files_and_headers_have_plain_names(name: str) -> None:
    with pytest.raises(ValidationError, match="expected the plain name of a file"):
        Program(source="", files={name: ""})
    with pytest.raises(ValidationError, match="expected the plain name of a file"):
        Build(source="", language="cpp", headers={name: ""})


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), float("nan"), 1e9])
def test_a_time_no_timer_can_hold_is_refused(seconds: float) -> None:
    for name in ("cpu_s", "call_cpu_s", "wall_s"):
        with pytest.raises(ValidationError, match=name):
            Limits.model_validate({name: seconds})


def test_headers_for_a_language_that_has_none_are_refused() -> None:
    with pytest.raises(ValidationError, match="nothing would read the headers"):
        Program(source="", headers={"a.h": ""})
