"""Many calls of one function: each gets the result it would have in a process of its own, and a bad program ends soon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from services.contract.execution import CallArguments, CallResult, Calls, CallStatus, Job, JobResult, LimitHit, Limits
from services.contract.values import decode
from services.green_agent.benchmarks.base import Sandbox
from services.green_agent.sandbox import open_sandbox
from services.green_agent.scoring.code.calling import CALLS_A_JOB, Ran, run_calls

pytestmark = pytest.mark.asyncio(loop_scope="module")
QUICK = Limits(cpu_s=1.0, call_cpu_s=0.5, wall_s=5.0)


@dataclass
class Counting:
    """Passes jobs on and keeps how many calls each had."""

    sandbox: Sandbox
    sizes: list[int] = field(default_factory=list)

    async def run(self, job: Job) -> JobResult:
        assert isinstance(job, Calls)
        self.sizes.append(len(job.calls))
        return await self.sandbox.run(job)


@dataclass
class Busy:
    """Passes jobs on; the clock ends the first of them during its third call."""

    sandbox: Sandbox
    cpu_s: float
    jobs: int = 0

    async def run(self, job: Job) -> JobResult:
        result = await self.sandbox.run(job)
        self.jobs += 1
        if self.jobs > 1:
            return result
        left = [CallResult(status=CallStatus.NOT_RUN)] * (len(result.calls) - 3)
        calls = [*result.calls[:2], CallResult(status=CallStatus.TIMEOUT), *left]
        return result.model_copy(update={"calls": calls, "limit": LimitHit.WALL, "cpu_s": self.cpu_s})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[Sandbox]:
    opened = await open_sandbox(backend="auto", workers=1, allow_unsafe=True)
    yield opened
    await opened.aclose()


async def run(
    cells: Counting | Busy, body: str, count: int, *, limits: Limits = QUICK, ends: int = 1, cpu_s: float = 9.0
) -> Ran:
    source = f"import os, time\ndef f(x):\n    {body}\n"
    calls = [CallArguments(args=[number]) for number in range(count)]
    return await run_calls(cells, source=source, entry_point="f", calls=calls, limits=limits, cpu_s=cpu_s, ends=ends)


def told(ran: Ran) -> list[object]:
    return [decode(one.value) if one.status is CallStatus.RETURNED else one.status.value for one in ran.results]


async def test_calls_beyond_one_job_are_made_in_the_next(sandbox: Sandbox) -> None:
    cells = Counting(sandbox)

    ran = await run(cells, "return x * x", CALLS_A_JOB + 3)

    assert told(ran) == [number * number for number in range(CALLS_A_JOB + 3)]
    assert cells.sizes == [CALLS_A_JOB, 3]


async def test_no_calls_are_no_job(sandbox: Sandbox) -> None:
    assert await run(Counting(sandbox), "return x", 0) == Ran(results=(), jobs=())


async def test_a_call_that_raises_ends_nothing(sandbox: Sandbox) -> None:
    assert told(await run(Counting(sandbox), "return 1 // (x - 1)", 4)) == [-1, "raised", 1, 0]


async def test_a_call_that_ends_the_process_is_made_once_more_alone_and_then_ends_the_run(sandbox: Sandbox) -> None:
    cells = Counting(sandbox)

    ran = await run(cells, "return x if x != 2 else os._exit(0)", 5)

    assert told(ran) == [0, 1, "not_run", "not_run", "not_run"]
    assert cells.sizes == [5, 3]


async def test_more_ends_may_be_allowed(sandbox: Sandbox) -> None:
    ran = await run(Counting(sandbox), "return x if x % 2 else os._exit(0)", 5, ends=5)

    assert told(ran) == ["not_run", 1, "not_run", 3, "not_run"]


async def test_a_slow_program_is_not_stopped_by_the_sum_of_its_calls(sandbox: Sandbox) -> None:
    spin = "end = time.process_time() + 0.3\n    while time.process_time() < end: pass\n    return x"

    ran = await run(Counting(sandbox), spin, 6)

    assert told(ran) == [0, 1, 2, 3, 4, 5]
    assert len(ran.jobs) > 1


async def test_what_is_not_run_within_the_time_of_the_program_does_not_return(sandbox: Sandbox) -> None:
    spin = "end = time.process_time() + 0.3\n    while time.process_time() < end: pass\n    return x"

    ran = await run(Counting(sandbox), spin, 50, cpu_s=1.0)

    assert told(ran)[0] == 0
    assert told(ran)[-1] == "not_run"
    assert sum(job.cpu_s for job in ran.jobs) < 4


async def test_an_endless_call_times_out_and_the_others_are_made(sandbox: Sandbox) -> None:
    assert told(await run(Counting(sandbox), "while x == 1: pass\n    return x", 3)) == [0, "timeout", 2]


async def test_a_sleeper_is_asked_once(sandbox: Sandbox) -> None:
    cells = Counting(sandbox)

    ran = await run(cells, "time.sleep(3600)", 4, limits=Limits(cpu_s=1.0, wall_s=0.5))

    assert told(ran) == ["timeout", "not_run", "not_run", "not_run"]
    assert [job.limit for job in ran.jobs] == [LimitHit.WALL]


async def test_a_program_that_does_not_load_is_tried_once(sandbox: Sandbox) -> None:
    ran = await run_calls(
        sandbox,
        source="def f(x) return x",
        entry_point="f",
        calls=[CallArguments(args=[1])] * 3,
        limits=QUICK,
        cpu_s=9.0,
        ends=3,
    )

    assert told(ran) == ["not_run"] * 3
    assert [job.error.split(":")[0] for job in ran.jobs] == ["SyntaxError"]


async def test_a_program_that_a_busy_machine_kept_waiting_goes_on_where_it_was_stopped(sandbox: Sandbox) -> None:
    assert told(await run(Busy(sandbox, cpu_s=QUICK.cpu_s * 0.6), "return x", 5)) == [0, 1, 2, 3, 4]
    assert told(await run(Busy(sandbox, cpu_s=QUICK.cpu_s * 0.4), "return x", 5)) == [0, 1, *["not_run"] * 3]
