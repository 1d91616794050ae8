"""How long it takes to generate and to grade option questions: `python benchmarks/bench_options.py [count]`.

Target: 10,000 questions in under 10 s on one core.
"""

from __future__ import annotations

import json
import sys
import time

from services.contract.pricing import price_option
from services.green_agent.benchmarks.base import Setting
from services.green_agent.benchmarks.options import GeneratorConfig, Options, OptionsConfig
from services.green_agent.scoring.answers import grade, read


def main(count: int) -> None:
    """Print three lines: generation, grading, prices."""
    price_option(kind="call", spot=1, strike=1, rate=0, dividend_yield=0, volatility=1, days=1)  # imports QuantLib
    benchmark = Options(OptionsConfig(type="options", generator=GeneratorConfig(count=count)), Setting(seed=42))

    start = time.perf_counter()
    tasks = benchmark.tasks()
    generated = time.perf_counter() - start
    print(f"generated {len(tasks)} questions in {generated:.2f} s ({1000 * generated / count:.2f} ms each)")

    replies = [f"Some words.\nFINAL ANSWER: {json.dumps(dict(task.keys))}" for task in tasks]
    start = time.perf_counter()
    right = sum(
        grade(task.quantities, task.keys, read(reply, task.quantities)).share == 1.0
        for task, reply in zip(tasks, replies, strict=True)
    )
    graded = time.perf_counter() - start
    print(f"graded {len(tasks)} right answers in {graded:.2f} s, {right} of them 1.0")

    start = time.perf_counter()
    for days in range(1, 10_001):
        price_option(
            kind="call", spot=100, strike=105, rate=0.04, dividend_yield=0.01, volatility=0.3, days=days % 365 + 1
        )
    priced = time.perf_counter() - start
    print(f"priced 10000 European options with Greeks in {priced:.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
