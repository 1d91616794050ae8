"""Jobs to cells, and the ends of cells to results. Pure; everything a cell says is taken for a claim and checked."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, assert_never

from pydantic import JsonValue, ValidationError

from services.contract.execution import (
    CallResult,
    Calls,
    CallStatus,
    Job,
    JobResult,
    LimitHit,
    Program,
    Split,
)
from services.contract.values import MalformedValue, decode
from services.green_agent.sandbox.supervision import Ending

TEXT_LENGTH: Final = 2000
SPARE_FRAMES: Final = 16
"""Frames a cell may send beside one per call."""
TIME_LIMITS: Final = frozenset({LimitHit.CPU, LimitHit.WALL})
UNREADABLE: Final[JsonValue] = ["unencodable", "malformed value"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPlan:
    """What one cell is given."""

    payload: dict[str, Any]
    """JSON object for `cell.harness.run`."""
    stdin: str = ""


def plan(job: Job) -> list[CellPlan]:
    """The cells of a job; the last one decides when the job ends."""
    if isinstance(job, Calls):
        calls = [call.model_dump(mode="json") for call in job.calls]
        return [_cell("calls", source=job.source, entry_point=job.entry_point, calls=calls)]
    if isinstance(job, Program):
        return [_cell("program", job.stdin, source=job.source)]
    return [
        _cell("candidate", source=job.source, entry_point=job.entry_point),
        _cell("test", source=job.test_source, entry_point=job.entry_point, seed=job.seed),
    ]


def _cell(role: str, stdin: str = "", **payload: Any) -> CellPlan:
    return CellPlan(payload={"role": role, "nonce": secrets.token_hex(16), **payload}, stdin=stdin)


def result(job: Job, cells: list[CellPlan], endings: list[Ending], *, backend: str) -> JobResult:
    """The result of a job whose `cells` ended as `endings` say."""
    most = SPARE_FRAMES + (len(job.calls) if isinstance(job, Calls) else 0)
    frames = [_frames(ending.result, cell.payload["nonce"], most) for cell, ending in zip(cells, endings, strict=True)]
    common = _common(endings, frames) | {"backend": backend}
    match job:
        case Calls():
            return JobResult(calls=_call_results(len(job.calls), frames[0], endings[0]), **common)
        case Split():
            passed = {"passed": True} in frames[1] and endings[1].exit_status == 0 and common["limit"] is None
            return JobResult(passed=passed, **common)
        case Program():
            if common["error"].startswith("MemoryError") and common["limit"] is None:
                common["limit"] = LimitHit.MEMORY
            return JobResult(**common)
        case _:
            assert_never(job)


def _common(endings: list[Ending], frames: list[list[dict[str, Any]]]) -> dict[str, Any]:
    last = endings[-1]
    errors = [str(frame["error"]) for lines in frames for frame in lines if "error" in frame]
    return {
        "error": _text(errors[0] if errors else "")[:TEXT_LENGTH],
        "exit_status": last.exit_status,
        "limit": next((ending.limit for ending in endings if ending.limit is not None), None),
        "cpu_s": sum(ending.cpu_s for ending in endings),
        "wall_s": max(ending.wall_s for ending in endings),
        "peak_memory_bytes": max(ending.peak_memory_bytes for ending in endings),
        "stdout": last.stdout.decode(errors="replace"),
        "stderr": last.stderr.decode(errors="replace"),
        "truncated": any(ending.truncated for ending in endings),
    }


def _frames(data: bytes, nonce: str, most: int) -> list[dict[str, Any]]:
    """The first `most` frames; more than a job has use for are none of the harness's."""
    return list(islice(_parsed(data, nonce), most))


def _parsed(data: bytes, nonce: str) -> Iterator[dict[str, Any]]:
    for line in re.finditer(rb"^%b (.*)$" % nonce.encode(), data, re.MULTILINE):
        try:
            frame = json.loads(line[1])
        except (ValueError, RecursionError):
            continue
        if isinstance(frame, dict):
            yield frame


def _call_results(count: int, frames: list[dict[str, Any]], ending: Ending) -> list[CallResult]:
    results: list[CallResult] = []
    for frame in frames:
        # In order and once each: a frame for another call than the next is none of ours.
        if len(results) < count and frame.get("call") == len(results):
            results.append(_call_result(frame))
    timed_out = {"loaded": True} in frames and ending.limit in TIME_LIMITS
    if timed_out and len(results) < count:
        results.append(CallResult(status=CallStatus.TIMEOUT))
    return results + [CallResult(status=CallStatus.NOT_RUN)] * (count - len(results))


def _call_result(frame: dict[str, Any]) -> CallResult:
    fields = {name: frame[name] for name in ("status", "value", "exception") if name in frame}
    try:
        decode(fields.get("value"))
        return CallResult.model_validate(fields | {"exception": _text(fields.get("exception", ""))[:TEXT_LENGTH]})
    except (MalformedValue, ValidationError):
        return CallResult(status=CallStatus.RETURNED, value=UNREADABLE)


def _text(value: object) -> str:
    """Text that every encoder accepts: a forged frame may hold lone surrogates."""
    return str(value).encode("utf-8", "backslashreplace").decode()
