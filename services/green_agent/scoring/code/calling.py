"""One function called with many arguments, in as many jobs as the limits of a job make necessary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.execution import CallArguments, CallResult, Calls, CallStatus, JobResult, LimitHit, Limits
from services.green_agent.scoring.code.verdicts import Cells

CALLS_A_JOB: Final = 250


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What a program returned, call by call."""

    results: tuple[CallResult, ...]
    """One per call, in order."""
    jobs: tuple[JobResult, ...]
    """At least one, in order."""


async def run_calls(
    cells: Cells,
    *,
    source: str,
    entry_point: str,
    calls: Sequence[CallArguments],
    limits: Limits,
    cpu_s: float,
    ends: int,
) -> Ran:
    """Call a program with each of `calls`, in as many jobs as that takes. Raises SandboxError.

    A job's limits count all its calls: the call that was under way when one was met is made again, alone at the start of
    a job. Only what ends the program then counts against it. `ends`: after so many of those, or `cpu_s` seconds in all,
    the rest is not run, and none is when the program does not load.
    """
    results: list[CallResult] = []
    jobs: list[JobResult] = []
    while len(results) < len(calls) and ends > 0 and sum(job.cpu_s for job in jobs) < cpu_s:
        batch = list(calls[len(results) : len(results) + CALLS_A_JOB])
        job = await cells.run(Calls(source=source, entry_point=entry_point, calls=batch, limits=limits))
        jobs.append(job)
        if job.error:
            break
        settled = _settled(job, len(batch))
        results += job.calls[: max(settled, 1)]
        ends -= settled == 0 or _slept(job, limits)
    results += [CallResult(status=CallStatus.NOT_RUN)] * (len(calls) - len(results))
    return Ran(results=tuple(results), jobs=tuple(jobs))


def _slept(job: JobResult, limits: Limits) -> bool:
    """True when a program let its wall time pass: it is not asked again and again, each job would take as long.

    One that worked for half its CPU time or more was kept waiting by the machine.
    """
    return job.limit is LimitHit.WALL and job.cpu_s < limits.cpu_s / 2


def _settled(job: JobResult, count: int) -> int:
    """How many calls have the result they would have in a job of their own."""
    ran = next((index for index, call in enumerate(job.calls) if call.status is CallStatus.NOT_RUN), len(job.calls))
    if job.limit is None and ran == count:
        return ran
    under_way = ran > 0 and job.calls[ran - 1].status is CallStatus.TIMEOUT
    return ran - under_way
