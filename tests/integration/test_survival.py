"""Real processes killed with SIGKILL half-way: no finished trial is lost, none is repeated, none counts twice."""

import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.processes import BIN, service

TASKS = 60
DEADLINE_S = 120.0


def command(folder: Path, green_url: str, purple_url: str) -> list[str]:
    scenario = folder / "scenario.toml"
    scenario.write_text(
        f'[green_agent]\nendpoint = "{green_url}"\n'
        f'[[participants]]\nrole = "agent"\nendpoint = "{purple_url}"\n'
        f'[config]\ndatasets = ["options"]\nnum_tasks = {TASKS}\nmax_concurrency = 4\n'
    )
    return [str(BIN / "assay"), "run", str(scenario), "--results-dir", str(folder / "results"), "--json"]


@contextmanager
def running(command_line: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A runner that is gone when the block ends."""
    process = subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stored(folder: Path) -> dict[str, str]:
    """Key -> time at which each trial of the journal was committed."""
    journal = folder / "results" / "journal.db"
    if not journal.exists():
        return {}
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        try:
            return dict(connection.execute("SELECT key, finished_at FROM trials WHERE final"))
        except sqlite3.OperationalError:  # the tables are being made
            return {}


def await_rows(folder: Path, count: int) -> None:
    """Wait until the journal holds so many trials: the event is another process's commit, so it is polled."""
    until = time.monotonic() + DEADLINE_S
    while len(stored(folder)) < count:
        assert time.monotonic() < until, f"only {len(stored(folder))} trials were stored"
        time.sleep(0.02)


def resume(folder: Path) -> subprocess.CompletedProcess[str]:
    line = [str(BIN / "assay"), "resume", "latest", "--results-dir", str(folder / "results"), "--json"]
    return subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def final_rows(folder: Path) -> list[str]:
    (path,) = (folder / "results").glob("*/results.json")
    (result,) = json.loads(path.read_text())["results"]
    assert result["evaluation_metadata"]["complete"] is True
    return [f"{row['benchmark']}|{row['task_id']}|{row['trial']}" for row in result["results"]]


def assert_finished_once(folder: Path, before: dict[str, str]) -> None:
    after = stored(folder)
    rows = final_rows(folder)
    assert len(rows) == len(set(rows)) == TASKS
    assert 0 < len(before) < TASKS
    assert {key: after[key] for key in before} == before, "a finished trial was run again"


@pytest.mark.slow
def test_a_runner_killed_half_way_resumes_with_what_is_missing(tmp_path: Path) -> None:
    with (
        service(["purple-agent", "serve", "--baseline", "slow:0.1"]) as purple,
        service(["green-agent", "serve"]) as green,
    ):
        with running(command(tmp_path, green.url, purple.url)) as runner:
            await_rows(tmp_path, 10)
            os.kill(runner.pid, signal.SIGKILL)
            runner.wait()
        before = stored(tmp_path)
        resumed = resume(tmp_path)

    assert resumed.returncode == 0, resumed.stderr
    assert_finished_once(tmp_path, before)


@pytest.mark.slow
def test_a_green_killed_half_way_ends_the_run_aloud_and_another_green_finishes_it(tmp_path: Path) -> None:
    with service(["purple-agent", "serve", "--baseline", "slow:0.1"]) as purple:
        with service(["green-agent", "serve"]) as green:
            port = green.url.rstrip("/").rpartition(":")[2]
            with running(command(tmp_path, green.url, purple.url)) as runner:
                await_rows(tmp_path, 10)
                green.kill()
                _, errors = runner.communicate(timeout=DEADLINE_S)
        before = stored(tmp_path)
        with service(["green-agent", "serve"], port=int(port)):
            resumed = resume(tmp_path)

    assert runner.returncode == 3, errors
    assert "resume" in errors
    assert resumed.returncode == 0, resumed.stderr
    assert_finished_once(tmp_path, before)


@pytest.mark.slow
def test_an_interrupted_runner_stops_green_and_can_be_resumed(tmp_path: Path) -> None:
    with (
        service(["purple-agent", "serve", "--baseline", "slow:0.1"]) as purple,
        service(["green-agent", "serve"]) as green,
    ):
        with running(command(tmp_path, green.url, purple.url)) as runner:
            await_rows(tmp_path, 10)
            runner.send_signal(signal.SIGINT)
            runner.communicate(timeout=DEADLINE_S)
        before = stored(tmp_path)
        resumed = resume(tmp_path)

    assert runner.returncode == 130
    assert resumed.returncode == 0, resumed.stderr
    assert_finished_once(tmp_path, before)


@pytest.mark.slow
def test_a_run_out_of_time_keeps_what_finished_and_can_be_resumed(tmp_path: Path) -> None:
    with (
        service(["purple-agent", "serve", "--baseline", "slow:0.3"]) as purple,
        service(["green-agent", "serve"]) as green,
    ):
        line = [*command(tmp_path, green.url, purple.url), "--timeout", "4"]
        ended = subprocess.run(line, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
        before = stored(tmp_path)
        resumed = resume(tmp_path)

    assert ended.returncode == 1
    assert "the 4 s given to the run have passed" in ended.stderr
    assert "assay resume" in ended.stderr
    assert resumed.returncode == 0, resumed.stderr
    assert_finished_once(tmp_path, before)
