"""`--submit`: the very command that was typed, as a batch job of SLURM."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.runner.evaluate.asked import Asked
from services.runner.failures import RunnerError, ScenarioError

JOB_NAME: Final = "assay-evaluate"
_WARNING_S: Final = 120
"""Before the job's time limit: enough to stop in order and to end what was launched."""
_FLAGS: Final = frozenset({"--submit", "--dry-run"})
_OPTION: Final = "--sbatch-arg"


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """What is given to SLURM."""

    command: tuple[str, ...]
    """sbatch and its options."""
    script: str
    output: str
    """File of what the job prints; `%j` stands for its number."""

    def as_text(self) -> str:
        """As one would type it."""
        return f"{shlex.join(self.command)} <<'END_OF_SCRIPT'\n{self.script}END_OF_SCRIPT"


def submission(asked: Asked, argv: Sequence[str]) -> Submission:
    """The job for the command line `argv`, program first. Later options of sbatch win, so `--sbatch-arg` has the last word."""
    program, *words = argv
    output = str(asked.output_dir.absolute()).replace("%", "%%") + "/evaluate_%j.out"
    command = (
        *("sbatch", "--parsable", f"--job-name={JOB_NAME}", f"--output={output}", f"--chdir={Path.cwd()}"),
        *("--no-requeue", "--ntasks=1", f"--signal=B:TERM@{_WARNING_S}", *asked.sbatch_args),
    )
    # exec: the signal before the time limit goes to the batch shell alone.
    script = f"#!/bin/bash\nexec {shlex.join([str(Path(program).absolute()), *_without_submission(words)])}\n"
    return Submission(command=command, script=script, output=output)


def require_sbatch() -> None:
    """Raises ScenarioError where no job can be submitted."""
    if shutil.which("sbatch") is None:
        raise ScenarioError(
            "--submit: sbatch is not on PATH: submit from a submit host of SLURM, or leave --submit out"
        )


async def submit(asked: Asked, wanted: Submission) -> str:
    """Submit; returns the number of the job. Raises RunnerError with the words of sbatch."""
    asked.output_dir.mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(*wanted.command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate(wanted.script.encode("utf-8", "surrogateescape"))
    if process.returncode:
        raise RunnerError(f"--submit: SLURM refused the job: {' '.join(err.decode(errors='replace').split())}")
    return out.decode().partition(";")[0].strip()


def _without_submission(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    following = iter(words)
    for word in following:
        if word == _OPTION:
            next(following, None)
        elif word not in _FLAGS and not word.startswith(f"{_OPTION}="):
            kept.append(word)
    return kept
