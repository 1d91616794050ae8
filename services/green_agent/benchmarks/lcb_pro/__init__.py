"""LiveCodeBench-Pro: contest problems solved in C++ and judged by the checkers and interactors of their authors.

The data are gated and stay on the machine that pulled them; docs/benchmarks/lcb_pro.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar, Final, TypeVar, get_args

from pydantic import Field, JsonValue

from services.contract.conversation import AgentSession
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import DatasetConfig, DatasetError, Setting, digest
from services.green_agent.benchmarks.lcb_pro.archive import TESTS, Archive, problem_archive
from services.green_agent.benchmarks.lcb_pro.checking import JudgedCase, run_checked, run_interactive
from services.green_agent.benchmarks.lcb_pro.rows import ALL, PROBLEMS, Difficulty, Problem, Problems, read_problems
from services.green_agent.data.registry import source
from services.green_agent.data.store import DataError
from services.green_agent.scoring.code import stdio, verdicts
from services.green_agent.scoring.code.benchmark import CasesConfig, CodeBenchmark, CodeTask
from services.green_agent.scoring.code.cpp import extract_cpp
from services.green_agent.scoring.code.extraction import Program
from services.green_agent.scoring.code.selfcheck import checked
from services.green_agent.scoring.code.stdio import Ran
from services.green_agent.scoring.code.verdicts import Cells, Verdict

NAME: Final = PROBLEMS
R = TypeVar("R")

QUESTION: Final = """\
Solve this problem of a programming contest in C++17.

{title}

{statement}

The program reads standard input and writes standard output.
Answer with one fenced block, tagged cpp, that holds the complete program.
"""
LIMITS: Final = "Limits for each test: {time_s:g} seconds of CPU time, {memory} MiB of memory.\n"
FLUSHING: Final = (
    "This problem is interactive: flush the output after each line that you write, for example with `std::endl`, and stop when "
    "the exchange is over.\n"
)


class LcbProConfig(CasesConfig):
    """Suite entry of LiveCodeBench-Pro."""

    split: str = ALL
    """Name of a quarter or half-year of the data set, or `all`."""
    difficulties: tuple[Difficulty, ...] = Field(default=get_args(Difficulty), min_length=1)
    """Which difficulties are asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LcbProTask(CodeTask):
    """One problem. How many cases it has is known when its archive is here."""

    problem_id: str


class LcbPro(CodeBenchmark[LcbProConfig, LcbProTask]):
    """The benchmark. A trial passes when the data set's own checker accepts every case."""

    name: ClassVar[str] = NAME
    config_model: ClassVar[type[DatasetConfig]] = LcbProConfig
    scorer_version: ClassVar[str] = f"lcb_pro-1+stdio-{stdio.SCORER_VERSION}+code-{verdicts.SCORER_VERSION}"

    def __init__(self, config: LcbProConfig, setting: Setting) -> None:
        super().__init__(config, setting)
        self._found = Problems(problems=(), origins=(), verified=False, rows={}, changed=())

    def tasks(self) -> Sequence[LcbProTask]:
        """One task a problem, whichever splits it is in. Raises DatasetError.

        Tests are not looked for: 706 archives would be fetched for a plan of ten problems.
        """
        try:
            self._found = read_problems(self.setting.store, split=self.config.split)
        except DataError as error:
            raise DatasetError(f"{NAME}: {error}") from error
        asked = [problem for problem in self._found.problems if problem.row.difficulty in self.config.difficulties]
        return checked(NAME, [self._task(problem) for problem in asked])

    def notes(self) -> Mapping[str, JsonValue]:
        """Sources, rows by split, problems, and problems whose rows differ between splits."""
        return {
            "sources": list(self._found.origins),
            "dataset_verified": self._found.verified,
            "rows": dict(self._found.rows),
            "problems": len(self._found.problems),
            "rows_that_differ_between_splits": list(self._found.changed),
        }

    async def converse(self, task: LcbProTask, trial: int, agent: AgentSession) -> None:  # noqa: ARG002
        """Ask once, with the limits that the archive states. Raises Failure before asking what could not be scored."""
        async with self._archive(task) as archive:
            question = task.prompt + _terms(archive)
        await agent.ask(question)

    def program(self, task: LcbProTask, reply: str) -> Program | None:  # noqa: ARG002
        """See CodeBenchmark."""
        return extract_cpp(reply)

    async def verdict(self, task: LcbProTask, trial: int, program: Program, cells: Cells) -> Verdict:  # noqa: ARG002
        """Case by case until one fails. Raises SandboxError, and Failure when the data set is at fault."""
        async with self._archive(task) as archive:

            async def run(number: int) -> Ran:
                case = await _in_thread(task, lambda: _judged(archive, number))
                judge = run_interactive if archive.judge.interactive else run_checked
                return await judge(cells, case, source=program.source)

            stops = stdio.ALL_CASES if self.config.all_cases else stdio.FIRST_FAILURE
            return await stdio.verdict_by_cases(run, len(archive.cases), stops=stops)

    @asynccontextmanager
    async def _archive(self, task: LcbProTask) -> AsyncIterator[Archive]:
        with ExitStack() as stack:
            opening = problem_archive(self.setting.store, task.problem_id)
            yield await _in_thread(task, lambda: stack.enter_context(opening))

    def _task(self, problem: Problem) -> LcbProTask:
        row = problem.row
        question = QUESTION.format(title=row.problem_title.strip(), statement=row.problem_statement.strip())
        tests = source(TESTS).origin
        return LcbProTask(
            id=row.problem_id,
            stratum=row.difficulty,
            prompt=question,
            # The commit of the tests stands for their content.
            digest=digest(question, LIMITS, FLUSHING, problem.sha256, tests and tests.revision, *self.judging),
            problem_id=row.problem_id,
        )


async def _in_thread(task: LcbProTask, work: Callable[[], R]) -> R:
    """Do blocking work on the data set. What it lacks is nobody's fault but ours: the trial is not scored."""
    try:
        return await asyncio.to_thread(work)
    except (DataError, OSError) as error:
        raise Failure(Outcome.INFRA_ERROR, "test_data", f"{task.id}: {error}") from error


def _judged(archive: Archive, number: int) -> JudgedCase:
    case = archive.cases[number]
    return JudgedCase(
        problem_id=archive.problem_id,
        judge=archive.judge,
        input=archive.text(case.input),
        answer=archive.text(case.answer) if case.answer else None,
        limits=stdio.limits_of("cpp", time_limit_s=case.time_limit_s, memory_bytes=case.memory_bytes),
    )


def _terms(archive: Archive) -> str:
    """What the archive says of the conditions: the limits, and that a problem is interactive."""
    limits = LIMITS.format(time_s=archive.config.time_limit, memory=archive.config.memory_limit >> 20)
    return limits + (FLUSHING if archive.judge.interactive else "")
