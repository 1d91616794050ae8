"""Limits are held from outside, verdicts on time are CPU time, and what stopped a program is told."""

import pytest

from services.contract.execution import CallArguments, Calls, CallStatus, LimitHit, Limits, Program, Split
from services.contract.values import Unencodable, decode
from services.green_agent.sandbox.pool import LocalSandbox

MIB = 1 << 20
BRIEF = Limits(cpu_s=1.0, call_cpu_s=0.2, wall_s=30.0)


async def test_a_call_out_of_cpu_time_leaves_the_others_their_chance(sandbox: LocalSandbox) -> None:
    job = Calls(
        source="def f(x):\n    while x: pass\n    return 1",
        entry_point="f",
        calls=[CallArguments(args=[x]) for x in (0, 1, 0)],
        limits=BRIEF,
    )

    result = await sandbox.run(job)

    assert [call.status for call in result.calls] == [CallStatus.RETURNED, CallStatus.TIMEOUT, CallStatus.RETURNED]
    assert result.limit is None


async def test_a_call_that_swallows_the_interruption_does_not_get_the_time(warm: LocalSandbox) -> None:
    source = """
import time
def f():
    try:
        while True: pass
    except BaseException:
        return 1
"""
    result = await warm.run(Calls(source=source, entry_point="f", calls=[CallArguments()], limits=BRIEF))

    assert [call.status for call in result.calls] == [CallStatus.TIMEOUT]


async def test_the_program_limit_ends_what_one_call_cannot_be_interrupted_in(sandbox: LocalSandbox) -> None:
    job = Calls(
        source="def f(x):\n    return x and sum(range(10**12))",
        entry_point="f",
        calls=[CallArguments(args=[x]) for x in (0, 1, 0)],
        limits=Limits(cpu_s=0.5, call_cpu_s=0.2, wall_s=30),
    )

    result = await sandbox.run(job)

    assert [call.status for call in result.calls] == [CallStatus.RETURNED, CallStatus.TIMEOUT, CallStatus.NOT_RUN]
    assert result.limit is LimitHit.CPU
    assert result.cpu_s > 0.5


async def test_time_of_child_processes_counts(sandbox: LocalSandbox) -> None:
    source = "import os\npids = [os.fork() for _ in range(2)]\nwhile True: pass"

    result = await sandbox.run(Program(source=source, limits=Limits(cpu_s=0.5, wall_s=30)))

    assert result.limit is LimitHit.CPU


async def test_time_of_children_nobody_waits_for_counts(warm: LocalSandbox) -> None:
    source = """
import os, time
for _ in range(4):
    child = os.fork()
    if child == 0:
        while time.process_time() < 0.2: pass
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
"""
    result = await warm.run(Program(source=source, limits=Limits(cpu_s=0.5, wall_s=30)))

    assert result.limit is LimitHit.CPU


async def test_a_program_that_loads_for_ever_has_no_calls_run(warm: LocalSandbox) -> None:
    job = Calls(
        source="while True: pass", entry_point="f", calls=[CallArguments()], limits=Limits(cpu_s=0.3, wall_s=30)
    )

    result = await warm.run(job)

    assert (result.limit, [call.status for call in result.calls]) == (LimitHit.CPU, [CallStatus.NOT_RUN])


async def test_a_sleeper_is_stopped_by_the_wall_clock(sandbox: LocalSandbox) -> None:
    result = await sandbox.run(Program(source="import time; time.sleep(600)", limits=Limits(wall_s=0.3)))

    assert result.limit is LimitHit.WALL
    assert result.cpu_s < 0.3


async def test_either_side_of_a_split_test_is_limited(sandbox: LocalSandbox) -> None:
    limits = Limits(cpu_s=0.4, call_cpu_s=10, wall_s=30)
    endless = "while True: pass"
    jobs = [
        Split(source=f"def f():\n    {endless}", entry_point="f", test_source="f()", limits=limits),
        Split(source="def f(): return 1", entry_point="f", test_source=f"f()\n{endless}", limits=limits),
        Split(source=endless, entry_point="f", test_source="f()", limits=limits),
    ]

    results = [await sandbox.run(job) for job in jobs]

    assert [(result.passed, result.limit) for result in results] == [(False, LimitHit.CPU)] * 3


