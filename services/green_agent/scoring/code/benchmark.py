"""What all benchmarks of programs share: the reply is read, the program runs in the sandbox, the row says how it went.

A benchmark says how its programs are found in a reply and how one is judged; see `CodeBenchmark`.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, Literal, TypeVar

from services.contract.conversation import Transcript
from services.contract.execution import SandboxError
from services.contract.outcomes import Failure, Outcome
from services.contract.results import Section
from services.green_agent.benchmarks.base import Benchmark, DatasetConfig, Sandbox, Score, ScoringTools, Setting, Task
from services.green_agent.scoring.code import programs
from services.green_agent.scoring.code.cache import VerdictCache, key_of
from services.green_agent.scoring.code.closure import entry_closure
from services.green_agent.scoring.code.extraction import Program
from services.green_agent.scoring.code.verdicts import Cells, Verdict


class CodeConfig(DatasetConfig):
    """Keys that the entries of all benchmarks of programs have."""

    score_intermediates: bool = True
    """Score the solutions on the way to an answer too, where the agent tells them; see `oracle_passed`."""


class FunctionConfig(CodeConfig):
    """Keys of entries that ask for functions, too."""

    sanitize: Literal["off", "entry_closure"] = "off"
    """entry_closure: of a program only what the test reaches is run, through the entry point as a rule."""


class CasesConfig(CodeConfig):
    """Keys of entries whose programs are judged case by case, too."""

    all_cases: bool = False
    """Run every case, also where the benchmark would stop early; what is not run counts as failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CodeTask(Task):
    """One program to write. Benchmarks subclass it with what their verdict needs."""

    entry_point: str = ""
    """Function to define; empty for whole programs."""
    beside: tuple[str, ...] = ()
    """Other names that the test takes from the program."""
    reference: str = ""
    """A published solution as a whole program, for `exact_match` and self checks; empty when there is none."""
    units: int = 1
    """Checks that a right program passes: asserts, cases, or 1 for a test that counts as one."""
    issues: tuple[str, ...] = ()
    """Kinds of the known faults of the row."""
    hidden: tuple[str, ...] = ()
    """Texts that decide or solve the task and that no prompt may hold."""


C = TypeVar("C", bound=CodeConfig)
T = TypeVar("T", bound=CodeTask)


class CodeBenchmark(Benchmark[C, T], Generic[C, T]):
    """A benchmark whose answers are programs. A trial passes when every check holds; its score is 1 or 0."""

    section: ClassVar[Section] = Section.CODE
    needs_sandbox: ClassVar[bool] = True

    def __init__(self, config: C, setting: Setting) -> None:
        super().__init__(config, setting)
        self._verdicts = VerdictCache()

    @property
    def scores_intermediates(self) -> bool:
        """As the entry says."""
        return self.config.score_intermediates

    @property
    def judging(self) -> tuple[str, ...]:
        """What the entry changes about how programs are judged, for the digests of tasks; empty when it changes nothing."""
        sanitized = () if self._sanitize == "off" else (f"sanitize {self._sanitize}",)
        return (*sanitized, "all cases") if self._all_cases else sanitized

    @property
    def _all_cases(self) -> bool:
        return isinstance(self.config, CasesConfig) and self.config.all_cases

    @property
    def _sanitize(self) -> Literal["off", "entry_closure"]:
        return self.config.sanitize if isinstance(self.config, FunctionConfig) else "off"

    @abstractmethod
    def program(self, task: T, reply: str) -> Program | None:
        """The program in a reply, None when there is none. Pure; runs in a thread."""

    @abstractmethod
    async def verdict(self, task: T, trial: int, program: Program, cells: Cells) -> Verdict:
        """Judge a program. Raises SandboxError, and Failure when the data set itself is at fault."""

    async def score(self, task: T, trial: int, transcript: Transcript, tools: ScoringTools) -> Score:
        """Run the program of the last reply against the checks. Raises Failure, SandboxError."""
        if tools.sandbox is None:
            raise SandboxError(f"{self.name} runs programs and needs a sandbox, none was opened")
        reply = transcript.answer
        if not reply.strip():
            raise Failure(Outcome.AGENT_ERROR, "empty", "the reply holds no text")
        program = await asyncio.to_thread(self.program, task, reply)
        if program is None:
            return _without_program(task)
        sanitize = self._sanitize if task.entry_point else "off"
        if sanitize == "entry_closure":
            program = await asyncio.to_thread(_sanitized, program, task)
        verdict, cached = await self._known_verdict(task, trial, program, tools.sandbox)
        metrics = {"sanitized": sanitize, "verdict_cached": cached}
        return await asyncio.to_thread(_score, task, program, verdict, metrics)

    async def _known_verdict(self, task: T, trial: int, program: Program, sandbox: Sandbox) -> tuple[Verdict, bool]:
        """The verdict on the program, and whether it was known: many trials give equal programs."""
        key = key_of(task.digest, program.source, scorer=self.scorer_version, sandbox=sandbox.info)
        known = self._verdicts.find(key, trial)
        if known is not None:
            return known, True
        verdict = await self.verdict(task, trial, program, sandbox)
        self._verdicts.keep(key, trial, verdict)
        return verdict, False


def _sanitized(program: Program, task: CodeTask) -> Program:
    return replace(program, source=entry_closure(program.source, task.entry_point, also=task.beside))


def _without_program(task: CodeTask) -> Score:
    wanted = f" that defines or completes {task.entry_point}" if task.entry_point else ""
    return Score(
        score=0.0,
        passed=False,
        scored_by="extraction",
        explanation=f"no program{wanted} in the reply",
        metrics={
            "extracted": False,
            "pass_rate": 0.0,
            "checks_passed": 0,
            "checks_total": task.units,
            "exact_match": False if task.reference else None,
            "known_issues": ",".join(task.issues),
        },
    )


def _score(task: CodeTask, program: Program, verdict: Verdict, metrics: Mapping[str, str | bool]) -> Score:
    job = verdict.job
    return Score(
        score=1.0 if verdict.all_passed else 0.0,
        passed=verdict.all_passed,
        scored_by=verdict.method,
        answer=program.source,
        explanation="; ".join([f"{verdict.passed} of {verdict.total} checks passed", *verdict.faults[:1]]),
        metrics={
            "extracted": True,
            "program_shape": program.shape,
            "pass_rate": verdict.pass_rate,
            "checks_passed": verdict.passed,
            "checks_total": verdict.total,
            "exact_match": programs.same_program(program.source, task.reference) if task.reference else None,
            "known_issues": ",".join(task.issues),
            "sandbox": job.backend,
            "limit": job.limit,
            "exit_status": job.exit_status,
            "cpu_s": job.cpu_s,
            "wall_s": job.wall_s,
            "peak_memory_bytes": job.peak_memory_bytes,
            **metrics,
            **verdict.metrics,
        },
    )
