"""How fast a sandbox is: programs and calls per second, what one program costs, building and running C++."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.execution import Build, CallArguments, Calls, Job, Program, SandboxError
from services.green_agent.sandbox import compiler, open_sandbox
from services.green_agent.sandbox.opening import Sandbox

MANY: Final = 200
FEW: Final = 40
"""Programs measured where each costs a worker."""
IN_A_ROW: Final = 20
CALLS: Final = 100
SOURCE: Final = "print(sum(range(1000)))"
FUNCTION: Final = "def f(n): return sum(range(n))"
CPP: Final = "#include <bits/stdc++.h>\nint main() { long n; std::cin >> n; std::cout << n * n; }"


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Of one backend, with the workers it was given."""

    backend: str
    programs_per_s: float
    overhead_ms: float
    """Wall time of one empty program with nothing beside it."""
    calls_per_s: float
    """Calls in programs of 100."""
    build_s: float | None
    """Wall time of building one C++ program that includes the whole standard library; None without a compiler."""
    binaries_per_s: float | None
    """Runs of a program that has been built."""


async def speed(backend: str, *, workers: int, allow_unsafe: bool) -> Speed:
    """Measure one backend of this machine, by name. Raises SandboxError where it does not work."""
    sandbox = await open_sandbox(backend=backend, workers=workers, allow_unsafe=allow_unsafe)
    try:
        count = MANY if backend == "bwrap-warm" else FEW
        called = Calls(source=FUNCTION, entry_point="f", calls=[CallArguments(args=[1000])] * CALLS)
        programs_per_s = await _rate(sandbox, [Program(source=SOURCE)] * count)
        calls_per_s = await _rate(sandbox, [called] * (count // 4)) * CALLS
        build_s, binaries_per_s = await _cpp(sandbox, count) if compiler.executable() else (None, None)
        return Speed(
            backend=backend,
            programs_per_s=programs_per_s,
            overhead_ms=await _overhead_ms(sandbox),
            calls_per_s=calls_per_s,
            build_s=build_s,
            binaries_per_s=binaries_per_s,
        )
    finally:
        await sandbox.aclose()


def table(speeds: Sequence[Speed | str]) -> str:
    """The measured speeds as lines for people; a text stands for a backend that could not be measured."""
    head = f"{'backend':18} {'programs/s':>10} {'ms/program':>10} {'calls/s':>9} {'C++ build s':>11} {'C++ runs/s':>10}"
    return "\n".join([head, *(each if isinstance(each, str) else _line(each) for each in speeds)])


def _line(speed: Speed) -> str:
    build = "-" if speed.build_s is None else f"{speed.build_s:.2f}"
    runs = "-" if speed.binaries_per_s is None else f"{speed.binaries_per_s:.1f}"
    numbers = f"{speed.programs_per_s:10.1f} {speed.overhead_ms:10.1f} {speed.calls_per_s:9.0f}"
    return f"{speed.backend:18} {numbers} {build:>11} {runs:>10}"


async def _rate(sandbox: Sandbox, jobs: Sequence[Job]) -> float:
    await sandbox.run(jobs[0])  # the workers' start is not what is measured
    started = time.perf_counter()
    results = await asyncio.gather(*(sandbox.run(job) for job in jobs))
    elapsed_s = time.perf_counter() - started
    if any(result.exit_status != 0 for result in results):
        raise SandboxError(f"a program that should end well did not on {sandbox.info.backend}")
    return len(jobs) / elapsed_s


async def _overhead_ms(sandbox: Sandbox) -> float:
    started = time.perf_counter()
    for _ in range(IN_A_ROW):
        await sandbox.run(Program(source=""))
    return (time.perf_counter() - started) / IN_A_ROW * 1000


async def _cpp(sandbox: Sandbox, count: int) -> tuple[float, float]:
    await sandbox.run(Build(source="int main() {}", language="cpp"))  # proves the compiler, once per process
    started = time.perf_counter()
    await sandbox.run(Build(source=CPP, language="cpp"))
    build_s = time.perf_counter() - started
    return build_s, await _rate(sandbox, [Program(source=CPP, language="cpp", stdin="7")] * count)
