"""Examples in docstrings, found and taken out; those of HumanEval against its reference solutions."""

from __future__ import annotations

import ast
import asyncio

import pytest

from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.humaneval import HumanEval, HumanEvalConfig
from services.green_agent.sandbox import open_sandbox
from services.green_agent.scoring.code.assertions import take_apart
from services.green_agent.scoring.code.examples import examples, without, without_examples
from services.green_agent.scoring.code.verdicts import verdict_by_pairs


def prompt(*lines: str) -> str:
    return "\n".join(["def f(x):", '    """Do it.', *(f"    {line}" for line in lines), '    """', ""])


@pytest.mark.parametrize(
    ("lines", "assertion"),
    [
        ((">>> f(1)", "2"), "assert f(1) == 2"),
        ((">>> f([1, 2]) == [2]",), "assert f([1, 2]) == [2]"),
        (("f(1) ➞ 2",), "assert f(1) == 2"),
        (("f('a)b') => 'c'",), "assert f('a)b') == 'c'"),
        (("f(1)==>2",), "assert f(1) == 2"),
        (("f(1) -> -2.5",), "assert f(1) == -2.5"),
        (("f(1) # returns 2",), "assert f(1) == 2"),
        (("For example f(1) should", "return 2."), "assert f(1) == 2"),
        (("f(1) = true",), "assert f(1) == True"),
        (("f(1) -> 5 - 3 = 2",), "assert f(1) == 2"),
        (("f([", "  [1],", "  [2]", "], 1) == [(0, 0)]"), "assert f([ [1], [2] ], 1) == [(0, 0)]"),
    ],
)
def test_an_example_is_read_in_the_forms_that_docstrings_use(lines: tuple[str, ...], assertion: str) -> None:
    assert [example.assertion for example in examples(prompt(*lines), "f")] == [assertion]


@pytest.mark.parametrize(
    "line",
    ["f(n) = f(n - 1)", "f(1) is odd", "g(1) == 2", "self.f(1) == 2", "f(1) == g(2)", 'f(1) == ""a"', "f(1) + f(2)"],
)
def test_other_mentions_of_the_function_are_no_examples(line: str) -> None:
    assert examples(prompt(line), "f") == []


def test_code_outside_of_the_docstring_holds_no_examples() -> None:
    assert examples('def f(x):\n    """Do it."""\n    # f(1) == 2\n', "f") == []
    assert examples("def f(x):\n    return f(1) == 2\n", "f") == []


def test_examples_are_taken_out_one_by_one_or_all() -> None:
    shown = prompt("Example:", ">>> f(1)", "2", ">>> f(2)", "3")
    first, _ = examples(shown, "f")

    assert without(shown, [first]) == prompt("Example:", ">>> f(2)", "3")
    assert without_examples(shown, "f") == prompt()


def test_quotes_beside_an_example_stay() -> None:
    assert (
        without_examples('def f(x):\n    """ f(1) == 2\n    Twice."""\n', "f") == 'def f(x):\n    """\n    Twice."""\n'
    )


def test_where_a_recurrence_starts_stays() -> None:
    shown = prompt("f(0) == 1", "f(n) == f(n-1) + f(n-2)", ">>> f(5)", "8")

    assert without_examples(shown, "f") == prompt("f(0) == 1", "f(n) == f(n-1) + f(n-2)")


async def test_of_406_examples_in_humaneval_398_agree_with_the_reference_and_139_tasks_keep_one() -> None:
    tasks = HumanEval(HumanEvalConfig(type="humaneval"), Setting(seed=7)).tasks()
    found = {task.id: examples(task.row.prompt, task.entry_point) for task in tasks}
    sandbox = await open_sandbox(backend="auto", workers=2, allow_unsafe=True)

    async def agreeing(number: int) -> int:
        task = tasks[number]
        tests = ast.parse("\n".join(example.assertion for example in found[task.id])).body
        if not tests:
            return 0
        pairs = take_apart(tests, callee=task.entry_point)
        return (await verdict_by_pairs(sandbox, pairs, source=task.reference, entry_point=task.entry_point)).passed

    try:
        agree = await asyncio.gather(*map(agreeing, range(164)))
    finally:
        await sandbox.aclose()
    assert sum(map(len, found.values())) == 406
    assert sum(agree) == 398
    assert sum(count > 0 for count in agree) == 139
    assert [task.id for task, count in zip(tasks, agree, strict=True) if count < len(found[task.id])] == [
        "HumanEval/47",
        "HumanEval/116",
        "HumanEval/130",
        "HumanEval/148",
    ]