async def test_a_call_of_a_split_test_is_limited(warm: LocalSandbox) -> None:
    job = Split(source="def f():\n    while True: pass", entry_point="f", test_source="f()", limits=BRIEF)

    result = await warm.run(job)

    assert (result.passed, result.error) == (False, "RuntimeError: the program under test ended its call with timeout")


async def test_memory_of_one_process_ends_in_a_memory_error(sandbox: LocalSandbox) -> None:
    result = await sandbox.run(Program(source="x = bytearray(600 << 20)", limits=Limits(memory_bytes=512 * MIB)))

    assert (result.limit, result.exit_status) == (LimitHit.MEMORY, 1)


async def test_memory_of_all_processes_together_is_limited(sandbox: LocalSandbox) -> None:
    source = """
import os, time
for _ in range(3):
    if os.fork() == 0: break
x = bytearray(150 << 20)
for i in range(0, len(x), 4096): x[i] = 1
time.sleep(600)
"""
    result = await sandbox.run(Program(source=source, limits=Limits(memory_bytes=300 * MIB)))

    assert result.limit is LimitHit.MEMORY
    assert (result.peak_memory_bytes or 0) > 300 * MIB


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_output_is_cut_at_the_limit_and_the_program_ended(sandbox: LocalSandbox, stream: str) -> None:
    source = f"import sys\nwhile True: sys.{stream}.write('x' * 10000)"

    result = await sandbox.run(Program(source=source, limits=Limits(output_bytes=50_000)))

    assert (result.limit, result.truncated) == (LimitHit.OUTPUT, True)
    assert getattr(result, stream) == "x" * 50_000


async def test_output_up_to_the_limit_is_whole(warm: LocalSandbox) -> None:
    result = await warm.run(Program(source="print('x' * 999_999)", limits=Limits(output_bytes=1_000_000)))

    assert (len(result.stdout), result.truncated, result.limit) == (1_000_000, False, None)


async def test_large_input_arrives_whole(warm: LocalSandbox) -> None:
    source = "import sys\nprint(len(sys.stdin.read()))"

    assert (await warm.run(Program(source=source, stdin="x" * 20_000_000))).stdout == "20000000\n"


async def test_a_value_above_the_frame_limit_does_not_cross(warm: LocalSandbox) -> None:
    source = "def f(n): return 'x' * n"
    sizes = [CallArguments(args=[16_000_000]), CallArguments(args=[17_000_000])]

    fits, too_large = (await warm.run(Calls(source=source, entry_point="f", calls=sizes))).calls

    assert len(decode(fits.value)) == 16_000_000
    assert isinstance(decode(too_large.value), Unencodable)


async def test_results_without_end_are_cut(warm: LocalSandbox) -> None:
    source = "import os\ndef f():\n    while True: os.write(3, b'x' * 65536)"

    result = await warm.run(Calls(source=source, entry_point="f", calls=[CallArguments()]))

    assert (result.limit, result.calls[0].status) == (LimitHit.OUTPUT, CallStatus.NOT_RUN)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("open('big', 'wb').write(bytes(17 << 20))", "OSError: [Errno 27] File too large"),
        ("files = [open('/dev/null') for _ in range(64)]", "OSError: [Errno 24] Too many open files: '/dev/null'"),
        (
            "for i in range(5): open(str(i), 'wb').write(bytes(15 << 20))",
            "OSError: [Errno 28] No space left on device",
        ),
        (
            "import os, time\nfor _ in range(33):\n    if os.fork() == 0: time.sleep(600)",
            "BlockingIOError: [Errno 11] Resource temporarily unavailable",
        ),
    ],
)
async def test_files_space_and_processes_are_limited(warm: LocalSandbox, source: str, error: str) -> None:
    result = await warm.run(Program(source=source))

    assert (result.error, result.exit_status) == (error, 1)


async def test_as_many_processes_as_allowed_can_be_started(warm: LocalSandbox) -> None:
    source = "import os, time\nfor _ in range(31):\n    if os.fork() == 0: time.sleep(600)\nprint('all')"

    assert (await warm.run(Program(source=source))).stdout == "all\n"
