"""The baseline that solves toy_code by rule."""

from __future__ import annotations

import ast

import pytest

from services.purple_agent.baselines.toys import NO_PROGRAM, solve


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("return x plus 4.", [1, 4, 5, 6, 9]),
        ("return x minus 7.", [-10, -7, -6, -5, -2]),
        ("return x times 9.", [-27, 0, 9, 18, 45]),
        ("return 3 minus x.", [6, 3, 2, 1, -2]),
        ("return the square of x, plus 6.", [15, 6, 7, 10, 31]),
        ("return twice x, plus 1.", [-5, 1, 3, 5, 11]),
        ("return the larger of x and 3.", [3, 3, 3, 3, 5]),
        ("return the smaller of x and 2.", [-3, 0, 1, 2, 2]),
    ],
)
async def test_each_sentence_becomes_its_function(sentence: str, values: list[int]) -> None:
    answer = await solve(f"Write the Python function f(x): {sentence}\nAnswer with one fenced block.\n")

    lines = answer.splitlines()
    assert (lines[0], lines[1], lines[-1]) == ("```python", "def f(x):", "```")
    expression = compile(ast.parse(lines[2].removeprefix("    return "), mode="eval"), "toy", "eval")
    assert [eval(expression, {"x": x}) for x in (-3, 0, 1, 2, 5)] == values


@pytest.mark.parametrize(
    "question",
    [
        "",
        "What is 6 x 7?",
        "Write the Python function f(x): return x plus y.\n",
        "Write the Python function f(x): return x plus 4. And more.\n",
        "Write the Python function `add` so that it does what its docstring says.\n",
        "return x plus 4.",
    ],
)
async def test_anything_else_is_answered_without_a_program(question: str) -> None:
    assert await solve(question) == NO_PROGRAM
    with pytest.raises(SyntaxError):
        ast.parse(NO_PROGRAM)
