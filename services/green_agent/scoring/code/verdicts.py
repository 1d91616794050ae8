"""Verdicts on a program: its calls run in the sandbox, its answers are compared here.

`pairs` compares each returned value in green; `split` runs the whole test in a cell beside the program's. In neither does
an expected value enter the process of the program. Source: code-and-math specification 5.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

from services.contract.execution import CallResult, Calls, CallStatus, Job, JobResult, LimitHit, Limits, Split
from services.contract.values import MalformedValue, decode
from services.green_agent.scoring.code.assertions import Assertion, Pairs, placeholder
from services.green_agent.scoring.code.evaluator import EvaluationError, is_true

SCORER_VERSION: Final = "2"
"""Raised with every change here, in the evaluator or in the extraction that can move a number."""
TIME_LIMITS: Final = frozenset({LimitHit.CPU, LimitHit.WALL})


class Cells(Protocol):
    """What runs jobs; see `services.green_agent.sandbox`."""

    async def run(self, job: Job) -> JobResult:
        """Run one job. Raises SandboxError when the sandbox itself is broken."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a program achieved."""

    method: Literal["pairs", "split", "guarded", "stdout"]
    passed: int
    """Units that hold: asserts, or the whole test as one."""
    total: int
    """At least 1."""
    faults: tuple[str, ...]
    """One line for each unit that does not hold. Neither tests nor expected values are quoted."""
    job: JobResult
    """The job the verdict rests on; of several, the one that decided."""
    metrics: Mapping[str, float | int | bool | str | None] = field(default_factory=dict)
    """What the method or the benchmark measured beside it."""
    seeded: bool = False
    """True when it hangs on the seed of the trial; it is then no verdict on another trial's equal program."""
    timed_out: bool = False
    """True when a clock stopped any job of the verdict; `ran_out_of_time` looks at `job` itself."""

    @property
    def ran_out_of_time(self) -> bool:
        """True when a faster or idler machine might have come to another verdict."""
        return (
            self.timed_out
            or self.job.limit in TIME_LIMITS
            or any(call.status is CallStatus.TIMEOUT for call in self.job.calls)
        )

    @property
    def pass_rate(self) -> float:
        """Share of the units that hold, 0..1."""
        return self.passed / self.total

    @property
    def all_passed(self) -> bool:
        """True when the program is right as far as the test can tell."""
        return self.passed == self.total


async def verdict_by_pairs(
    cells: Cells, pairs: Pairs, *, source: str, entry_point: str, limits: Limits | None = None
) -> Verdict:
    """Run the calls of a test on the program and judge each assertion. Raises SandboxError."""
    job = await cells.run(
        Calls(source=source, entry_point=entry_point, calls=list(pairs.calls), limits=limits or Limits())
    )
    # Decoding and comparing what a hostile program returned may take a while.
    faults = await asyncio.to_thread(faults_of, pairs.assertions, job)
    return Verdict(
        method="pairs", passed=faults.count(None), total=len(faults), faults=tuple(told_faults(faults)), job=job
    )


async def verdict_by_split(
    cells: Cells, *, source: str, entry_point: str, test_source: str, seed: int, limits: Limits | None = None
) -> Verdict:
    """Run the whole test in a cell of its own, seeded with `seed`; it counts as one unit. Raises SandboxError."""
    job = await cells.run(
        Split(source=source, entry_point=entry_point, test_source=test_source, seed=seed, limits=limits or Limits())
    )
    passed = job.passed is True
    faults = () if passed else (f"the test ended with {_kind_of_end(job)}",)
    return Verdict(method="split", passed=int(passed), total=1, faults=faults, job=job, seeded=True)


def told_faults(faults: Sequence[str | None]) -> list[str]:
    """One line for each assertion that does not hold."""
    return [
        f"assert {number} of {len(faults)}: {fault}"
        for number, fault in enumerate(faults, start=1)
        if fault is not None
    ]


def faults_of(assertions: Sequence[Assertion], job: JobResult) -> list[str | None]:
    """Why each assertion does not hold over what the calls of `job` returned; None where it holds."""
    values = [_Value(_call_result(job, index), job) for index in range(_calls_used(assertions))]
    named = {placeholder(index): value for index, value in enumerate(values)}
    return [_fault(assertion, named) for assertion in assertions]


def _calls_used(assertions: Sequence[Assertion]) -> int:
    return 1 + max(index for assertion in assertions for index in assertion.calls)


def _call_result(job: JobResult, index: int) -> CallResult:
    """A call without a result did not run: the program ended before, and how it ended is no excuse."""
    return job.calls[index] if index < len(job.calls) else CallResult(status=CallStatus.NOT_RUN)


def _fault(assertion: Assertion, values: dict[str, _Value]) -> str | None:
    """Why the assertion does not hold, or None when it does."""
    try:
        holds = is_true(assertion.expression, lambda name: values[name].get())
    except EvaluationError as error:
        return str(error)
    return None if holds else "does not hold"


class _Value:
    """What a call returned, decoded when an assertion asks for it."""

    def __init__(self, call: CallResult, job: JobResult) -> None:
        self._call = call
        self._job = job

    def get(self) -> object:
        """The value. Raises EvaluationError with the reason when there is none."""
        if self._call.status is CallStatus.RETURNED:
            try:
                return decode(self._call.value)
            except MalformedValue:
                raise EvaluationError("the returned value is malformed") from None
        if self._call.status is CallStatus.RAISED:
            raise EvaluationError(f"the call raised {_type_name(self._call.exception)}")
        if self._call.status is CallStatus.TIMEOUT:
            raise EvaluationError("the call ran out of time")
        raise EvaluationError(f"the call did not run, the program ended with {_kind_of_end(self._job)}")


def _kind_of_end(job: JobResult) -> str:
    if job.limit is not None:
        return f"its {job.limit} limit"
    if job.error:
        return _type_name(job.error)
    return f"exit status {job.exit_status}"


def _type_name(error: str) -> str:
    """The exception type alone: a message may quote inputs or expected values, and is the program's own text."""
    name = re.match(r"[A-Za-z_][\w.]{0,99}", error)
    return name.group() if name else "an exception"
