"""Is a data set of programs what it should be? Cheap checks at every load, reference solutions on request.

Source: code-and-math specification 2.6.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from services.contract.conversation import Reply, Transcript, Turn
from services.contract.outcomes import Failure
from services.contract.seeds import rank
from services.green_agent.benchmarks.base import DatasetError, Sandbox, ScoringTools
from services.green_agent.scoring.code.benchmark import CodeBenchmark, CodeTask

T = TypeVar("T", bound=CodeTask)

TOLD: Final = 3
"""Faults quoted in the text of an error."""
AT_ONCE: Final = 32
"""References scored side by side; the sandbox runs as many as it has workers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class References:
    """What the reference solutions came to."""

    run: int
    of: int
    """Tasks that have a reference."""
    failed: tuple[str, ...]
    """One line for each that does not pass its own test."""


def checked(name: str, tasks: Sequence[T]) -> Sequence[T]:
    """The tasks. Raises DatasetError naming what is wrong with them, also when there are none."""
    found = faults(tasks)
    if found:
        more = f"; {len(found) - TOLD} more" if len(found) > TOLD else ""
        raise DatasetError(f"{name}: {'; '.join(found[:TOLD])}{more}")
    return tasks


def faults(tasks: Sequence[CodeTask]) -> list[str]:
    """What is wrong with tasks, as far as looking at them can tell."""
    if not tasks:
        return ["no tasks"]
    twice = [f"{task_id}: the id is there {count} times" for task_id, count in _counted(tasks) if count > 1]
    empty = [f"{task.id}: nothing is asked" for task in tasks if not task.prompt.strip()]
    told = [f"{task.id}: the prompt holds what decides or solves it" for task in tasks if _tells(task)]
    return [*twice, *empty, *told]


async def references(
    benchmark: CodeBenchmark[Any, Any], tasks: Sequence[CodeTask], sandbox: Sandbox, *, most: int
) -> References:
    """Score up to `most` reference solutions as if an agent had given them; where there are more, a seeded draw."""
    solved = [task for task in tasks if task.reference]
    drawn = sorted(solved, key=lambda task: rank(0, "references", task.id))[:most]
    places = asyncio.Semaphore(AT_ONCE)

    async def run(task: CodeTask) -> str:
        async with places:
            return await _reference_fault(benchmark, task, sandbox)

    told = await asyncio.gather(*map(run, drawn))
    return References(run=len(drawn), of=len(solved), failed=tuple(sorted(filter(None, told))))


async def _reference_fault(benchmark: CodeBenchmark[Any, Any], task: CodeTask, sandbox: Sandbox) -> str:
    reply = Reply(text=f"```python\n{task.reference}\n```\n")
    transcript = Transcript(turns=(Turn(question=task.prompt, reply=reply),))
    try:
        score = await benchmark.score(task, 0, transcript, ScoringTools(sandbox=sandbox))
    except Failure as failure:
        return f"{task.id}: {failure.kind}: {failure.message}"
    return "" if score.passed else f"{task.id}: {score.explanation}"


def _counted(tasks: Sequence[CodeTask]) -> list[tuple[str, int]]:
    return list(Counter(task.id for task in tasks).items())


def _tells(task: CodeTask) -> bool:
    return any(text.strip() in task.prompt for text in task.hidden if text.strip())
