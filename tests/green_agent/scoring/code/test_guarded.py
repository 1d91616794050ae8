"""Tests that build objects of the candidate's class: calls beside the program, comparison outside."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.green_agent.benchmarks.base import Sandbox
from services.green_agent.sandbox import open_sandbox
from services.green_agent.scoring.code.guarded import take_apart_beside, touched, verdict_by_guard

TESTS = ast.parse("assert total([Coin(1), Coin(2)]) == 3\nassert total([]) == 0").body
GUARDED = take_apart_beside(TESTS, set_up="spare = Coin(7)", callee="total")
CLASS = "class Coin:\n    def __init__(self, worth): self.worth = worth\n\n"
RIGHT = CLASS + "def total(coins): return sum(coin.worth for coin in coins)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = await open_sandbox(backend="auto", workers=1, allow_unsafe=True)
    yield opened
    await opened.aclose()


def test_what_stands_beside_the_program_holds_calls_and_no_expected_value() -> None:
    assert "total([Coin(1), Coin(2)])" in GUARDED.beside
    assert "3" not in GUARDED.beside
    assert len(GUARDED.pairs.assertions) == 2


@pytest.mark.asyncio(loop_scope="module")
class TestVerdicts:
    async def test_a_right_program_passes_as_one_unit(self, sandbox: Sandbox) -> None:
        verdict = await verdict_by_guard(sandbox, GUARDED, source=RIGHT)

        assert (verdict.method, verdict.passed, verdict.total, verdict.faults) == ("guarded", 1, 1, ())

    @pytest.mark.parametrize(
        ("program", "fault"),
        [
            ("pass", "assert 1 of 2: the call did not run, the program ended with NameError"),
            (CLASS + "def total(coins): pass", "assert 1 of 2: does not hold"),
            (CLASS + "def total(coins): return 3", "assert 2 of 2: does not hold"),
            (
                CLASS + "class Any:\n    def __eq__(self, other): return True\n\ndef total(coins): return Any()",
                "assert 1 of 2: unencodable: Any",
            ),
            (
                CLASS + "import os\ndef total(coins): os._exit(0)",
                "assert 1 of 2: the call did not run, the program ended with exit status 0",
            ),
            (
                CLASS + "def total(coins): return 0\nimport atexit\natexit.register(print, 'passed')",
                "assert 1 of 2: does not hold",
            ),
            (
                "import gc\n" + RIGHT,
                "the program uses gc, which programs of this task may not",
            ),
        ],
        ids=["nothing", "no value", "a constant", "equal to everything", "exit", "claims", "collector"],
    )
    async def test_other_programs_fail_with_the_reason(self, sandbox: Sandbox, program: str, fault: str) -> None:
        verdict = await verdict_by_guard(sandbox, GUARDED, source=program)

        assert (verdict.passed, verdict.total) == (0, 1)
        assert verdict.faults[0] == fault


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import gc", "gc"),
        ("import ctypes.util as u", "ctypes.util"),
        ("from inspect import stack", "inspect"),
        ("import sys\nsys._getframe(1)", "_getframe"),
        ("try:\n    1/0\nexcept Exception as e:\n    e.__traceback__.tb_frame.f_back", "f_back"),
        ("import sys\ngetattr(sys, '_getframe')", "_getframe"),
        ("__import__('gc')", "gc"),
        ("import os\nos.write(3, b'passed')", "os.write"),
        ("from os import dup", "os.dup"),
        ("import os\nos.getcwd()", ""),
        ("class Node:\n    def read(self): return self.write", ""),
        ("not python", ""),
    ],
)
def test_what_a_program_touches_of_its_process_is_named(source: str, what: str) -> None:
    assert touched(source) == what
