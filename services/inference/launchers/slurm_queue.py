"""What SLURM says about jobs: squeue for those that wait or run, `scontrol show job` for those that ended.

sacct is not asked, since accounting may be off. SLURM forgets ended jobs after MinJobAge, so what was seen once is kept.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.inference.failures import InferenceError, UsageError
from services.inference.launchers.base import State

QUEUE_FORMAT: Final = "%i|%T|%r|%j"
WAITING: Final = frozenset({"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT"})
WELL_ENDED: Final = frozenset({"COMPLETED", "CANCELLED", "REVOKED"})
BADLY_ENDED: Final = frozenset(
    {"FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE", "PREEMPTED", "LAUNCH_FAILED"}
)
"""All else runs: RUNNING, SUSPENDED, and COMPLETING, in which the script may still be writing its last line."""
FORGOTTEN: Final = "forgotten"
"""A state of ours: SLURM does not know the job any more, and how it ended nobody saw."""
NEVER: Final = frozenset(
    {
        "AccountNotAllowed",
        "AssocGrpBillingMinutes",
        "BadConstraints",
        "DependencyNeverSatisfied",
        "InvalidAccount",
        "InvalidQOS",
        "JobArrayTaskLimitInvalid",
        "JobHoldMaxRequeue",
        "JobLaunchFailure",
        "NodeNotAvail",
        "PartitionConfig",
        "PartitionNodeLimit",
        "PartitionTimeLimit",
        "QOSMinCpuNotSatisfied",
        "QOSMinGRES",
        "QOSMinMemory",
        "QOSNotAllowed",
        "launch failed requeued held",
    }
)
"""Reasons for which a job waits until somebody changes it; besides these, limits on a single job (`…PerJob…`)."""
_REMEDIES: Final = {
    "PartitionConfig": "no node of the partition has what was asked for: --gpus-per-node, --cpus-per-task, --mem or --partition",
    "BadConstraints": "no node has what was asked for: --gpus-per-node, --cpus-per-task, --mem or --constraint",
    "PartitionNodeLimit": "the partition is too small or drained: --partition",
    "PartitionTimeLimit": "the partition allows less: --time",
}
_WARNING_S: Final = 125
"""The script is told 60 s before the limit, and SLURM's clock may be another 60 s early."""
_TIMEOUT_S: Final = 30.0
_SEEN: Final[dict[str, Job]] = {}
"""Of this process: launchers come and go while it waits, and SLURM would forget in between."""


class SlurmError(InferenceError):
    """A command of SLURM failed. What it did not say about jobs stays unknown: nothing is called lost then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One job, or one task of an array."""

    id: str
    state: str
    """SLURM's word, such as RUNNING, or FORGOTTEN."""
    reason: str = ""
    name: str = ""
    exit_code: int | None = None
    """Of an ended one; 128 + n after signal n."""
    stderr: str | None = None
    """File of an ended one, as SLURM knows it; `%N` stands for the node."""
    at_limit: bool = False
    """It ended when its time was nearly up."""

    @property
    def waits_for_ever(self) -> bool:
        """It will not start until somebody changes it."""
        return self.state == "PENDING" and (self.reason in NEVER or "PerJob" in self.reason)

    @property
    def over(self) -> bool:
        """It does not run, and will not run."""
        return self.state in WELL_ENDED | BADLY_ENDED | {FORGOTTEN}

    @property
    def standing(self) -> State:
        """As launchers say it."""
        if self.waits_for_ever or self.state in BADLY_ENDED:
            return "failed"
        if self.state == FORGOTTEN:
            return "lost"
        if self.state in WELL_ENDED:
            return "stopped"
        return "starting" if self.state in WAITING else "running"

    def explained(self) -> str:
        """A sentence: what became of it, and the remedy where one is known."""
        if self.waits_for_ever:
            remedy = _REMEDIES.get(self.reason, "change what was asked for, or ask who runs the cluster")
            return f"SLURM job {self.id} is PENDING for {self.reason}, which never ends: {remedy}"
        if self.state == FORGOTTEN:
            return f"SLURM does not know job {self.id} any more"
        if self.at_limit:
            return f"SLURM job {self.id} came to its time limit ({self.state}): --time allows more"
        code = f", exit code {self.exit_code}" if self.exit_code else ""
        why = f" for {self.reason}" if self.reason not in {"", "None", "NonZeroExitCode"} else ""
        return f"SLURM job {self.id} is {self.state}{why}{code}"


