"""Runs a C++ program on one case and asks the problem's own checker or interactor for the verdict.

Each runs in a cell of its own. Exit codes are those of testlib: 0 accepted; 1, 2, 4, 8 rejected; 7 some of the points.
Anything else says that the checker is broken, which is never the agent's fault. Source: code-and-math specification 5, 9.4.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from services.contract.execution import Executable, Interactive, JobResult, LimitHit, Limits, Program
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.lcb_pro.archive import Judge
from services.green_agent.scoring.code import stdio
from services.green_agent.scoring.code.stdio import Ran, Word
from services.green_agent.scoring.code.verdicts import Cells

WORDS: Final = {0: Word.AC, 1: Word.WA, 2: Word.PE, 4: Word.PE, 8: Word.PE, 7: Word.WA}
"""By exit code: accepted, wrong answer, presentation, dirt after the answer, end of file too soon, some of the points."""
PARTIAL: Final = 7
INPUT, OUTPUT, ANSWER = "input", "output", "answer"
"""Files of a checker and an interactor, and their arguments in this order."""

# Outputs reach 64 MiB and inputs are as large as they like; a checker holds both in memory.
CHECKER_LIMITS: Final = Limits(
    cpu_s=30.0,
    wall_s=90.0,
    memory_bytes=2 << 30,
    processes=4,
    output_bytes=1 << 20,
    file_bytes=256 << 20,
    scratch_bytes=512 << 20,
)
NO_CRASH: Final = frozenset({0, None, -signal.SIGPIPE})
"""Exit statuses of a program beside an interactor: that it wrote on when the interactor had left is no fault of its own."""
OUT_OF_TIME: Final = frozenset({LimitHit.CPU, LimitHit.WALL})


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedCase:
    """One case of a problem with what decides it."""

    problem_id: str
    judge: Judge
    input: str
    answer: str | None
    """None where an interactive problem has none."""
    limits: Limits
    """Of the program under test."""


async def run_checked(cells: Cells, case: JudgedCase, *, source: str) -> Ran:
    """Run a program, then the checker on its output. Raises SandboxError, and Failure when the checker is broken."""
    job = await cells.run(Program(source=source, language="cpp", stdin=case.input, limits=case.limits))
    failed = stdio.failure_of(job)
    quiet = stdio.without_output(job)
    if failed is not None:
        return Ran(word=failed, job=quiet)
    check = await _check(cells, case, output=job.stdout)
    if check.limit is not None or (check.exit_status or 0) < 0:
        return await _too_much_for_the_checker(cells, case, check, quiet)
    return _ran(case, quiet, check.exit_status)


async def run_interactive(cells: Cells, case: JudgedCase, *, source: str) -> Ran:
    """Run a program and the interactor, each reading what the other writes. Raises as `run_checked` does."""
    answer = {} if case.answer is None else {ANSWER: case.answer}
    job = await cells.run(
        Interactive(
            program=Executable(source=source, language="cpp"),
            interactor=Executable(source=case.judge.source, language="cpp", headers=case.judge.headers),
            arguments=[INPUT, OUTPUT, *answer],
            files={INPUT: case.input, **answer},
            limits=case.limits,
        )
    )
    quiet = stdio.without_output(job)
    if job.build is not None and not job.build.ok:
        return Ran(word=Word.CE, job=quiet)
    if job.limit is not None:
        return Ran(word=stdio.OF_LIMIT[job.limit], job=quiet)
    ended = job.interactor
    if ended is None:
        raise broken(case.problem_id, "the sandbox told nothing of the interactor")
    if ended.limit in OUT_OF_TIME:
        # Each waits for the other, or the program never comes to an end of its questions.
        return Ran(word=Word.TLE, job=quiet)
    if ended.limit is not None:
        raise broken(case.problem_id, f"the interactor ended at its {ended.limit} limit")
    ran = _ran(case, quiet, ended.exit_status)
    crashed = ran.word is not Word.AC and job.exit_status not in NO_CRASH
    return Ran(word=Word.RE, job=quiet) if crashed else ran


def broken(problem_id: str, what: str) -> Failure:
    """The data set is at fault; the trial is not scored."""
    return Failure(Outcome.INFRA_ERROR, "checker", f"{problem_id}: {what}")


async def _check(cells: Cells, case: JudgedCase, *, output: str) -> JobResult:
    check = await cells.run(
        Program(
            source=case.judge.source,
            language="cpp",
            headers=case.judge.headers,
            arguments=[INPUT, OUTPUT, ANSWER],
            files={INPUT: case.input, OUTPUT: output, ANSWER: case.answer or ""},
            limits=CHECKER_LIMITS,
        )
    )
    if check.build is not None and not check.build.ok:
        raise broken(case.problem_id, "the checker does not build")
    return check


async def _too_much_for_the_checker(cells: Cells, case: JudgedCase, check: JobResult, job: JobResult) -> Ran:
    """A checker that crashed or met a limit: the fault of the output if the expected answer can be checked, else its own.

    Otherwise a program could have itself left unscored by printing what checkers choke on.
    """
    control = await _check(cells, case, output=case.answer or "")
    if control.limit is None and control.exit_status in WORDS:
        return Ran(word=Word.WA, job=job)
    how = f"at its {check.limit} limit" if check.limit is not None else f"with exit status {check.exit_status}"
    raise broken(case.problem_id, f"the checker ended {how}")


def _ran(case: JudgedCase, job: JobResult, exit_status: int | None) -> Ran:
    who = "interactor" if case.judge.interactive else "checker"
    if exit_status not in WORDS:
        raise broken(case.problem_id, f"the {who} ended with exit status {exit_status}")
    return Ran(word=WORDS[exit_status], job=job, partial=exit_status == PARTIAL)
