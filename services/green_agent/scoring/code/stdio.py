"""Verdicts on programs that read standard input: one run a case, judged outside of the program's cell.

The words are those of programming contests. Source: code-and-math specification 5, "Standard output" and "LCB-Pro".
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.contract.execution import JobResult, Language, LimitHit, Limits
from services.contract.execution import Program as ProgramJob
from services.green_agent.scoring.code import programs
from services.green_agent.scoring.code.extraction import PYTHON_TAGS, Program
from services.green_agent.scoring.code.fences import Block, blocks, searched
from services.green_agent.scoring.code.outputs import How, agreement
from services.green_agent.scoring.code.verdicts import Cells, Verdict

SCORER_VERSION: Final = "2"
"""Raised with every change here, in the comparison of outputs or in the C++ extraction that can move a number."""
PYTHON_TIME_FACTOR: Final = 3.0
"""A problem's time limit is made for compiled programs; Python gets this much more."""
DEFAULT_CPU_S: Final = 4.0
"""Where a problem states no time limit."""
LEAST_MEMORY_BYTES: Final = 256 << 20
OUTPUT_BYTES: Final = 64 << 20
PROCESSES: Final[dict[Language, int]] = {"python": 32, "cpp": 4}
MOST_LIMITS: Final = 3
"""Cases at a limit after which the rest of a problem is not run, unless all cases are asked for. Each costs seconds."""


class Word(StrEnum):
    """How one case ended."""

    AC = "AC"
    """Accepted."""
    WA = "WA"
    """Wrong answer."""
    PE = "PE"
    """Presentation: the checker could not read the output as what it should be."""
    TLE = "TLE"
    """Time limit."""
    MLE = "MLE"
    """Memory limit."""
    RE = "RE"
    """Ended with an exit status other than 0, a signal, or at the process limit."""
    OLE = "OLE"
    """Output limit."""
    CE = "CE"
    """Does not build."""


OF_LIMIT: Final = {
    LimitHit.CPU: Word.TLE,
    LimitHit.WALL: Word.TLE,
    LimitHit.MEMORY: Word.MLE,
    LimitHit.OUTPUT: Word.OLE,
    LimitHit.PROCESSES: Word.RE,
}
AT_LIMIT: Final = frozenset({Word.TLE, Word.MLE, Word.OLE})
_STRENGTH: Final[tuple[How, ...]] = ("exact", "tokens", "float")


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One input and the output that is expected; the latter never enters a cell of the program."""

    stdin: str
    expected: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What one case came to."""

    word: Word
    job: JobResult
    """Of the program under test."""
    how: How | None = None
    """How the output agreed; None where it did not, or a checker decided."""
    partial: bool = False
    """A checker gave some of the points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stops:
    """After how many cases of a sort the rest is not run; it counts as failed. None: never for that reason."""

    failures: int | None = None
    """Cases that do not pass."""
    limits: int | None = None
    """Cases that end at their limit of time, memory or output."""


ALL_CASES: Final = Stops()
FIRST_FAILURE: Final = Stops(failures=1)
HOPELESS: Final = Stops(limits=MOST_LIMITS)


def limits_of(
    language: Language, *, time_limit_s: float | None, memory_bytes: int | None, time_factor: float = PYTHON_TIME_FACTOR
) -> Limits:
    """Limits of one case: the problem's, where it states any. `time_factor` is for Python alone."""
    factor = time_factor if language == "python" else 1.0
    cpu_s = DEFAULT_CPU_S if time_limit_s is None else time_limit_s * factor
    memory = memory_bytes or LEAST_MEMORY_BYTES
    return Limits(
        cpu_s=cpu_s,
        wall_s=2 * cpu_s + 2,
        memory_bytes=max(memory, LEAST_MEMORY_BYTES) if language == "python" else memory,
        processes=PROCESSES[language],
        output_bytes=OUTPUT_BYTES,
    )


