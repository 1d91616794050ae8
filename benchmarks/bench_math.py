"""How long it takes to verify the 400 answers of AnswerBench against themselves: `python benchmarks/bench_math.py`.

Aim: below 10 s on two cores with no verdict lost, workers started included. Needs imobench/answerbench_v2.csv in the folder
ASSAY_DATA_FROM, or ../shared/data beside the checkout.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from pathlib import Path

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.imobench.answers import AnswerTask, answer_tasks
from services.green_agent.data.store import Store
from services.green_agent.scoring.math.equivalence import matches
from services.green_agent.scoring.math.pool import WorkerPool

MIRROR = Path(os.environ.get("ASSAY_DATA_FROM", Path(__file__).parents[2] / "shared" / "data"))


async def verified(tasks: tuple[AnswerTask, ...]) -> Counter[str]:
    """Verdicts of the algebra system on the golds that are not prose, workers started and ended."""
    pool = WorkerPool()
    try:
        return Counter(await asyncio.gather(*(pool.compare(task.gold, task.gold) for task in tasks)))
    finally:
        pool.close()


def main() -> None:
    """Print seconds and verdicts."""
    try:
        _, tasks = answer_tasks(Store(mirror=MIRROR), version=2)
    except DatasetError as error:
        sys.exit(str(error))
    started = time.perf_counter()
    matched = sum(matches(task.gold, task.gold) for task in tasks)
    normalised = time.perf_counter()
    plain = tuple(task for task in tasks if not task.needs_judge)
    verdicts = asyncio.run(verified(plain))
    done = time.perf_counter()
    print(f"{matched} of {len(tasks)} equal after normalising in {normalised - started:.2f} s")
    print(f"{len(plain)} compared by the algebra system in {done - normalised:.2f} s: {dict(verdicts)}")


if __name__ == "__main__":
    main()
