"""The verdict `guarded`, for tests that build objects of a class which the program under test defines.

Such arguments cannot cross between processes, so code beside the program builds them and makes the calls in its process.
Expected values stay here all the same: what a call returned is compared in green, as in `pairs`, and there is no verdict in
that process to forge. Source: code-and-math specification 5, `guarded`; it asks for less, a verdict pipe opened late.
"""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.execution import CallArguments, Calls, JobResult, Limits
from services.contract.values import encode
from services.green_agent.scoring.code import programs
from services.green_agent.scoring.code.assertions import Pairs, take_apart
from services.green_agent.scoring.code.verdicts import Cells, Verdict, faults_of, told_faults

CASE: Final = "_assay_case"
"""Function beside the program that makes one of the calls."""
MODULES: Final = frozenset({"gc", "ctypes", "_ctypes", "inspect", "fcntl", "mmap"})
ATTRIBUTES: Final = frozenset(
    {"_getframe", "_current_frames", "f_back", "f_locals", "f_globals", "tb_frame", "gi_frame", "cr_frame", "ag_frame"}
)
DESCRIPTORS: Final = frozenset({"fdopen", "dup", "dup2", "pipe", "read", "write", "pread", "pwrite", "closerange"})
"""Functions of `os`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Guarded:
    """A test whose calls are made beside the program."""

    beside: str
    """Source that follows the program: set-up and the calls."""
    pairs: Pairs
    """Its calls carry the number of the case."""


def take_apart_beside(statements: Sequence[ast.stmt], *, set_up: str, callee: str) -> Guarded:
    """The calls of a test as source and its assertions. Raises NotPairs when it cannot be taken apart."""
    calls: list[str] = []

    def record(call: ast.Call) -> CallArguments:
        calls.append(ast.unparse(call))
        return CallArguments(args=[encode(len(calls) - 1)])

    pairs = take_apart(statements, callee=callee, arguments=record)
    cases = "".join(f"    lambda: {call},\n" for call in calls)
    return Guarded(beside=f"{set_up}\n\ndef {CASE}(number):\n    return [\n{cases}    ][number]()\n", pairs=pairs)


async def verdict_by_guard(cells: Cells, guarded: Guarded, *, source: str, limits: Limits | None = None) -> Verdict:
    """Make the calls beside the program and judge the assertions; all count as one unit. Raises SandboxError."""
    if found := await asyncio.to_thread(touched, source):
        fault = f"the program uses {found}, which programs of this task may not"
        return Verdict(method="guarded", passed=0, total=1, faults=(fault,), job=JobResult())
    job = await cells.run(
        Calls(
            source=f"{source}\n\n{guarded.beside}",
            entry_point=CASE,
            calls=list(guarded.pairs.calls),
            limits=limits or Limits(),
        )
    )
    faults = await asyncio.to_thread(faults_of, guarded.pairs.assertions, job)
    return Verdict(
        method="guarded",
        passed=int(not any(faults)),
        total=1,
        faults=tuple(told_faults(faults)),
        job=job,
    )


def touched(source: str) -> str:
    """What a program touches of the process it runs in: frames, the collector, memory, descriptors; empty for nothing.

    A second line of defence, and one of words: a name can be hidden from it.
    """
    tree = programs.parse(source)
    return next((name for node in ast.walk(tree) for name in _touched(node)), "") if tree is not None else ""


def _touched(node: ast.AST) -> Iterable[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.partition(".")[0] in MODULES]
    if isinstance(node, ast.ImportFrom):
        names = [f"os.{alias.name}" for alias in node.names if node.module == "os" and alias.name in DESCRIPTORS]
        return [str(node.module)] if str(node.module).partition(".")[0] in MODULES else names
    if isinstance(node, ast.Attribute):
        of_os = isinstance(node.value, ast.Name) and node.value.id == "os" and node.attr in DESCRIPTORS
        return [f"os.{node.attr}"] if of_os else [node.attr] if node.attr in ATTRIBUTES else []
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value] if node.value in MODULES | ATTRIBUTES else []
    return []
