"""What is told about a server that did not start or that died: the cause if it is known, the plan, the end of its log."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.inference.engines.faults import fault
from services.inference.engines.log import stage
from services.inference.failures import NotReadyError, StartError
from services.inference.launchers.base import Server
from services.inference.planning.planner import Plan
from services.inference.planning.showing import as_text
from services.inference.servers.readiness import Readiness

TAIL_LINES: Final = 40
_LAST_BYTES: Final = 256 * 1024
_MEANINGS: Final = {
    137: " (killed, as by the machine when memory runs out)",
    143: " (told to, as by `inference down`)",
}


def died(server: Server, code: int, *, when: str, plan: Plan | None = None) -> StartError:
    """The error for a process that has ended."""
    head = f"the server on port {server.port} {when} with exit code {code}{_MEANINGS.get(code, '')}"
    return StartError("\n".join([head, *_story(server, plan)]))


def overdue(server: Server, timeout_s: float, seen: Readiness | None, *, plan: Plan) -> NotReadyError:
    """The error for a server whose time was over."""
    state = seen.problem if seen is not None else "it lives, and does not listen yet"
    head = f"the server on port {server.port} was not ready within {timeout_s:g} s (--server-timeout): {state}"
    return NotReadyError("\n".join([head, *_story(server, plan)]))


def stranger(server: Server, what: str) -> StartError:
    """The error for a port on which not our server, or not our model, answers."""
    return StartError(f"{what}\nlog {server.log}, last lines:\n{tail_of(server.log)}")


def last_text(path: Path | None) -> str:
    """The end of a log, enough for every cause that engines write."""
    if path is None or not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        return file.read().decode(errors="replace")


def tail_of(path: Path | None) -> str:
    """The last 40 lines."""
    return _lines(last_text(path))


def _story(server: Server, plan: Plan | None) -> list[str]:
    # Engines log to standard output and die on standard error.
    text = _output(server) + last_text(server.log)
    story = [f"stage reached: {stage(text)}"] if plan is not None else []
    if (known := fault(text)) is not None:
        story += [f"cause: {known.cause}", f"remedy: {known.remedy}"]
    if plan is not None and server.engine != "reference":
        story.append(as_text(plan))
    return [*story, f"log {server.log}, last lines:", tail_of(server.log) or _lines(_output(server))]


def _output(server: Server) -> str:
    return last_text(server.log.with_suffix(".out")) if server.log is not None else ""


def _lines(text: str) -> str:
    return "\n".join(text.splitlines()[-TAIL_LINES:])
