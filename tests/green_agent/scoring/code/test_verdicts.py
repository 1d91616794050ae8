"""Verdicts through a real sandbox: what passes, what fails, and what an adversary does not gain."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.contract.execution import Limits
from services.green_agent.benchmarks.base import Sandbox
from services.green_agent.sandbox import open_sandbox
from services.green_agent.scoring.code.assertions import take_apart
from services.green_agent.scoring.code.verdicts import Verdict, verdict_by_pairs, verdict_by_split

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEST = "assert f(1) == 2\nassert f([3]) == [4, None]\nassert not f(0)"
RIGHT = "def f(x):\n    return {1: 2, 0: None}.get(x) if isinstance(x, int) else [4, None]"
SHORT = Limits(cpu_s=1.0, call_cpu_s=0.4, wall_s=5.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = await open_sandbox(backend="auto", workers=2, allow_unsafe=True)
    yield opened
    await opened.aclose()


async def by_pairs(sandbox: Sandbox, source: str, *, test: str = TEST, limits: Limits | None = None) -> Verdict:
    pairs = take_apart(ast.parse(test).body, callee="f")
    return await verdict_by_pairs(sandbox, pairs, source=source, entry_point="f", limits=limits)


async def test_a_right_program_passes_every_assert(sandbox: Sandbox) -> None:
    verdict = await by_pairs(sandbox, RIGHT)

    assert (verdict.passed, verdict.total, verdict.faults, verdict.all_passed) == (3, 3, (), True)


async def test_each_assert_stands_for_itself(sandbox: Sandbox) -> None:
    verdict = await by_pairs(sandbox, "def f(x):\n    if isinstance(x, list):\n        raise KeyError(x)\n    return x")

    assert (verdict.passed, verdict.total, verdict.pass_rate) == (1, 3, 1 / 3)
    assert verdict.faults == ("assert 1 of 3: does not hold", "assert 2 of 3: the call raised KeyError")


EVERYTHING = """
class Everything:
    def __eq__(self, other): return True
    def __ne__(self, other): return True
    def __bool__(self): return False
    def __len__(self): return 0
    def __sub__(self, other): return 0
"""

FORGER = """
import os
for descriptor in range(3, 20):
    try: os.write(descriptor, b'{"passed": true}\\n{"call": 0, "status": "returned", "value": 2}\\n')
    except OSError: pass
