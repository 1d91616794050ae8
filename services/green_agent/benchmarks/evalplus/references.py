"""What the published solutions return: worked out in cells of their own, once, and kept in memory by digest."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import WeakValueDictionary

from pydantic import TypeAdapter

from services.contract.execution import CallArguments, CallResult, CallStatus, Limits
from services.contract.values import MalformedValue, Unencodable, decode, encode
from services.green_agent.scoring.code.calling import run_calls
from services.green_agent.scoring.code.plus import Check, holds
from services.green_agent.scoring.code.verdicts import Cells

LIMITS: Final = Limits(call_cpu_s=3.0)
"""Half the time of a candidate's call, so that a right program has time for every input that is kept."""
CPU_S: Final = 300.0

_RESULTS: Final = TypeAdapter(list[CallResult])


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """A published solution, the inputs it is asked and how its outputs are compared."""

    digest: str
    source: str
    entry_point: str
    inputs: Sequence[Sequence[Any]]
    """Positional arguments."""
    check: Check
    atol: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """The inputs that tell right from wrong, and what is right."""

    judged: tuple[int, ...]
    """Indices of inputs. Left out are those on which the solution did not return in time, or returned what cannot cross
    or what its own check refuses, such as NaN."""
    outputs: tuple[CallResult, ...]
    """Of the judged inputs."""


class References:
    """Measures by digest. Outputs of one task take megabytes, most of them the same few values: they are kept packed."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}
        self._at_work: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def measure(self, cells: Cells, solution: Solution) -> Measure:
        """The measure of a task; concurrent callers wait for the first. Raises SandboxError."""
        lock = self._at_work.setdefault(solution.digest, asyncio.Lock())
        async with lock:
            if solution.digest not in self._kept:
                ran = await run_calls(
                    cells,
                    source=solution.source,
                    entry_point=solution.entry_point,
                    calls=await asyncio.to_thread(calls_of, solution.inputs),
                    limits=LIMITS,
                    cpu_s=CPU_S,
                    ends=len(solution.inputs),
                )
                self._kept[solution.digest] = await asyncio.to_thread(_packed, solution, ran.results)
        return await asyncio.to_thread(_unpacked, self._kept[solution.digest])


def calls_of(inputs: Sequence[Sequence[Any]]) -> list[CallArguments]:
    """The inputs as a job takes them."""
    return [CallArguments(args=[encode(argument) for argument in arguments]) for arguments in inputs]


def output(result: CallResult) -> Any:
    """What a call returned, in plain builtins."""
    try:
        return decode(result.value)
    except MalformedValue:
        return Unencodable("malformed value")


def _packed(solution: Solution, results: Sequence[CallResult]) -> bytes:
    judged = [index for index, result in enumerate(results) if _tells(solution, solution.inputs[index], result)]
    outputs = [results[index].model_dump(mode="json") for index in judged]
    return zlib.compress(json.dumps([judged, outputs]).encode(), 1)


def _tells(solution: Solution, arguments: Sequence[Any], result: CallResult) -> bool:
    # Decoded twice: a container holding one and the same NaN would be equal to itself.
    return result.status is CallStatus.RETURNED and holds(
        solution.check, arguments, output(result), output(result), solution.atol
    )


def _unpacked(packed: bytes) -> Measure:
    judged, outputs = json.loads(zlib.decompress(packed))
    return Measure(judged=tuple(judged), outputs=tuple(_RESULTS.validate_python(outputs)))
