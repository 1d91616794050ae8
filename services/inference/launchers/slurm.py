"""Servers as SLURM jobs: one script for all of a launch, a job array when there are several.

The jobs write the registry themselves (`slurm_job.sh`), because only they know their node and port.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from services.inference.engines.environment import is_local
from services.inference.engines.registry import engine
from services.inference.failures import StartError, UsageError
from services.inference.launchers.base import Launch, Server, State
from services.inference.launchers.foretold import Foretold
from services.inference.launchers.slurm_options import SlurmOptions
from services.inference.launchers.slurm_queue import Job, SlurmError, jobs, seen, slurm
from services.inference.launchers.slurm_script import JOB_NAME, Submission, log_files
from services.inference.servers.registry import Registry, ServerFacts

log = structlog.get_logger()

TAIL_LINES: Final = 40
_TAIL_BYTES: Final = 32_768
_POLL_S: Final = 0.2


class SlurmLauncher:
    """A launcher. Without options it can still tell the state of jobs and stop them."""

    def __init__(self, options: SlurmOptions | None = None, *, forced: bool = False) -> None:
        """`forced`: the plan was impossible; recorded."""
        self._options = options or SlurmOptions()
        self._forced = forced

    def script(self, launch: Launch) -> str:
        """What would be submitted; with `--auth` the key file is only named. Raises UsageError."""
        return self._submission(launch).script()

    async def start(self, launch: Launch) -> Sequence[Server]:
        """Submit; returns when SLURM has the jobs, which may wait for their turn. `inference wait` waits for them.

        Host and address of the servers are empty, since no node is chosen yet. Raises StartError with sbatch's words.
        """
        submission = self._submission(launch)
        script = submission.script()
        registry = _prepared(launch)
        _write_key(submission)
        try:
            job = await _submitted(script)
        except BaseException as error:
            if submission.key_file:
                submission.key_file.unlink()
            if isinstance(error, SlurmError):
                raise StartError(f"SLURM refused the job: {error}") from error
            raise
        ids = [f"{job}_{index}" for index in range(launch.count)] if launch.count > 1 else [job]
        try:
            for index, job_id in enumerate(ids):
                registry.note(_facts(submission, job_id, index))
        except BaseException:
            await slurm("scancel", job)
            raise
        log.info("slurm_job_submitted", job=job, servers=launch.count)
        _say(launch, submission, job)
        return [_server(submission, job_id, index) for index, job_id in enumerate(ids)]

    async def state(self, ids: Sequence[str]) -> Mapping[str, State]:
        """What has become of each job; a job that SLURM has forgotten is lost.

        `running` says that the job runs; whether its server is ready, the registry says. Raises SlurmError, and calls nothing
        lost, when SLURM gives no answer.
        """
        if not ids:
            return {}
        return {job_id: job.standing for job_id, job in (await jobs(ids)).items()}

    async def stop(self, ids: Sequence[str], *, timeout_s: float) -> Sequence[str]:
        """Cancel jobs of ours and see them leave the queue. Returns those that did; jobs of another name are never touched."""
        if not ids:
            return []
        ours = [job_id for job_id, job in (await jobs(ids)).items() if not job.over and job.name == JOB_NAME]
        if not ours:
            return []
        await slurm("scancel", *ours)
        give_up = time.monotonic() + timeout_s
        while True:
            ended = [job_id for job_id, job in (await jobs(ours)).items() if job.over]
            if len(ended) == len(ours) or time.monotonic() > give_up:
                log.info("slurm_jobs_cancelled", asked=ours, ended=ended)
                return ended
            await asyncio.sleep(_POLL_S)

    def tail(self, server: Server) -> str:
        """What SLURM says about the job, as far as `state` has asked, and the end of its error output."""
        job = seen(server.id)
        said = [job.explained()] if job is not None and job.standing in {"failed", "lost"} else []
        return "\n".join(said + _last_lines(server.log, job))

    def _submission(self, launch: Launch) -> Submission:
        name = f"{launch.engine}_{time.strftime('%Y%m%d_%H%M%S')}_{secrets.token_hex(4)}.key"
        return Submission(
            launch=launch,
            options=self._options,
            forced=self._forced,
            engine=engine(launch.engine),
            key_file=launch.log_folder.absolute() / name if self._options.auth else None,
        )


async def _submitted(script: str) -> str:
    """The job's number. Who is told to stop meanwhile still learns it, to take the job back. Raises SlurmError."""

    async def submit() -> str:
        return (await slurm("sbatch", "--parsable", text=script)).split(";")[0].strip()

    submitting = asyncio.ensure_future(submit())
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        with suppress(SlurmError):
            await slurm("scancel", await submitting)
        raise