async def run_case(cells: Cells, case: Case, *, source: str, language: Language, limits: Limits) -> Ran:
    """Run a program on one case and compare its output. Raises SandboxError."""
    job = await cells.run(ProgramJob(source=source, language=language, stdin=case.stdin, limits=limits))
    word = failure_of(job)
    if word is not None:
        return Ran(word=word, job=without_output(job))
    how = await asyncio.to_thread(agreement, job.stdout, case.expected)
    return Ran(word=Word.WA if how is None else Word.AC, job=without_output(job), how=how)


def without_output(job: JobResult) -> JobResult:
    """What is kept of a job: the outputs of hundreds of cases would fill the memory."""
    return job.model_copy(update={"stdout": "", "stderr": ""})


def failure_of(job: JobResult) -> Word | None:
    """Why a program failed whatever it printed; None when its output is to be judged."""
    if job.build is not None and not job.build.ok:
        return Word.CE
    if job.limit is not None:
        return OF_LIMIT[job.limit]
    if job.truncated:
        return Word.OLE
    return None if job.exit_status == 0 else Word.RE


async def verdict_by_cases(run: Callable[[int], Awaitable[Ran]], total: int, *, stops: Stops) -> Verdict:
    """Run cases 0 to `total` - 1 in order until `stops`. A case that is not run does not pass.

    Raises what `run` raises. A program that does not build is not tried again.
    """
    ran: list[Ran] = []
    while len(ran) < total and not _over(ran, stops):
        ran.append(await run(len(ran)))
    return _verdict(ran, total)


def _over(ran: list[Ran], stops: Stops) -> bool:
    if ran and ran[-1].word is Word.CE:
        return True
    failures = sum(case.word is not Word.AC for case in ran)
    limits = sum(case.word in AT_LIMIT for case in ran)
    return (stops.failures is not None and failures >= stops.failures) or (
        stops.limits is not None and limits >= stops.limits
    )


def _verdict(ran: list[Ran], total: int) -> Verdict:
    failed = [number for number, case in enumerate(ran, start=1) if case.word is not Word.AC]
    first = failed[0] if failed else None
    # Of several runs that pass, the slowest says most about the program.
    decided = ran[first - 1] if first is not None else max(ran, key=lambda case: case.job.cpu_s)
    agreed = [case.how for case in ran if case.how is not None]
    not_built = decided.word is Word.CE
    told = (f"case {number} of {total}: {ran[number - 1].word}" for number in failed)
    return Verdict(
        method="stdout",
        passed=len(ran) - len(failed),
        total=total,
        faults=("the program does not build",) if not_built else tuple(told),
        job=decided.job,
        timed_out=any(case.word is Word.TLE for case in ran),
        metrics={
            "verdict": str(decided.word),
            "failing_case": None if not_built else first,
            "cases_run": 0 if not_built else len(ran),
            "compared": max(agreed, key=_STRENGTH.index) if agreed else None,
            "partial_points": any(case.partial for case in ran),
        },
    )


def extract_script(reply: str) -> Program | None:
    """The Python program in `reply` that is run as a whole, or None when there is none.

    Of the fenced blocks tagged as Python or not at all the last that is Python and does something, else the last that is
    Python, else the last. Without any block, the whole reply when it is Python that does something. To import or to call is
    to do something: sample output and prose of one word are expressions, too.
    """
    text = searched(reply)
    fenced = blocks(text, is_whole=programs.Syntax("").parses)
    if not fenced:
        return Program(source=text, shape="whole", place="reply") if _does_something(text) else None
    likely = [block for block in reversed(fenced) if block.language in PYTHON_TAGS] or fenced[::-1]
    python = _python(likely)
    chosen = next((block for block in python if _does_something(block.text)), (python or likely)[0])
    return Program(source=chosen.text, shape="whole", place="fence")


def _python(candidates: list[Block]) -> list[Block]:
    syntax = programs.Syntax("")
    return [block for block in candidates if syntax.parses(block.text)]


def _does_something(text: str) -> bool:
    tree = programs.parse(text)
    return tree is not None and any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in ast.walk(tree))
