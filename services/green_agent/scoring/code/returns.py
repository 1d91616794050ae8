"""Verdicts on functions whose expected results are plain data beside the arguments, as in the call mode of APPS.

The calls run in the sandbox, the results are compared here. Source: code-and-math specification 5, `pairs`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from services.contract.execution import CallArguments, CallResult, Calls, CallStatus, JobResult, Limits
from services.contract.values import MalformedValue, decode, encode
from services.green_agent.scoring.code.verdicts import Cells, Verdict

_INTEGER: Final = re.compile("-?[0-9]{1,1000}")
_FAULTS: Final = {
    CallStatus.RAISED: "the call raised an exception",
    CallStatus.TIMEOUT: "the call ran out of time",
    CallStatus.NOT_RUN: "the call did not run",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """Positional arguments and what the call must return, as JSON holds them."""

    args: Sequence[JsonValue]
    expected: JsonValue


async def verdict_by_returns(
    cells: Cells, calls: Sequence[Call], *, source: str, entry_point: str, limits: Limits | None = None
) -> Verdict:
    """Run the calls on the program and judge each result; each call is one unit. Raises SandboxError."""
    arguments = await asyncio.to_thread(_encoded, calls)
    job = await cells.run(Calls(source=source, entry_point=entry_point, calls=arguments, limits=limits or Limits()))
    faults = await asyncio.to_thread(_faults, calls, job)
    return Verdict(
        method="pairs",
        passed=faults.count(""),
        total=len(calls),
        faults=tuple(
            f"call {number} of {len(calls)}: {fault}" for number, fault in enumerate(faults, start=1) if fault
        ),
        job=job.model_copy(update={"calls": []}),
        timed_out=any(result.status is CallStatus.TIMEOUT for result in job.calls),
    )


def accepts(value: object, expected: JsonValue) -> bool:
    """Whether `value` is the expected result.

    Tuples count as lists, since JSON has no other. A list of one may stand for its element: some rows of APPS wrap what is
    returned and some do not, and none says so. Numbers have no tolerance.
    """
    ours, theirs = _listed(value), _integer_keys(expected)
    if _same(ours, theirs):
        return True
    return isinstance(theirs, list) and len(theirs) == 1 and _same(ours, theirs[0])


def _encoded(calls: Sequence[Call]) -> list[CallArguments]:
    return [CallArguments(args=[encode(_integer_keys(value)) for value in call.args]) for call in calls]


def _faults(calls: Sequence[Call], job: JobResult) -> list[str]:
    results = [*job.calls, *[CallResult(status=CallStatus.NOT_RUN)] * (len(calls) - len(job.calls))]
    return [_fault(call, result) for call, result in zip(calls, results, strict=True)]


def _fault(call: Call, result: CallResult) -> str:
    """Why the result is not the expected one; empty when it is."""
    if result.status is not CallStatus.RETURNED:
        return _FAULTS[result.status]
    try:
        value = decode(result.value)
    except MalformedValue:
        return "the returned value is malformed"
    return "" if accepts(value, call.expected) else "the result differs"


def _same(ours: object, theirs: object) -> bool:
    try:
        return bool(ours == theirs)
    except ArithmeticError:  # a signalling NaN compares with nothing
        return False


def _listed(value: object) -> object:
    """The value with lists in place of tuples; values nest at most 100 deep."""
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value


def _integer_keys(value: JsonValue) -> object:
    """A mapping whose keys are all whole numbers in text has them as numbers: JSON cannot say so."""
    if isinstance(value, dict) and value and all(_INTEGER.fullmatch(key) for key in value):
        return {int(key): item for key, item in value.items()}
    return value
