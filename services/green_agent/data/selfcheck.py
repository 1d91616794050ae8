"""What benchmarks make of a data set that is here: it is loaded as for a run, and its reference solutions are scored.

Part of `assay data verify`; nothing is downloaded. Source: code-and-math specification 2.6.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.contract.execution import SandboxError
from services.green_agent.benchmarks.base import AnyBenchmark, DatasetError, Sandbox, Setting
from services.green_agent.benchmarks.registry import BENCHMARKS, benchmark_class
from services.green_agent.data.store import Store
from services.green_agent.sandbox import open_sandbox
from services.green_agent.scoring.code.benchmark import CodeBenchmark, CodeTask
from services.green_agent.scoring.code.selfcheck import references

ENTRIES: Final[Mapping[str, Mapping[str, str]]] = {
    "humaneval": {"type": "humaneval"},
    "mbpp": {"type": "mbpp", "split": "all"},
    "mbpp_sanitized": {"type": "mbpp", "subset": "sanitized", "split": "all"},
    "humaneval_plus": {"type": "humaneval_plus"},
    "mbpp_plus": {"type": "mbpp_plus"},
    "apps": {"type": "apps"},
    "codecontests": {"type": "codecontests"},
    "imobench": {"type": "imobench", "subset": "all"},
}
"""Suite entries that load what can be checked of a data set."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelfChecked:
    """What came of it."""

    tasks: int
    references: str
    """In words; empty where there are none to run."""
    faults: tuple[str, ...]


async def check(name: str, mirror: Path | None, *, most: int, sandbox_url: str | None = None) -> SelfChecked | None:
    """Load a data set and score up to `most` of its reference solutions; None when no benchmark reads it in one piece."""
    entry = ENTRIES.get(name)
    if entry is None or entry["type"] not in BENCHMARKS:
        return None
    benchmark_type = benchmark_class(entry["type"])
    config = benchmark_type.config_model.model_validate(entry)
    benchmark: AnyBenchmark = benchmark_type(config, Setting(seed=0, store=Store(mirror=mirror)))
    try:
        with _offline():
            tasks = benchmark.tasks()
    except DatasetError as error:
        return SelfChecked(tasks=0, references="", faults=(str(error),))
    if not isinstance(benchmark, CodeBenchmark) or most == 0:
        return SelfChecked(tasks=len(tasks), references="", faults=())
    try:
        sandbox = await open_sandbox(url=sandbox_url)
    except SandboxError as error:
        return SelfChecked(tasks=len(tasks), references=f"reference solutions were not run: {error}", faults=())
    try:
        return await _with_references(benchmark, tasks, sandbox, most)
    finally:
        await sandbox.aclose()


async def _with_references(
    benchmark: CodeBenchmark[Any, Any], tasks: Sequence[CodeTask], sandbox: Sandbox, most: int
) -> SelfChecked:
    found = await references(benchmark, tasks, sandbox, most=most)
    drawn = "" if found.run == found.of else f" drawn from {found.of}"
    words = f"{found.run - len(found.failed)} of {found.run} reference solutions{drawn} pass"
    return SelfChecked(tasks=len(tasks), references=words, faults=found.failed)


@contextmanager
def _offline() -> Iterator[None]:
    before = os.environ.get("ASSAY_OFFLINE")
    os.environ["ASSAY_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["ASSAY_OFFLINE"]
        else:
            os.environ["ASSAY_OFFLINE"] = before
