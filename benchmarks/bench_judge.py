"""What a verdict costs beside the model: `python benchmarks/bench_judge.py [verdicts]`.

Aim: at most 2 ms CPU of ours per verdict, without the model's time. The reference engine judges in a process of its own, so that
the CPU of this process is the judge's, with HTTP, prompts, fences, reading and cache. Ten criteria an answer of 4,000 characters.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.contract.assessment import PlannedTrial
from services.contract.endpoints import Endpoint
from services.contract.judgements import Judgement
from services.contract.model_client import CallKey, ModelClient, ResponseFormat
from services.contract.results import Section
from services.green_agent.judge.asking import Case, Material
from services.green_agent.judge.panel import JudgePanel, open_judge
from services.green_agent.judge.prompts import write
from services.green_agent.judge.questions import of_criteria
from services.green_agent.judge.settings import JudgeSettings
from services.green_agent.judge.verdicts import schema_of
from tests.support.engine import engine_process

CRITERIA = [f"The answer states figure number {n} with its unit and its source." for n in range(1, 11)]
IN_FLIGHT = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Of one verdict, in milliseconds."""

    cpu_ms: float
    wall_ms: float


def case(number: int) -> Case:
    """An answer of about 4,000 characters that nobody else gives."""
    return Case(
        instructions="Judge the answer of a finance expert.",
        materials=(
            Material(name="question", text="What were revenue, margin and cash flow?", role="question"),
            Material(name="reference", text=f"Revenue {number}", role="reference"),
            Material(
                name="answer", text=f"Revenue {number}. " + "The margin rose by 3 % in the year. " * 110, role="answer"
            ),
        ),
    )


async def ask(panel: JudgePanel, verdicts: int) -> Cost:
    """Ask so many questions, sixteen at a time."""
    left = iter(range(verdicts))
    wall, cpu = time.perf_counter(), time.process_time()

    async def work() -> None:
        for number in left:
            record: list[Judgement] = []
            trial = PlannedTrial(
                benchmark="bench",
                section=Section.PROFESSIONAL_TASKS,
                stratum="bench",
                task_id=str(number),
                task_digest="",
            )
            await panel.for_trial(trial, record).criteria(case(number), CRITERIA)

    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Cost(cpu_ms=1000 * cpu / verdicts, wall_ms=1000 * wall / verdicts)


async def alone(url: str, verdicts: int) -> Cost:
    """The same prompts through the model client and nothing else: what HTTP and the SDK cost."""
    client = ModelClient(Endpoint(name="bench", model="reference", urls=(url,), max_model_len=32_768))
    questions = [of_criteria(case(number), tuple(CRITERIA), first=1) for number in range(verdicts)]
    prompts = [write(question, "full", mark="0" * 16).messages for question in questions]
    form = ResponseFormat(name="verdict", schema=schema_of(questions[0], "full", provider="openai"))
    left = iter(enumerate(prompts))

    async def work() -> None:
        for index, messages in left:
            key = CallKey(run_seed=0, benchmark="bench", task_id="t", trial=0, purpose="judge", index=index)
            await client.complete(messages, response_format=form, deadline=time.monotonic() + 60, key=key)

    wall, cpu = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(work())
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    await client.aclose()
    return Cost(cpu_ms=1000 * cpu / verdicts, wall_ms=1000 * wall / verdicts)


async def measure(url: str, folder: Path, verdicts: int) -> None:
    """The model client alone, then the judge without a cache, with a cold and with a warm one."""
    await alone(url, 20)
    cost = await alone(url, verdicts)
    print(f"client only {cost.cpu_ms:.2f} ms CPU a call, {cost.wall_ms:.2f} ms wall ({verdicts} calls)")
    for name, cached in (("no cache", False), ("cold cache", True), ("warm cache", True)):
        settings = JudgeSettings(model="reference", api_base=url, cache=cached, concurrency=IN_FLIGHT)
        panel = await open_judge(settings, env={}, folder=folder)
        try:
            await ask(panel, 20)
            cost = await ask(panel, verdicts)
        finally:
            await panel.aclose()
        print(f"{name:<11} {cost.cpu_ms:.2f} ms CPU a verdict, {cost.wall_ms:.2f} ms wall ({verdicts} verdicts)")


def main(verdicts: int) -> None:
    """Print four lines."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with tempfile.TemporaryDirectory() as folder, engine_process(Path(folder)) as (_, url):
        asyncio.run(measure(url, Path(folder), verdicts))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
