"""The processes that compare: what they refuse, how they end, and that nothing waits for them for ever."""

import asyncio
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.green_agent.scoring.math import pool as module
from services.green_agent.scoring.math.pool import WorkerPool

ROOT = Path(__file__).parents[4]
WORKER = [sys.executable, "-P", "-m", "services.green_agent.scoring.math.worker"]
HOLDER = """
import asyncio, sys
from services.green_agent.scoring.math.pool import shared_pool
print(asyncio.run(shared_pool().compare("1", "2")), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def quick_pool() -> Iterator[WorkerPool]:
    """One worker that is given little time."""
    pool = WorkerPool(workers=1, longest_s=1.0)
    yield pool
    pool.close()


@pytest.mark.parametrize("bomb", ["10^{10^{10}}+1", "99999999999!", "2^{2^{2^{2^{2^{2}}}}}"])
async def test_a_number_that_fills_any_machine_is_undecided_and_the_next_comparison_is_answered(
    quick_pool: WorkerPool, bomb: str
) -> None:
    assert await quick_pool.compare("3", bomb) == "undecided"

    assert await quick_pool.compare("3", "6/2") == "equal"


async def test_a_worker_that_was_killed_is_replaced(quick_pool: WorkerPool) -> None:
    others = children(os.getpid())
    await quick_pool.compare("3", "3")
    [worker] = children(os.getpid()) - others
    os.kill(worker, 9)
    ended(worker)

    answer = await quick_pool.compare("3", "4")

    assert answer == "different"
    assert worker not in children(os.getpid())


async def test_many_comparisons_at_once_are_all_answered() -> None:
    pool = WorkerPool()

    answers = await asyncio.gather(*(pool.compare(str(number), str(2 * number)) for number in range(60)))
    pool.close()

    assert answers == ["equal"] + ["different"] * 59


async def test_closing_ends_the_workers() -> None:
    others = children(os.getpid())
    pool = WorkerPool(workers=1)
    await pool.compare("1", "1")
    started = children(os.getpid()) - others

    pool.close()

    assert len(started) == 1
    assert children(os.getpid()) == others


@pytest.mark.parametrize("ending", ["exit", "kill"])
def test_no_worker_outlives_its_green(ending: str) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "different\n"
    [worker] = children(holder.pid)

    if ending == "kill":
        holder.kill()
    holder.communicate()

    ended(worker)
    assert holder.returncode == (0 if ending == "exit" else -9)


HOSTILE = [
    '__import__("os").system("touch {mark}")',
    "().__class__.__base__.__subclasses__()",
    'open("{mark}","w")',
    r'\text{{__import__("os").system("touch {mark}")}}',
    r'\operatorname{{open}}("{mark}","w")',
    r'f(open("{mark}","w"))',
    r'x_{{open("{mark}","w")}}',
    r'\begin{{matrix}}open("{mark}","w")\end{{matrix}}',
    r'\frac{{exec("import os")}}{{1}}',
    r"eval(chr(49))",
    r"1;import os",
    r"lambda:0",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_text_is_never_run_as_a_program(quick_pool: WorkerPool, tmp_path: Path, text: str) -> None:
    mark = tmp_path / "ran"

    verdicts = [await quick_pool.compare(gold, text.format(mark=mark)) for gold in ("1", "x", "f(x)")]

    assert verdicts == ["undecided"] * 3
    assert not mark.exists()


def test_a_worker_refuses_to_compile_text_and_to_reach_outside() -> None:
    # What sympy does to a string, were one to reach it, and what a program would try next.
    probe = (
        "import sys; from services.green_agent.scoring.math import worker; worker._limit(); worker._answer('1', '1')\n"
        "worker._forbid_programs()\n"
        "import sympy, socket, subprocess\n"
        "attempts = [lambda: sympy.sympify('__import__(\"os\").getpid()'), lambda: eval('1+1'), lambda: exec('x=1'),\n"
        "            lambda: open('/tmp/x', 'w'), lambda: subprocess.run(['true']), lambda: socket.socket(),\n"
        "            lambda: sympy.Integer(4)]\n"
        "for attempt in attempts:\n"
        "    try: print(type(attempt()).__name__)\n"
        "    except Exception as error: print(type(error).__name__)\n"
    )

    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)

    names = done.stdout.split()
    assert names[-1] == "Integer"
    assert set(names[:-1]) <= {"PermissionError", "SympifyError"}
    assert len(names) == 7


def test_a_worker_speaks_one_line_a_pair_and_ends_with_its_input() -> None:
    pairs = [("3", "6/2"), ("3", "4"), ("odd", "{"), ("\\sqrt{2}", "1.41421356")]
    asked = "".join(json.dumps(pair) + "\n" for pair in pairs)

    done = subprocess.run(WORKER, cwd=ROOT, input=asked, capture_output=True, text=True, check=True)

    assert done.stdout.split("\n") == ["ready", "equal", "different", "undecided", "equal", ""]


def test_workers_are_two_and_have_ten_seconds() -> None:
    assert (module.WORKERS, module.LONGEST_S) == (2, 10.0)


def children(parent: int) -> set[int]:
    """Worker processes that a process started."""
    return {
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and _is_worker_of(entry, parent)
    }


def _is_worker_of(entry: Path, parent: int) -> bool:
    try:
        words = (entry / "cmdline").read_text()
        started_by = (entry / "stat").read_text().rpartition(")")[2].split()[1]
    except OSError:
        return False
    return "scoring.math.worker" in words and int(started_by) == parent


def ended(process: int) -> None:
    """Wait for the end of a process that is not ours to wait for."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        readable, _, _ = select.select([descriptor], [], [], 60)
    finally:
        os.close(descriptor)
    assert readable, f"process {process} is still there"