async def jobs(ids: Sequence[str]) -> Mapping[str, Job]:
    """What has become of each. Raises SlurmError when SLURM gives no answer, UsageError when it is not installed here."""
    # A list of ids would be refused whole for one that is forgotten, so all are listed.
    listed = listed_jobs(await slurm("squeue", "--noheader", "--all", "--array", f"--format={QUEUE_FORMAT}"))
    for job_id in dict.fromkeys(ids):
        known = _SEEN.get(job_id)
        if known is None or not known.over:
            _SEEN[job_id] = listed.get(job_id) or await _shown(job_id) or Job(id=job_id, state=FORGOTTEN)
    return {job_id: _SEEN[job_id] for job_id in ids}


def seen(job_id: str) -> Job | None:
    """What `jobs` found last."""
    return _SEEN.get(job_id)


def listed_jobs(text: str) -> dict[str, Job]:
    """Jobs by id, of squeue's output in QUEUE_FORMAT."""
    rows = [line.split("|", 3) for line in text.splitlines()]
    return {row[0]: Job(id=row[0], state=row[1], reason=row[2], name=row[3]) for row in rows if len(row) == 4}


def shown_job(job_id: str, text: str) -> Job:
    """A job, of what `scontrol show job` prints over several lines."""
    code, _, number = _value(text, "ExitCode", "0:0").partition(":")
    state = _value(text, "JobState", "UNKNOWN")
    exit_code = int(code or 0) or (128 + int(number) if int(number or 0) else 0)
    left = _seconds(_value(text, "TimeLimit", "")) - _seconds(_value(text, "RunTime", ""))
    warned = state == "FAILED" and exit_code == 143 and left <= _WARNING_S
    return Job(
        id=job_id,
        state=state,
        reason=_value(text, "Reason", ""),
        name=_line(text, "JobName") or "",
        exit_code=exit_code,
        stderr=_line(text, "StdErr"),
        at_limit=state == "TIMEOUT" or warned,
    )


async def slurm(*command: str, text: str = "") -> str:
    """Standard output of one of SLURM's commands. Raises SlurmError with what it said, UsageError without such a command."""
    code, out, said = await _run(command, text)
    if code:
        raise SlurmError(_named(command[0], said or f"exit code {code}"))
    return out


async def _run(command: Sequence[str], text: str) -> tuple[int, str, str]:
    try:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except FileNotFoundError as error:
        raise UsageError(
            f"{command[0]} is not on PATH: SLURM jobs are started and watched from a submit host"
        ) from error
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            out, err = await child.communicate(text.encode("utf-8", "surrogateescape"))
    except TimeoutError as error:
        raise SlurmError(
            f"{command[0]} gave no answer within {_TIMEOUT_S:g} s: is slurmctld up? (scontrol ping)"
        ) from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return child.returncode or 0, out.decode(errors="replace"), " ".join(err.decode(errors="replace").split())


async def _shown(job_id: str) -> Job | None:
    """An ended job; None when SLURM does not know it."""
    code, out, said = await _run(("scontrol", "show", "job", job_id), "")
    # The second is said, on standard output, of a task of an array that is known.
    if code and ("Invalid job id" in said or "not found" in out):
        return None
    if code:
        raise SlurmError(_named("scontrol", said or f"exit code {code}"))
    return shown_job(job_id, out)


def _named(program: str, said: str) -> str:
    return said if said.startswith(program) else f"{program}: {said}"


def _value(text: str, key: str, default: str) -> str:
    found = re.search(rf"(?:^|\s){key}=(\S*)", text)
    return found[1] if found else default


def _line(text: str, key: str) -> str | None:
    """A value that may hold blanks, and stands last in its line."""
    found = re.search(rf"(?:^|\s){key}=([^\n]*)", text)
    return found[1].strip() if found else None


def _seconds(text: str) -> float:
    """Of `[DAYS-]HH:MM:SS`; without a limit for ever."""
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d+):(\d+)", text)
    if found is None:
        return float("inf") if text in {"UNLIMITED", "Partition_Limit"} else 0.0
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds).total_seconds()
