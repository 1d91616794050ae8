"""A model server killed with SIGKILL in the middle of a run: another answers in its place, and the rows tell."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from services.contract.conversation import Transcript
from services.contract.model_client import ModelClient
from services.contract.model_replicas import KNOCK_S
from services.contract.results import TaskResult
from services.inference.reference_engine.app import Settings
from services.runner.journal import FILE_NAME, Journal
from tests.contract.calling import KEY, client_of, completed, endpoint, in_, until
from tests.support.engine import engine_process, running_engine
from tests.support.processes import BIN, service

TASKS = 150
KILL_AFTER = 30
"""Rows."""
DEADLINE_S = 120.0


def kill_when_under_way(folder: Path, engine: subprocess.Popen[str]) -> None:
    """Wait until the journal holds some rows: the event is another process's commit, so it is polled."""
    journal, end = folder / FILE_NAME, time.monotonic() + DEADLINE_S
    while True:
        assert time.monotonic() < end, "the run does not get on"
        time.sleep(0.02)
        if not journal.exists():
            continue
        with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
            try:
                [(rows,)] = connection.execute("SELECT count(*) FROM trials WHERE final")
            except sqlite3.OperationalError:  # the tables are being made
                continue
        if rows >= KILL_AFTER:
            engine.kill()
            engine.wait()
            return


def command(folder: Path, green_url: str, purple_url: str) -> list[str]:
    scenario = folder / "scenario.toml"
    scenario.write_text(
        f'[green_agent]\nendpoint = "{green_url}"\n'
        f'[[participants]]\nrole = "agent"\nendpoint = "{purple_url}"\n'
        f'[config]\ndatasets = ["options"]\nnum_tasks = {TASKS}\nmax_concurrency = 16\n'
    )
    return [str(BIN / "assay"), "run", str(scenario), "--results-dir", str(folder / "results"), "--json"]


def kept(folder: Path) -> tuple[float, list[TaskResult], list[Transcript]]:
    """Coverage, rows and transcripts of the only run."""
    with closing(Journal.open(folder, create=False)) as journal:
        [run] = journal.runs()
        rows = list(journal.rows(run.id))
        said = [stored.transcript for _, stored in journal.transcripts(run.id)]
    return len(rows) / TASKS, rows, [transcript for transcript in said if transcript is not None]


@pytest.mark.slow
def test_a_run_survives_the_loss_of_one_of_two_model_servers_and_its_rows_say_where_calls_moved(tmp_path: Path) -> None:
    settings = Settings(latency_s=0.05)
    with engine_process(tmp_path, "--latency", "0.05") as (lost, lost_url), running_engine(settings=settings) as other:
        other_url = other.url
        variables = {
            "OPENAI_API_BASE": f"{lost_url},{other_url}",
            "LLM_MODEL": "reference",
            "OPENAI_BASE_URL": other_url,
        }
        with (
            service(["purple-agent", "serve", "--max-tool-calls", "0"], env=variables) as purple,
            service(["green-agent", "serve"]) as green,
            subprocess.Popen(
                command(tmp_path, green.url, purple.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as runner,
        ):
            kill_when_under_way(tmp_path / "results", lost)
            _, errors = runner.communicate(timeout=DEADLINE_S)

    assert runner.returncode == 0, errors
    coverage, rows, transcripts = kept(tmp_path / "results")
    assert coverage == 1.0
    assert len({row.key for row in rows}) == len(rows) == TASKS
    assert {str(row.outcome) for row in rows} == {"scored"}
    assert not any(row.attempts for row in rows), "a trial was held twice"
    calls = [row.model_calls for row in rows if row.model_calls is not None]
    assert len(calls) == TASKS
    failed = [one for call in calls for one in call.failed]
    assert failed, "no call was on its way to the server that was killed"
    assert {(one.replica, one.kind, one.status) for one in failed} == {(lost_url, "connection", None)}
    assert all(call.answered_by[-1] == other_url for call in calls if call.failures)
    assert sum(call.switched for call in calls) >= len(failed)
    assert 0 < sum(call.answered_by == (lost_url,) for call in calls) < TASKS
    told = [turn.reply.model_calls for said in transcripts for turn in said.turns if turn.reply is not None]
    assert [one for call in told if call is not None for one in call.failed] == failed


async def asked(client: ModelClient, trials: range, *, at: float) -> list[str]:
    """Which server answered each of the trials, held together."""
    answers = await asyncio.gather(
        *(completed(client, key=replace(KEY, trial=trial), deadline=in_(at + 20)) for trial in trials)
    )
    return [answer.replica for answer in answers]


async def test_one_of_three_servers_that_was_killed_is_in_use_again_after_its_restart(tmp_path: Path) -> None:
    later = 0.0
    with engine_process(tmp_path) as (first, url), running_engine() as second, running_engine() as third:
        place = endpoint(url, urls=(url, second.url, third.url))
        async with client_of(place, clock=lambda: in_(later)) as client:
            before = await asked(client, range(60), at=later)
            first.kill()
            first.wait()
            during = await asked(client, range(60), at=later)

            (tmp_path / "again").mkdir()
            with engine_process(tmp_path / "again", "--port", url.split(":")[2].removesuffix("/v1")):
                later += KNOCK_S
                await completed(client, deadline=in_(later + 20))  # a call notices that somebody listens again
                await until(lambda: client._replicas.all[0].breaker.admits)
                await asked(client, range(60), at=later)
                after = await asked(client, range(60), at=later)

    assert set(during) == {second.url, third.url}
    assert all(now == then for now, then in zip(during, before, strict=True) if then != url)
    assert after == before
