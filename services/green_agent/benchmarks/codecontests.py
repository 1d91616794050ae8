"""CodeContests: problems of programming contests, solved in Python or C++ and judged by their input and output.

Source: "Competition-Level Code Generation with AlphaCode", arXiv:2203.07814; docs/benchmarks/codecontests.md.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from services.contract.execution import Language, Limits
from services.green_agent.benchmarks.base import DatasetConfig, DatasetError, Setting, digest
from services.green_agent.data.registry import known_issues
from services.green_agent.data.shelf import Kept, Shelf
from services.green_agent.data.store import DataError, Located
from services.green_agent.data.streams import StreamedRow, jsonl_rows, parquet_rows
from services.green_agent.scoring.code import stdio, verdicts
from services.green_agent.scoring.code.benchmark import CasesConfig, CodeBenchmark, CodeTask
from services.green_agent.scoring.code.cpp import extract_cpp
from services.green_agent.scoring.code.extraction import Program
from services.green_agent.scoring.code.selfcheck import checked
from services.green_agent.scoring.code.stdio import Case, Ran
from services.green_agent.scoring.code.verdicts import Cells, Verdict

NAME: Final = "codecontests"
PUBLISHED_ROWS: Final = {"train": 13_328, "valid": 117, "test": 165}
LISTED: Final = 20
"""Ids of one sort that the notes list; the count is always whole."""
LANGUAGES: Final[Mapping[Language, tuple[str, str, int]]] = {
    "python": ("Python 3", "python", 3),
    "cpp": ("C++17", "cpp", 2),
}
"""What the question calls a language, the tag of its block, and its number in the data set."""

QUESTION: Final = """\
Solve this problem of a programming contest in {language}.

{statement}
{examples}
The program reads standard input and writes standard output.
Limits for each input: {cpu_s:g} seconds of CPU time, {memory} MiB of memory.
Answer with one fenced block, tagged {tag}, that holds the complete program.
"""


class CodeContestsConfig(CasesConfig):
    """Suite entry of CodeContests."""

    path: str | None = None
    """Parquet or JSON Lines file in the published schema, instead of the published files."""
    split: Literal["train", "valid", "test"] = "test"
    language: Language = "python"
    """What the agent is asked to write."""
    visible_tests: Literal["none", "examples"] = "examples"
    """examples: the public tests are shown after the statement, which usually contains them anyway. They are scored, too."""
    time_factor: float = Field(default=stdio.PYTHON_TIME_FACTOR, ge=1, le=100)
    """A problem's time limit times this is the limit of a Python program."""


def _side_by_side(value: object) -> object:
    """Pairs from a list of records or a record of lists: the data set is found in both encodings."""
    if value is None:
        return []
    if not isinstance(value, dict):
        return value
    columns = [column if isinstance(column, list) else [] for column in value.values()]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"columns of different lengths: {', '.join(value)}")
    return [dict(zip(value, record, strict=True)) for record in zip(*columns, strict=True)]


class _Pair(BaseModel):
    model_config = ConfigDict(frozen=True)

    input: str
    output: str


class _Solution(BaseModel):
    model_config = ConfigDict(frozen=True)

    language: int
    """1 Python 2, 2 C++, 3 Python 3, 4 Java."""
    solution: str


class _TimeLimit(BaseModel):
    model_config = ConfigDict(frozen=True)

    seconds: int | None = None
    nanos: int | None = None


_Pairs = Annotated[tuple[_Pair, ...], BeforeValidator(_side_by_side)]


class CodeContestsRow(BaseModel):
    """The columns of a row that are read."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(min_length=1)
    description: str = Field(min_length=1)
    public_tests: _Pairs
    private_tests: _Pairs
    generated_tests: _Pairs
    solutions: Annotated[tuple[_Solution, ...], BeforeValidator(_side_by_side)]
    time_limit: _TimeLimit | None
    memory_limit_bytes: int | None = Field(ge=0)
    input_file: str | None
    output_file: str | None

    @property
    def tests(self) -> tuple[_Pair, ...]:
        """All of them, in the order they are run."""
        return self.public_tests + self.private_tests + self.generated_tests

    @property
    def time_limit_s(self) -> float | None:
        """None where the problem states none."""
        if self.time_limit is None:
            return None
        return ((self.time_limit.seconds or 0) + (self.time_limit.nanos or 0) / 1e9) or None


NOT_READ: Final = ("incorrect_solutions", "difficulty", "source", "cf_rating", "cf_tags")
"""Columns that a file must have and that are not read: the largest of all, and what no score depends on."""
_CASES: Final = TypeAdapter(list[Case])


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeContestsTask(CodeTask):
    """One problem."""

    limits: Limits
    tests: Kept
    """The cases as JSON; what they expect is read when a program is scored."""


@dataclass(kw_only=True, slots=True)
class _Report:
    origins: list[str] = field(default_factory=list)
    verified: bool = False
    rows: int = 0
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Ids by reason."""
    with_figures: int = 0