def _prepared(launch: Launch) -> Registry:
    """The registry, once it is certain that it can be locked and that there is a place for the logs."""
    registry = Registry(launch.registry)
    registry.drop(frozenset())  # takes the lock and changes nothing
    try:
        launch.log_folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--log-dir: cannot make {launch.log_folder}: {error.strerror}") from error
    return registry


def _write_key(submission: Submission) -> None:
    if submission.key_file is None:
        return
    submission.key_file.touch(mode=0o600, exist_ok=False)
    submission.key_file.write_text(secrets.token_urlsafe(32) + "\n", encoding="utf-8")


def _facts(submission: Submission, job_id: str, index: int) -> ServerFacts:
    launch = submission.launch
    return ServerFacts(
        id=job_id,
        engine=launch.engine,
        served_name=launch.serving.served_name,
        max_model_len=launch.plan.max_model_len,
        log=submission.log(job_id, "err"),
        output=submission.log(job_id, "out"),
        key_file=str(submission.key_file) if submission.key_file else None,
        command=submission.command(index, launch.start_port + index).argv,
        forced=submission.forced,
        kv_planned_tokens=None if launch.engine == "reference" else Foretold.of(launch.plan).tokens,
    )


def _server(submission: Submission, job_id: str, index: int) -> Server:
    return Server(
        id=job_id,
        engine=submission.launch.engine,
        model=submission.model,
        served_name=submission.launch.serving.served_name,
        host="",
        ip="",
        port=submission.launch.start_port + index,
        log=Path(submission.log(job_id, "err")),
        facts={"key_file": str(submission.key_file)} if submission.key_file else {},
    )


def _say(launch: Launch, submission: Submission, job: str) -> None:
    last = launch.start_port + launch.count - 1
    ports = f"port {last}" if launch.count == 1 else f"{launch.count} servers, ports {launch.start_port} to {last}"
    launch.says(f"submitted SLURM job {job} ({ports}, where free); `inference wait` waits until they are ready")
    if submission.key_file:
        launch.says(f"clients need the key in {submission.key_file}")
    else:
        launch.says("whoever reaches the node can use the servers: --auth demands a key, where the engine knows one")
    if launch.engine != "reference" and not is_local(submission.model):
        launch.says(_about_weights(submission.model, launch.serving.revision))


def _about_weights(model: str, revision: str | None) -> str:
    """Nothing is fetched from here: which cache the nodes read, only they know."""
    if revision is not None:
        return f"the jobs stay offline: first `hf download {model} --revision {revision}`, into a cache that all nodes share"
    return (
        f"each job fetches what its cache lacks, and may get another commit: `hf download {model} --revision COMMIT` into a "
        "cache that all nodes share, and `up --revision COMMIT`, fetch once and keep all servers alike"
    )


def _last_lines(named: Path | None, job: Job | None) -> list[str]:
    pattern = str(named) if named is not None else job.stderr if job is not None else None
    if pattern is None:
        return []
    files = log_files(pattern)
    if not files:
        return []
    with files[-1].open("rb") as file:
        file.seek(max(0, files[-1].stat().st_size - _TAIL_BYTES))
        return file.read().decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
