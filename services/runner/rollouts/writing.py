"""Rollout files on disk: where they lie, and a listener that keeps them fresh while a run goes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Final

import structlog

from services.contract.results import TaskResult
from services.runner.failures import RunnerError
from services.runner.journal import Journal, RunRecord
from services.runner.progress import Listener
from services.runner.report.results_file import write_text
from services.runner.rollouts.export import rollout_file, strategy_of

log = structlog.get_logger()

REFRESH_S: Final = 30.0
LONGEST_NAME: Final = 60
_PAUSE: Final = 10
"""Times as long as the last writing took is the least time to the next."""
_TO_THE_SECOND: Final = len("2026-01-01T00:00:00")


def write_rollouts(results_dir: Path, run_id: str) -> list[Path]:
    """Write the rollout files of a stored run below `results_dir`, one a benchmark, each at once or not at all.

    The name holds the second in which the run began, so a run that is resumed keeps its file; a run that began later in the
    same second also has the end of its id there. Raises RunnerError.
    """
    with closing(Journal.open(results_dir, create=False)) as journal:
        run, rows = journal.run(run_id), journal.rows(run_id)
        began = _second_of(run, journal)
        said = {key: found.transcript for key, found in journal.transcripts(run.id) if found.transcript is not None}
    names = sorted({trial.benchmark for trial in run.plan.trials})
    written: list[Path] = []
    for name in names:
        plain = _plain(name)
        path = results_dir / f"{plain}_rollouts" / f"{_plain(strategy_of(run, said.values()))}_{plain}_{began}.json"
        write_text(path, rollout_file(run, rows, said, benchmark=name).model_dump_json(indent=1) + "\n")
        written.append(path)
    return written


def _plain(name: str) -> str:
    """A name that an agent gave, as part of a file name: it never leaves the folder."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:LONGEST_NAME] or "unnamed"


def _second_of(run: RunRecord, journal: Journal) -> str:
    second = run.created[:_TO_THE_SECOND]
    twins = [one for one in journal.runs() if one.created[:_TO_THE_SECOND] == second and one.created < run.created]
    return f"{datetime.fromisoformat(run.created):%Y%m%d_%H%M%S}{f'_{run.id[-4:]}' if twins else ''}"


class _Watching:
    """A listener that notes which run goes on."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.run_id: str | None = None

    def began(self, run: RunRecord, rows: Sequence[TaskResult]) -> None:
        """See Listener."""
        self.run_id = run.id
        self._listener.began(run, rows)

    def finished(self, row: TaskResult) -> None:
        """See Listener."""
        self._listener.finished(row)

    def says(self, text: str) -> None:
        """See Listener."""
        self._listener.says(text)

    def ended(self) -> None:
        """See Listener."""
        self._listener.ended()


@asynccontextmanager
async def kept_fresh(results_dir: Path, listener: Listener, *, every_s: float = REFRESH_S) -> AsyncIterator[Listener]:
    """A listener for one run; while the block lasts, the run's files are written again every `every_s` seconds.

    When the block ends no writing is under way any more, so that what is written then is the last word.
    """
    watching, ended = _Watching(listener), asyncio.Event()
    refreshing = asyncio.create_task(_refresh(results_dir, watching, ended, every_s=every_s))
    try:
        yield watching
    finally:
        ended.set()
        await refreshing


async def _refresh(results_dir: Path, watching: _Watching, ended: asyncio.Event, *, every_s: float) -> None:
    wait_s, clock = every_s, asyncio.get_running_loop().time
    while not ended.is_set():
        try:
            await asyncio.wait_for(ended.wait(), wait_s)
        except TimeoutError:
            if watching.run_id is not None:
                began = clock()
                await asyncio.to_thread(_written_or_logged, results_dir, watching.run_id)
                wait_s = max(every_s, _PAUSE * (clock() - began))


def _written_or_logged(results_dir: Path, run_id: str) -> None:
    """A file that cannot be written now must not cost the run; at its end it is an error."""
    try:
        write_rollouts(results_dir, run_id)
    except RunnerError as error:
        log.warning("rollouts_not_refreshed", run=run_id, reason=str(error))
