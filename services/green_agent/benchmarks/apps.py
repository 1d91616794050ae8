"""APPS: programming problems of three difficulties, solved in Python by a program or by a function.

Source: "Measuring Coding Challenge Competence With APPS", arXiv:2105.09938; docs/benchmarks/apps.md.
"""

from __future__ import annotations

import ast
import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from keyword import iskeyword
from typing import ClassVar, Final, Literal, get_args

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from services.contract.execution import Limits
from services.green_agent.benchmarks.base import DatasetConfig, DatasetError, Setting, digest
from services.green_agent.data.registry import source
from services.green_agent.data.shelf import Kept, Shelf
from services.green_agent.data.store import DataError, Located
from services.green_agent.data.streams import StreamedRow, json_with_long_integers, jsonl_rows
from services.green_agent.scoring.code import programs, stdio, verdicts
from services.green_agent.scoring.code.benchmark import CasesConfig, CodeBenchmark, CodeTask, FunctionConfig
from services.green_agent.scoring.code.extraction import Program, extract_python
from services.green_agent.scoring.code.returns import Call, verdict_by_returns
from services.green_agent.scoring.code.selfcheck import checked
from services.green_agent.scoring.code.stdio import Case, Ran
from services.green_agent.scoring.code.verdicts import Cells, Verdict

NAME: Final = "apps"
MEMORY_BYTES: Final = 1 << 30
"""The data set states none."""
LISTED: Final = 20
"""Ids of one sort that the notes list; the count is always whole."""
LONGEST_SHOWN: Final = 4_000
"""Characters of a test that is shown to the agent."""

Difficulty = Literal["introductory", "interview", "competition"]

QUESTION: Final = """\
Solve this programming problem in Python 3.

{statement}

{task}
Answer with one fenced block that holds the complete program.
"""
PROGRAM: Final = """\
The program reads standard input and writes standard output.
Limits for each input: {cpu_s:g} seconds of CPU time, {memory} MiB of memory."""
FUNCTION: Final = """\
Write the function `{name}`, or a class `Solution` with this method. It is called with arguments and returns its result; it \
reads no input and prints nothing."""


class AppsConfig(FunctionConfig, CasesConfig):
    """Suite entry of APPS."""

    path: str | None = None
    """JSON Lines file in the published schema, instead of the published files; it may have any number of rows."""
    split: Literal["train", "test"] = "test"
    difficulties: tuple[Difficulty, ...] = Field(default=get_args(Difficulty), min_length=1)
    """Which difficulties are asked."""
    visible_tests: Literal["none", "first"] = "none"
    """What the agent is shown of the tests, beside the examples that many statements contain. first: one test, which is
    scored like the others."""
    cpu_s: float = Field(default=stdio.DEFAULT_CPU_S, gt=0, le=60)
    """CPU seconds of a program for one input; the data set states no limit."""


class AppsRow(BaseModel):
    """One published row; further fields enter the digest alone."""

    model_config = ConfigDict(frozen=True, extra="allow")

    problem_id: int = Field(validation_alias=AliasChoices("problem_id", "id"))
    question: str = Field(min_length=1)
    solutions: str
    """JSON list of programs; empty where there is none."""
    input_output: str
    """JSON of `AppsTests`; empty where there are no tests."""
    difficulty: Difficulty
    starter_code: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AppsTests:
    """The tests of a row: inputs and outputs side by side."""

    function: str
    """What is called; empty for whole programs."""
    inputs: list[JsonValue]
    outputs: list[JsonValue]

    @property
    def cases(self) -> list[Case]:
        """For whole programs."""
        return [Case(stdin=_text(i), expected=_text(o)) for i, o in zip(self.inputs, self.outputs, strict=True)]

    @property
    def calls(self) -> list[Call]:
        """For functions."""
        return [
            Call(args=i if isinstance(i, list) else [i], expected=o)
            for i, o in zip(self.inputs, self.outputs, strict=True)
        ]


