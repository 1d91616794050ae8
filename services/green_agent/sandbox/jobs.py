"""Jobs to cells, and the ends of cells to results. Pure; everything a cell says is taken for a claim and checked."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import signal
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import islice
from typing import Any, Final, assert_never

from pydantic import JsonValue, ValidationError

from services.contract.execution import (
    Build,
    Built,
    CallResult,
    Calls,
    CallStatus,
    Ended,
    Executable,
    Interactive,
    Job,
    JobResult,
    LimitHit,
    Limits,
    Program,
    SandboxError,
    Split,
)
from services.contract.values import MalformedValue, decode
from services.green_agent.sandbox import compiler
from services.green_agent.sandbox.launch import View
from services.green_agent.sandbox.supervision import Ending

TEXT_LENGTH: Final = 2000
OUTPUT_LENGTH: Final = 4000
"""Of what a compiler says."""
SPARE_FRAMES: Final = 16
"""Frames a cell may send beside one per call."""
SAME_TIME_S: Final = 0.5
"""Two cells that end so close to each other ended together: a watcher reads its clock every 50 ms."""
TIME_LIMITS: Final = frozenset({LimitHit.CPU, LimitHit.WALL})
UNREADABLE: Final[JsonValue] = ["unencodable", "malformed value"]


class Link(Enum):
    """How the cells of a job are joined."""

    NONE = "none"
    PEERS = "peers"
    """A line of their own, beside their streams."""
    CROSSED = "crossed"
    """Each one's output is the other's input."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CellPlan:
    """What one cell is given."""

    payload: dict[str, Any]
    """JSON object for `cell.harness.run`."""
    stdin: str = ""
    binary: bytes | None = None
    """What the cell executes; None for a program in Python."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The cells of a job; the last one decides when the job ends."""

    cells: list[CellPlan]
    limits: Limits
    """Of each cell."""
    link: Link = Link.NONE
    view: View = View.RUN


@dataclass(frozen=True, kw_only=True, slots=True)
class Binary:
    """What building gave."""

    built: Built
    content: bytes = b""
    """The executable file; empty when there is none."""


Binaries = Sequence[Binary | None]
"""What was built of the `parts` of a job, in their order; None for Python."""


def digest(program: Executable) -> str:
    """Name of what building the program gives: the same text in the same words to the compiler."""
    words = [*compiler.command(compiler.executable()), compiler.version(), program.source]
    words += [part for name in sorted(program.headers) for part in (name, program.headers[name])]
    hashed = hashlib.sha256()
    for word in words:
        data = word.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "big") + data)
    return hashed.hexdigest()


def parts(job: Job) -> list[Executable]:
    """The programs of a job that may have to be built; the one that is judged comes last."""
    if isinstance(job, Interactive):
        return [job.interactor, job.program]
    return [job] if isinstance(job, Program | Build) else []


def building(program: Executable, limits: Limits) -> Work:
    """The work of building a C++ program. Raises SandboxError where there is no compiler."""
    command = compiler.command(compiler.required())
    files = {**program.headers, compiler.SOURCE: program.source}
    cell = _cell("build", command=command, output=compiler.BINARY, files=files)
    return Work(cells=[cell], limits=limits, view=View.BUILD)


def binary(work: Work, endings: list[Ending]) -> Binary:
    """What building gave, as its cell tells."""
    (cell,), (ending,) = work.cells, endings
    frames = _frames(ending.result, cell.payload["nonce"], SPARE_FRAMES)
    content = b64decode(next((frame["binary"] for frame in frames if "binary" in frame), ""))
    ok = bool(content) and ending.exit_status == 0 and ending.limit is None
    output = (ending.stderr + ending.stdout).decode(errors="replace")
    built = Built(
        ok=ok,
        output=output[:OUTPUT_LENGTH],
        limit=ending.limit,
        cpu_s=ending.cpu_s,
        command=" ".join(compiler.command()),
    )
    return Binary(built=built, content=content if ok else b"")


def plan(job: Calls | Split | Program | Interactive, binaries: Binaries) -> Work:
    """The work of a job whose `parts` gave `binaries`, all of them built well."""
    match job:
        case Calls():
            calls = [call.model_dump(mode="json") for call in job.calls]
            cell = _cell("calls", source=job.source, entry_point=job.entry_point, calls=calls)
            return Work(cells=[cell], limits=job.limits)
        case Program():
            cell = _program(job, binaries[-1], arguments=job.arguments, files=job.files, stdin=job.stdin)
            return Work(cells=[cell], limits=job.limits)
        case Interactive():
            candidate = _program(job.program, binaries[-1])
            interactor = _program(
                job.interactor, binaries[0], arguments=job.arguments, files=job.files, outlives_reader=True
            )
            return Work(cells=[candidate, interactor], limits=job.limits, link=Link.CROSSED)
        case Split():
            candidate = _cell("candidate", source=job.source, entry_point=job.entry_point)
            test = _cell("test", source=job.test_source, entry_point=job.entry_point, seed=job.seed)
            return Work(cells=[candidate, test], limits=job.limits, link=Link.PEERS)
        case _:
            assert_never(job)


