"""Solves the one-line functions of `toy_code` by rule, and says so when it is asked anything else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

RULES: Final[Mapping[re.Pattern[str], str]] = {
    re.compile(pattern): expression
    for pattern, expression in {
        r"return x plus (\d+)\.": "x + {n}",
        r"return x minus (\d+)\.": "x - {n}",
        r"return x times (\d+)\.": "x * {n}",
        r"return (\d+) minus x\.": "{n} - x",
        r"return the square of x, plus (\d+)\.": "x ** 2 + {n}",
        r"return twice x, plus (\d+)\.": "2 * x + {n}",
        r"return the larger of x and (\d+)\.": "max(x, {n})",
        r"return the smaller of x and (\d+)\.": "min(x, {n})",
    }.items()
}
"""What a sentence asks for, and the expression it stands for."""
OPENING: Final = "Write the Python function f(x): "
NO_PROGRAM: Final = "I know no rule for this question and have no program to offer."


async def solve(question: str) -> str:
    """A program for a question of toy_code, else a sentence without one."""
    asked, _, _ = question.removeprefix(OPENING).partition("\n")
    if not question.startswith(OPENING):
        return NO_PROGRAM
    for pattern, expression in RULES.items():
        if found := pattern.fullmatch(asked):
            return f"```python\ndef f(x):\n    return {expression.format(n=found[1])}\n```"
    return NO_PROGRAM