class CodeContests(CodeBenchmark[CodeContestsConfig, CodeContestsTask]):
    """The benchmark. A trial passes when every case does; `pass_rate` is the share of cases."""

    name: ClassVar[str] = NAME
    config_model: ClassVar[type[DatasetConfig]] = CodeContestsConfig
    scorer_version: ClassVar[str] = f"codecontests-1+stdio-{stdio.SCORER_VERSION}+code-{verdicts.SCORER_VERSION}"

    def __init__(self, config: CodeContestsConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._shelf = Shelf()
        self._report = _Report()

    def tasks(self) -> Sequence[CodeContestsTask]:
        """The problems of the split in published order, those that cannot be tested left out. Raises DatasetError."""
        self._report = _Report()
        try:
            files = self._located()
            self._report.origins = [found.origin for found in files]
            self._report.verified = all(found.verified for found in files)
            tasks = [task for found in files for task in self._of_file(found.path)]
        except (DataError, ValidationError) as error:
            raise DatasetError(f"{NAME}: {error}") from error
        return checked(NAME, tasks)

    def notes(self) -> Mapping[str, JsonValue]:
        """Sources, rows read beside those published, rows left out by reason, statements that lack their figures.

        Nothing is published of a file of one's own.
        """
        return {
            "sources": list(self._report.origins),
            "dataset_verified": self._report.verified,
            "rows": self._report.rows,
            "rows_published": PUBLISHED_ROWS[self.config.split] if self.config.path is None else None,
            "left_out": {
                reason: {"rows": len(ids), "ids": list(ids[:LISTED])} for reason, ids in self._report.left_out.items()
            },
            "statements_with_missing_figures": self._report.with_figures,
        }

    def program(self, task: CodeContestsTask, reply: str) -> Program | None:  # noqa: ARG002
        """See CodeBenchmark."""
        return stdio.extract_script(reply) if self.config.language == "python" else extract_cpp(reply)

    async def verdict(self, task: CodeContestsTask, trial: int, program: Program, cells: Cells) -> Verdict:  # noqa: ARG002
        """Case by case. Raises SandboxError."""
        cases = await asyncio.to_thread(lambda: _CASES.validate_json(self._shelf.get(task.tests)))
        language = self.config.language

        async def run(number: int) -> Ran:
            return await stdio.run_case(
                cells, cases[number], source=program.source, language=language, limits=task.limits
            )

        stops = stdio.ALL_CASES if self.config.all_cases else stdio.HOPELESS
        return await stdio.verdict_by_cases(run, len(cases), stops=stops)

    def _located(self) -> Sequence[Located]:
        if self.config.path is not None:
            return [self.setting.store.path(self.config.path)]
        return self.setting.store.members(NAME, f"data/{self.config.split}-*.parquet")

    def _of_file(self, path: Path) -> list[CodeContestsTask]:
        columns = tuple(CodeContestsRow.model_fields)
        rows = jsonl_rows(path) if path.suffix == ".jsonl" else parquet_rows(path, columns, also=NOT_READ)
        return [task for row in rows if (task := self._task(row)) is not None]

    def _task(self, streamed: StreamedRow) -> CodeContestsTask | None:
        """The task of a row; None for one that is left out, which the report counts."""
        self._report.rows += 1
        row = CodeContestsRow.model_validate(streamed.values)
        if reason := _untestable(row):
            self._report.left_out.setdefault(reason, []).append(row.name)
            return None
        self._report.with_figures += "<image>" in row.description
        language = self.config.language
        limits = stdio.limits_of(
            language,
            time_limit_s=row.time_limit_s,
            memory_bytes=row.memory_limit_bytes,
            time_factor=self.config.time_factor,
        )
        question = self._question(row, limits)
        solutions = [one.solution for one in row.solutions if one.language == LANGUAGES[language][2]]
        cases = [{"stdin": pair.input, "expected": pair.output} for pair in row.tests]
        return CodeContestsTask(
            id=row.name,
            stratum=NAME,
            prompt=question,
            digest=digest(question, streamed.sha256, limits.model_dump(), *self.judging),
            reference=solutions[0] if solutions and language == "python" else "",
            units=len(cases),
            limits=limits,
            tests=self._shelf.put(json.dumps(cases)),
            issues=tuple(issue.kind for issue in known_issues(NAME) if row.name in issue.rows),
        )

    def _question(self, row: CodeContestsRow, limits: Limits) -> str:
        language, tag, _ = LANGUAGES[self.config.language]
        shown = row.public_tests if self.config.visible_tests == "examples" else ()
        return QUESTION.format(
            language=language,
            tag=tag,
            statement=row.description.strip(),
            examples="".join(map(_example, shown, range(1, len(shown) + 1))),
            cpu_s=limits.cpu_s,
            memory=limits.memory_bytes >> 20,
        )


def _untestable(row: CodeContestsRow) -> str:
    """Why no program can be judged by the row; empty when one can."""
    if row.input_file or row.output_file:
        return "reads or writes files instead of standard input and output"
    if not row.tests:
        return "no tests"
    return "" if any(pair.output.strip() for pair in row.tests) else "no output is expected"


def _example(pair: _Pair, number: int) -> str:
    return (
        f"\nExample {number}, input:\n```\n{pair.input.rstrip()}\n```\n"
        f"Example {number}, output:\n```\n{pair.output.rstrip()}\n```\n"
    )
