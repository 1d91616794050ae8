"""toy_code: eighty one-line functions of a whole number, made here, for runs that need no download.

Small enough that a tiny model can learn some of them and be examined on others. Source: BTP specification 8;
docs/benchmarks/toy_code.md.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from services.green_agent.benchmarks.base import DatasetConfig, digest
from services.green_agent.scoring.code import questions, verdicts
from services.green_agent.scoring.code.assertions import Pairs, take_apart
from services.green_agent.scoring.code.benchmark import CodeBenchmark, CodeTask, FunctionConfig
from services.green_agent.scoring.code.extraction import Program, extract_python
from services.green_agent.scoring.code.selfcheck import checked
from services.green_agent.scoring.code.verdicts import Cells, Verdict, verdict_by_pairs

NAME: Final = "toy_code"
ENTRY_POINT: Final = "f"
NUMBERS: Final = range(10)
VISIBLE: Final = (-3, 0, 1)
HIDDEN: Final = (2, 5)
HELD_OUT: Final = 3
"""Numbers of each family that are asked in the test split."""

QUESTION: Final = """\
Write the Python function f(x): {sentence}
Answer with one fenced block that holds the complete program.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Functions that differ in one number, n."""

    sentence: str
    expression: str
    value: Callable[[int, int], int]
    """(x, n) -> what the function returns."""


FAMILIES: Final[Mapping[str, Family]] = {
    "add": Family(sentence="return x plus {n}.", expression="x + {n}", value=lambda x, n: x + n),
    "sub": Family(sentence="return x minus {n}.", expression="x - {n}", value=lambda x, n: x - n),
    "mul": Family(sentence="return x times {n}.", expression="x * {n}", value=lambda x, n: x * n),
    "rsub": Family(sentence="return {n} minus x.", expression="{n} - x", value=lambda x, n: n - x),
    "sqadd": Family(
        sentence="return the square of x, plus {n}.", expression="x * x + {n}", value=lambda x, n: x * x + n
    ),
    "dbladd": Family(sentence="return twice x, plus {n}.", expression="2 * x + {n}", value=lambda x, n: 2 * x + n),
    "largest": Family(sentence="return the larger of x and {n}.", expression="max(x, {n})", value=max),
    "smallest": Family(sentence="return the smaller of x and {n}.", expression="min(x, {n})", value=min),
}


class ToyCodeConfig(FunctionConfig):
    """Suite entry of toy_code."""

    split: Literal["train", "test", "all"] = "test"
    """test: three numbers of each family, 24 tasks. train: the other 56."""
    visible_tests: Literal["none", "first", "all"] | None = None
    """Which of the five scoring asserts the agent is shown. first: those of -3, 0 and 1. null: all in training, else first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToyTask(CodeTask):
    """One function to write."""

    pairs: Pairs


class ToyCode(CodeBenchmark[ToyCodeConfig, ToyTask]):
    """The benchmark. A trial passes when all five asserts hold."""

    name: ClassVar[str] = NAME
    config_model: ClassVar[type[DatasetConfig]] = ToyCodeConfig
    scorer_version: ClassVar[str] = f"toy-1+code-{verdicts.SCORER_VERSION}"

    def tasks(self) -> Sequence[ToyTask]:
        """The tasks of the split, family by family."""
        asked = [
            self._task(family, number, is_test=is_test)
            for family in FAMILIES
            for number in NUMBERS
            if self.config.split in {"all", "test" if (is_test := number in held_out(family)) else "train"}
        ]
        return checked(NAME, asked)

    def program(self, task: ToyTask, reply: str) -> Program | None:
        """See CodeBenchmark."""
        return extract_python(reply, prompt="", entry_point=task.entry_point)

    async def verdict(self, task: ToyTask, trial: int, program: Program, cells: Cells) -> Verdict:  # noqa: ARG002
        """Assert by assert. Raises SandboxError."""
        return await verdict_by_pairs(cells, task.pairs, source=program.source, entry_point=task.entry_point)

    def _task(self, family: str, number: int, *, is_test: bool) -> ToyTask:
        shown = self._shown(is_test=is_test)
        tests = {x: _assertion(family, number, x) for x in (*VISIBLE, *HIDDEN)}
        prompt = QUESTION.format(sentence=FAMILIES[family].sentence.format(n=number))
        if shown:
            prompt += questions.TESTS.format(these="these tests", tests="\n".join(tests[x] for x in shown))
        reference = f"def f(x):\n    return {FAMILIES[family].expression.format(n=number)}\n"
        return ToyTask(
            id=task_id(family, number),
            stratum=family,
            prompt=prompt,
            digest=digest(prompt, reference, list(tests.values()), *self.judging),
            entry_point=ENTRY_POINT,
            reference=reference,
            units=len(tests),
            hidden=(reference, *(test for x, test in tests.items() if x not in shown)),
            pairs=take_apart(ast.parse("\n".join(tests.values())).body, callee=ENTRY_POINT),
        )

    def _shown(self, *, is_test: bool) -> Sequence[int]:
        visible = self.config.visible_tests or ("first" if is_test else "all")
        return {"none": (), "first": VISIBLE, "all": (*VISIBLE, *HIDDEN)}[visible]


def task_id(family: str, number: int) -> str:
    """The id of a task, which also decides its split."""
    return f"toy/{family}/{number}"


def held_out(family: str) -> frozenset[int]:
    """Numbers of a family that belong to the test split: those whose ids have the smallest sha256."""
    ranked = sorted(NUMBERS, key=lambda number: hashlib.sha256(task_id(family, number).encode()).hexdigest())
    return frozenset(ranked[:HELD_OUT])


def _assertion(family: str, number: int, x: int) -> str:
    return f"assert f({x}) == {FAMILIES[family].value(x, number)}"
