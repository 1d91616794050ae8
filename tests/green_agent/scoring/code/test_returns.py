"""Returned values against expected data, in the real sandbox and alone."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import JsonValue

from services.contract.execution import Limits
from services.contract.values import Unencodable
from services.green_agent.benchmarks.base import Sandbox
from services.green_agent.scoring.code.returns import Call, accepts, verdict_by_returns
from services.green_agent.scoring.code.verdicts import Verdict
from tests.support.quick_sandbox import quick_sandbox

pytestmark = pytest.mark.asyncio(loop_scope="module")

CALLS = [
    Call(args=[1, 2], expected=3),
    Call(args=[[1, 2], [3]], expected=[1, 2, 3]),
    Call(args=["a", "b"], expected=["ab"]),
]

QUICK = Limits(cpu_s=5.0, call_cpu_s=0.2, wall_s=15.0)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    async with quick_sandbox(workers=1) as opened:
        yield opened


async def verdict(sandbox: Sandbox, source: str, calls: list[Call] | None = None) -> Verdict:
    return await verdict_by_returns(sandbox, calls or CALLS, source=source, entry_point="f", limits=QUICK)


async def test_a_right_function_passes_every_call(sandbox: Sandbox) -> None:
    result = await verdict(sandbox, "def f(a, b): return a + b")

    assert (result.method, result.passed, result.total, result.faults) == ("pairs", 3, 3, ())


async def test_a_method_of_solution_is_called(sandbox: Sandbox) -> None:
    result = await verdict(sandbox, "class Solution:\n    def f(self, a, b): return a + b")

    assert result.all_passed


async def test_each_call_is_one_unit(sandbox: Sandbox) -> None:
    result = await verdict(sandbox, "def f(a, b):\n    if a == 'a': raise ValueError('ab')\n    return 3")

    assert (result.passed, result.total) == (1, 3)
    assert result.faults == ("call 2 of 3: the result differs", "call 3 of 3: the call raised an exception")


@pytest.mark.parametrize(
    "source",
    [
        "class Any:\n    def __eq__(self, other): return True\ndef f(*args): return Any()",
        "class Any(int):\n    def __eq__(self, other): return True\ndef f(*args): return Any()",
        "import os\ndef f(*args): os._exit(0)",
        "import decimal\ndef f(*args): return decimal.Decimal('sNaN')",
        "def f(*args): return args",
        "x = 1 +",
        "g = 1",
    ],
)
async def test_what_is_no_right_result_passes_nothing(sandbox: Sandbox, source: str) -> None:
    assert (await verdict(sandbox, source)).passed == 0


async def test_an_endless_call_fails_alone_and_is_noted(sandbox: Sandbox) -> None:
    result = await verdict(sandbox, "def f(a, b):\n    while a == 1: pass\n    return a + b")

    assert (result.passed, result.timed_out) == (2, True)


async def test_whole_numbers_of_any_length_cross(sandbox: Sandbox) -> None:
    long = 10**6000 + 7

    assert (await verdict(sandbox, "def f(n): return n + 1", [Call(args=[long], expected=long + 1)])).all_passed


async def test_a_mapping_with_whole_numbers_in_text_has_them_as_keys(sandbox: Sandbox) -> None:
    calls = [Call(args=[{"1": "a", "-2": "b"}], expected={"3": "c"})]

    assert (await verdict(sandbox, "def f(d): return {3: 'c'} if sorted(d) == [-2, 1] else d", calls)).all_passed


@pytest.mark.parametrize(
    ("value", "expected", "agrees"),
    [
        (3, 3, True),
        (3.0, 3, True),
        (3, [3], True),
        ((1, (2, 3)), [1, [2, 3]], True),
        ([1, 2], [[1, 2]], True),
        ({"a": (1,)}, {"a": [1]}, True),
        (3.0000001, 3, False),
        (1, [1, 2], False),
        ([3], 3, False),
        (None, [], False),
        ({1, 2}, [1, 2], False),
        ("3", 3, False),
        (Unencodable("x"), ["x"], False),
        ([Unencodable("x")], ["x"], False),
    ],
)
async def test_what_counts_as_the_expected_result(value: object, expected: JsonValue, *, agrees: bool) -> None:
    assert accepts(value, expected) is agrees
