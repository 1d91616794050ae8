"""How long it takes to generate and to grade synthetic questions: `python benchmarks/bench_synthetic.py [count]`.

Target: 10,000 questions in under 10 s on one core.
"""

from __future__ import annotations

import json
import sys
import time

from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.synthetic import GeneratorConfig, Synthetic, SyntheticConfig
from services.green_agent.scoring.answers import grade, read


def main(count: int) -> None:
    """Print two lines: generation and grading."""
    benchmark = Synthetic(SyntheticConfig(type="synthetic", generator=GeneratorConfig(count=count)), Setting(seed=42))

    start, busy = time.perf_counter(), time.process_time()
    tasks = benchmark.tasks()
    generated, used = time.perf_counter() - start, time.process_time() - busy
    print(f"generated {len(tasks)} questions in {generated:.2f} s ({used:.2f} s of processor time)")

    replies = [f"Some words.\nFINAL ANSWER: {json.dumps(dict(task.keys))}" for task in tasks]
    start = time.perf_counter()
    right = sum(
        grade(task.quantities, task.keys, read(reply, task.quantities)).share == 1.0
        for task, reply in zip(tasks, replies, strict=True)
    )
    graded = time.perf_counter() - start
    print(f"graded {len(tasks)} right answers in {graded:.2f} s, {right} of them 1.0")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