def _cell(role: str, *, stdin: str = "", content: bytes | None = None, **payload: Any) -> CellPlan:
    nonce = secrets.token_hex(16)
    return CellPlan(payload={"role": role, "nonce": nonce, **payload}, stdin=stdin, binary=content)


def _program(
    program: Executable,
    made: Binary | None,
    *,
    arguments: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
    stdin: str = "",
    outlives_reader: bool = False,
) -> CellPlan:
    """`outlives_reader`: it goes on when nobody reads what it writes, so that it can say what it thinks of that."""
    own: dict[str, Any] = {"arguments": list(arguments), "files": dict(files or {})}
    if made is not None:
        return _cell("binary", stdin=stdin, content=made.content, outlives_reader=outlives_reader, **own)
    return _cell("program", stdin=stdin, source=program.source, **own)


def result(job: Calls | Split | Program | Interactive, work: Work, endings: list[Ending], *, backend: str) -> JobResult:
    """The result of a job whose cells ended as `endings` say. Raises SandboxError when a binary was not executed."""
    most = SPARE_FRAMES + (len(job.calls) if isinstance(job, Calls) else 0)
    pairs = zip(work.cells, endings, strict=True)
    frames = [_frames(ending.result, cell.payload["nonce"], most) for cell, ending in pairs]
    memory_bytes = work.limits.memory_bytes
    endings = [_explained(*told, memory_bytes) for told in zip(work.cells, endings, frames, strict=True)]
    common = _common(endings, frames) | {"backend": backend}
    match job:
        case Calls():
            return JobResult(calls=_call_results(len(job.calls), frames[0], endings[0]), **common)
        case Split():
            passed = {"passed": True} in frames[1] and endings[1].exit_status == 0 and common["limit"] is None
            return JobResult(passed=passed, **common)
        case Program():
            return JobResult(**common)
        case Interactive():
            return _interaction(endings, frames, backend)
        case _:
            assert_never(job)


def _explained(cell: CellPlan, ending: Ending, frames: list[dict[str, Any]], memory_bytes: int) -> Ending:
    """The ending of a whole program, with the memory limit named where the kernel or the program itself held it."""
    refused = next((frame["refused"] for frame in frames if "refused" in frame), None)
    if cell.binary is not None and refused is not None:
        raise SandboxError(f"a program that was built could not be executed: {refused}")
    if ending.limit is not None or cell.payload["role"] not in {"program", "binary"}:
        return ending
    short = any(str(frame.get("error")).startswith("MemoryError") for frame in frames)
    short |= cell.binary is not None and _ran_short(cell.binary, ending, memory_bytes)
    return replace(ending, limit=LimitHit.MEMORY) if short else ending


def _ran_short(binary: bytes, ending: Ending, memory_bytes: int) -> bool:
    """True when an executed program ended for want of memory: refused by its library, or too large for its limit."""
    if ending.exit_status == -signal.SIGABRT:
        return b"std::bad_alloc" in ending.stderr
    too_large = compiler.loaded_bytes(binary) > memory_bytes
    return ending.exit_status == -signal.SIGKILL or (ending.exit_status == -signal.SIGSEGV and too_large)


def _interaction(endings: list[Ending], frames: list[list[dict[str, Any]]], backend: str) -> JobResult:
    program, interactor = endings
    together = interactor.wall_s - program.wall_s < SAME_TIME_S
    if interactor.limit is LimitHit.WALL and program.limit is None and together:
        # Each waited for the other; which clock was read first says nothing.
        program = replace(program, limit=LimitHit.WALL)
    ended = Ended(
        exit_status=interactor.exit_status,
        limit=interactor.limit,
        stderr=interactor.stderr.decode(errors="replace"),
        cpu_s=interactor.cpu_s,
        wall_s=interactor.wall_s,
    )
    return JobResult(interactor=ended, backend=backend, **_common([program], frames[:1]))


def _common(endings: list[Ending], frames: list[list[dict[str, Any]]]) -> dict[str, Any]:
    last = endings[-1]
    errors = [str(frame["error"]) for lines in frames for frame in lines if "error" in frame]
    return {
        "error": _text(errors[0] if errors else "")[:TEXT_LENGTH],
        "exit_status": last.exit_status,
        "limit": limit_hit(endings),
        "cpu_s": sum(ending.cpu_s for ending in endings),
        "wall_s": max(ending.wall_s for ending in endings),
        "peak_memory_bytes": max(ending.peak_memory_bytes for ending in endings),
        "stdout": last.stdout.decode(errors="replace"),
        "stderr": last.stderr.decode(errors="replace"),
        "truncated": any(ending.truncated for ending in endings),
    }


def limit_hit(endings: Sequence[Ending]) -> LimitHit | None:
    """The first limit that stopped a cell."""
    return next((ending.limit for ending in endings if ending.limit is not None), None)


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