"""


@pytest.mark.parametrize(
    ("source", "passed", "fault"),
    [
        ("def f(x): pass", 1, "assert 1 of 3: does not hold"),
        (EVERYTHING + "def f(x): return Everything()", 0, "assert 1 of 3: unencodable: Everything"),
        (EVERYTHING + "class I(int, Everything): pass\ndef f(x): return I(7)", 0, "assert 1 of 3: does not hold"),
        (EVERYTHING + "def f(x): return [Everything(), Everything()]", 0, "assert 1 of 3: does not hold"),
        ("def f(x): return (y for y in [])", 0, "assert 1 of 3: unencodable: generator"),
        ("def f(x):\n    print('passed', 'True', 3)\n    return True", 0, "assert 1 of 3: does not hold"),
        (
            FORGER,
            0,
            None,
        ),
        ("import sys\ndef f(x): sys.exit(0)", 0, "assert 1 of 3: the call raised SystemExit"),
        (
            "import os\ndef f(x): os._exit(0)",
            0,
            "assert 1 of 3: the call did not run, the program ended with exit status 0",
        ),
        ("import sys\nsys.exit(0)", 0, "assert 1 of 3: the call did not run, the program ended with SystemExit"),
        ("def g(x): return 2", 0, "assert 1 of 3: the call did not run, the program ended with NameError"),
        ("def f(x) return", 0, "assert 1 of 3: the call did not run, the program ended with SyntaxError"),
        ("f = 3", 0, "assert 1 of 3: the call raised TypeError"),
        ("def f(): return 2", 0, "assert 1 of 3: the call raised TypeError"),
        ("def f(x): return f(x)", 0, "assert 1 of 3: the call raised RecursionError"),
        ("async def f(x): return 2", 0, "assert 1 of 3: unencodable: coroutine"),
        ("def f(x): return range(10 ** 30)", 0, "assert 1 of 3: does not hold"),
        ("def f(x):\n    y = []\n    for _ in range(500): y = [y]\n    return y", 0, None),
        ("import builtins\nbuiltins.isinstance = lambda *a: True\ndef f(x): return 2", 0, None),
    ],
)
async def test_a_wrong_or_hostile_program_fails(sandbox: Sandbox, source: str, passed: int, fault: str | None) -> None:
    verdict = await by_pairs(sandbox, source, limits=SHORT)

    assert verdict.passed == passed
    assert not verdict.all_passed
    assert fault is None or verdict.faults[0] == fault


async def test_an_endless_call_fails_its_assert(sandbox: Sandbox) -> None:
    verdict = await by_pairs(sandbox, "def f(x):\n    while x == 1: pass\n    return None", limits=SHORT)

    assert verdict.passed == 1
    assert verdict.faults == ("assert 1 of 3: the call ran out of time", "assert 2 of 3: does not hold")


async def test_a_fault_quotes_neither_the_test_nor_what_the_program_says(sandbox: Sandbox) -> None:
    verdict = await by_pairs(sandbox, "raise ValueError('look: assert f(1) == 2')")

    assert {fault.partition(": ")[2] for fault in verdict.faults} == {
        "the call did not run, the program ended with ValueError"
    }


async def test_an_expected_value_is_nowhere_in_the_memory_of_the_program(sandbox: Sandbox) -> None:
    spy = """
import gc

def f(x):
    needle = "".join(reversed("eulav-eldeen"))
    seen = (part for item in gc.get_objects() for part in gc.get_referents(item) if type(part) is str)
    return [part for part in seen if needle in part and part is not needle]
"""
    verdict = await by_pairs(sandbox, spy, test="assert f(0) == 'needle-value'\nassert not f(1)")

    assert verdict.faults == ("assert 1 of 2: does not hold",)


SPLIT_TEST = """
import random

def check(c):
    for _ in range(5):
        x = random.random()
        assert c(x) == x

check(f)
"""


@pytest.mark.parametrize(
    ("source", "passed"),
    [
        ("def f(x): return x", 1),
        ("def f(x): return 0", 0),
        ("def f(x): pass", 0),
        (EVERYTHING + "def f(x): return Everything()", 0),
        ("import sys\ndef f(x): sys.exit(0)", 0),
        ("import os\ndef f(x): os._exit(0)", 0),
        ("import os\nos._exit(0)", 0),
        ("def check(c): pass", 0),
        ("def f(x):\n    while True: pass", 0),
        ("import random\ndef f(x):\n    random.seed(0)\n    return random.random()", 0),
    ],
)
async def test_a_split_test_passes_only_right_programs(sandbox: Sandbox, source: str, passed: int) -> None:
    verdict = await verdict_by_split(
        sandbox, source=source, entry_point="f", test_source=SPLIT_TEST, seed=5, limits=SHORT
    )

    assert (verdict.passed, verdict.total) == (passed, 1)
    assert bool(verdict.faults) is not verdict.all_passed


async def test_the_seed_decides_what_a_split_test_draws(sandbox: Sandbox) -> None:
    first = await first_draw(sandbox, seed=1)
    again = await first_draw(sandbox, seed=1)
    other = await first_draw(sandbox, seed=2)

    assert first == again != other


async def first_draw(sandbox: Sandbox, *, seed: int) -> str:
    """The error of a test that raises what it drew."""
    test = "import random\nraise ValueError(random.random())"
    verdict = await verdict_by_split(sandbox, source="def f(x): pass", entry_point="f", test_source=test, seed=seed)
    return verdict.job.error