class Untestable(Exception):  # noqa: N818 - what it says of the row
    """A row without tests that could decide anything; the text is the reason, equal for rows of one sort."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AppsTask(CodeTask):
    """One problem."""

    starter_code: str
    tests: Kept
    """The published text of the tests; what they expect is read when a program is scored."""


@dataclass(kw_only=True, slots=True)
class _Report:
    origin: str = ""
    verified: bool = False
    rows: int = 0
    by_mode: Counter[str] = field(default_factory=Counter)
    untestable: dict[str, list[str]] = field(default_factory=dict)


class Apps(CodeBenchmark[AppsConfig, AppsTask]):
    """The benchmark. A trial passes when every case does ("strict accuracy"); `pass_rate` is the share of cases."""

    name: ClassVar[str] = NAME
    config_model: ClassVar[type[DatasetConfig]] = AppsConfig
    scorer_version: ClassVar[str] = f"apps-1+stdio-{stdio.SCORER_VERSION}+code-{verdicts.SCORER_VERSION}"

    def __init__(self, config: AppsConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._shelf = Shelf()
        self._report = _Report()

    def tasks(self) -> Sequence[AppsTask]:
        """The problems of the split in published order, those without tests left out. Raises DatasetError."""
        self._report = _Report()
        try:
            found = self._located()
            self._report.origin, self._report.verified = found.origin, found.verified
            tasks = [task for row in jsonl_rows(found.path) if (task := self._task(row)) is not None]
        except (DataError, ValidationError) as error:
            raise DatasetError(f"{NAME}: {error}") from error
        expected = source(NAME).rows
        if self.config.path is None and self._report.rows != expected:
            raise DatasetError(f"{NAME}: expected {expected} rows, got {self._report.rows}; {source(NAME).remedy}")
        return checked(NAME, tasks)

    def notes(self) -> Mapping[str, JsonValue]:
        """Source, rows read, problems by mode, and rows left out by reason."""
        return {
            "source": self._report.origin,
            "dataset_verified": self._report.verified,
            "rows": self._report.rows,
            "problems": dict(self._report.by_mode),
            "untestable": {
                reason: {"rows": len(ids), "ids": list(ids[:LISTED])} for reason, ids in self._report.untestable.items()
            },
        }

    def program(self, task: AppsTask, reply: str) -> Program | None:
        """See CodeBenchmark."""
        if not task.entry_point:
            return stdio.extract_script(reply)
        return extract_function(reply, starter_code=task.starter_code, name=task.entry_point)

    async def verdict(self, task: AppsTask, trial: int, program: Program, cells: Cells) -> Verdict:  # noqa: ARG002
        """Case by case, or call by call. Raises SandboxError."""
        tests = await asyncio.to_thread(lambda: tests_of(self._shelf.get(task.tests)))
        if task.entry_point:
            return await verdict_by_returns(cells, tests.calls, source=program.source, entry_point=task.entry_point)
        cases, limits = tests.cases, self._limits

        async def run(number: int) -> Ran:
            return await stdio.run_case(cells, cases[number], source=program.source, language="python", limits=limits)

        stops = stdio.ALL_CASES if self.config.all_cases else stdio.HOPELESS
        return await stdio.verdict_by_cases(run, len(cases), stops=stops)

    def _located(self) -> Located:
        if self.config.path is not None:
            return self.setting.store.path(self.config.path)
        return self.setting.store.member(NAME, f"{self.config.split}.jsonl")

    @property
    def _limits(self) -> Limits:
        return stdio.limits_of("python", time_limit_s=self.config.cpu_s, memory_bytes=MEMORY_BYTES, time_factor=1.0)

    def _task(self, streamed: StreamedRow) -> AppsTask | None:
        """The task of a row; None for a row that is not asked, which the report counts when it lacks tests."""
        self._report.rows += 1
        row = AppsRow.model_validate(streamed.values)
        if row.difficulty not in self.config.difficulties:
            return None
        task_id = f"{self.config.split}/{row.problem_id}"
        try:
            tests = tests_of(row.input_output)
        except Untestable as reason:
            self._report.untestable.setdefault(str(reason), []).append(task_id)
            return None
        self._report.by_mode["call" if tests.function else "stdin"] += 1
        question, reference = self._question(row, tests), _first_solution(row.solutions)
        return AppsTask(
            id=task_id,
            stratum=row.difficulty,
            prompt=question,
            digest=digest(question, streamed.sha256, self._limits.model_dump(), *self.judging),
            entry_point=tests.function,
            reference=reference,
            units=len(tests.inputs),
            starter_code=row.starter_code,
            tests=self._shelf.put(row.input_output),
        )

    def _question(self, row: AppsRow, tests: AppsTests) -> str:
        if tests.function:
            parts = [FUNCTION.format(name=tests.function)]
        else:
            parts = [PROGRAM.format(cpu_s=self.config.cpu_s, memory=MEMORY_BYTES >> 20)]
        if row.starter_code.strip():
            parts.append(f"Begin with this code:\n```python\n{row.starter_code.strip(chr(10))}\n```")
        if self.config.visible_tests == "first":
            parts.append(_shown(tests))
        return QUESTION.format(statement=row.question.strip(), task="\n\n".join(parts))


def tests_of(input_output: str) -> AppsTests:
    """The tests in the field `input_output`. Raises Untestable."""
    if not input_output.strip():
        raise Untestable("no tests")
    try:
        parsed = json_with_long_integers(input_output)
    except ValueError:
        raise Untestable("the tests are no JSON") from None
    fields = parsed if isinstance(parsed, dict) else {}
    inputs, outputs, function = fields.get("inputs"), fields.get("outputs"), fields.get("fn_name") or ""
    if not isinstance(inputs, list) or not isinstance(outputs, list) or not inputs:
        raise Untestable("no tests")
    if len(inputs) != len(outputs):
        raise Untestable("not as many outputs as inputs")
    if not isinstance(function, str) or (function and (not function.isidentifier() or iskeyword(function))):
        raise Untestable("the function has no name that can be called")
    if not function and not any(_text(output).strip() for output in outputs):
        raise Untestable("no output is expected")
    return AppsTests(function=function, inputs=inputs, outputs=outputs)


def extract_function(reply: str, *, starter_code: str, name: str) -> Program | None:
    """The program in `reply` that defines `name` at module level or as a method of `class Solution`; None without one."""
    found = extract_python(reply, prompt=starter_code, entry_point=name)
    if found is not None and found.shape == "whole":
        return found
    in_class = extract_python(reply, prompt="", entry_point="Solution")
    if in_class is not None and _has_function(in_class.source, name):
        return in_class
    return found if found is not None and _has_function(found.source, name) else None


def _has_function(text: str, name: str) -> bool:
    """True when the function is there, at module level or as a method of `class Solution`."""
    tree = programs.parse(text)
    if tree is None:
        return False
    solutions = [part for part in tree.body if isinstance(part, ast.ClassDef) and part.name == "Solution"]
    methods = (part for solution in solutions for part in solution.body)
    return programs.defines(tree, name) or any(
        isinstance(part, ast.FunctionDef) and part.name == name for part in methods
    )


def _text(value: JsonValue) -> str:
    """Some rows give the lines of a text instead of the text."""
    if isinstance(value, list):
        return "\n".join(map(_text, value))
    # Through Decimal, which prints whole numbers of any length.
    return str(Decimal(value)) if type(value) is int else str(value)


def _first_solution(solutions: str) -> str:
    try:
        parsed = json.loads(solutions) if solutions.strip() else []
    except ValueError:
        return ""
    return str(parsed[0]) if isinstance(parsed, list) and parsed else ""


def _shown(tests: AppsTests) -> str:
    if tests.function:
        call = tests.calls[0]
        return f"One of the tests.\nArguments: {_json(list(call.args))}\nResult: {_json(call.expected)}"
    case = tests.cases[0]
    return f"One of the tests.\nInput:\n{_fenced(case.stdin)}\nOutput:\n{_fenced(case.expected)}"


def _fenced(text: str) -> str:
    return f"```\n{_cut(text.rstrip())}\n```"


def _json(value: JsonValue) -> str:
    try:
        return _cut(json.dumps(value))
    except ValueError:  # a whole number beyond what the interpreter prints
        return "too long to be shown"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + " [cut]"
