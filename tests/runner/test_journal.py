import fcntl
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.contract.outcomes import Outcome
from services.contract.secrets import register_secret
from services.runner.failures import JournalError, ScenarioError
from services.runner.journal import FILE_NAME, Journal, Recorded, RunStatus
from services.runner.locks import LOCK_NAME, is_held, run_lock
from tests.runner.support.mounts import read_only, small_disk
from tests.runner.support.rows import make_plan, make_row, make_run

WRITER = [sys.executable, "-m", "tests.runner.support.writer"]
ROOT = Path(__file__).parents[2]


def stored_keys(folder: Path) -> list[str]:
    with closing(Journal.open(folder, create=False)) as journal:
        return [row.key for row in journal.rows(journal.run("latest").id)]


def test_a_run_and_its_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    plan = make_plan()
    run = make_run(plan)
    rows = [make_row(trial, attempts=1) for trial in plan.trials]
    with closing(Journal.open(tmp_path)) as journal:
        journal.create_run(run)
        for row in rows:
            assert journal.record(run.id, row) is Recorded.ADDED

        read = journal.run(run.id)
        transcripts = dict(journal.transcripts(run.id))

        assert read == run
        assert [row.key for row in journal.rows(run.id)] == [row.key for row in rows]
        assert journal.rows(run.id)[0].metrics == {"error_pct": 1.25, "parsed": True}
        assert transcripts[rows[0].key].transcript == rows[0].transcript
        assert transcripts[rows[0].key].attempts == (rows[0].attempts[0].transcript,)


def test_a_final_row_is_never_overwritten(tmp_path: Path) -> None:
    plan = make_plan()
    run = make_run(plan)
    with closing(Journal.open(tmp_path)) as journal:
        journal.create_run(run)
        journal.record(run.id, make_row(plan.trials[0], score=0.25))
        journal.record(run.id, make_row(plan.trials[1], Outcome.AGENT_ERROR))

        again = [
            journal.record(run.id, make_row(plan.trials[0], score=1.0)),
            journal.record(run.id, make_row(plan.trials[1], score=1.0)),
        ]

        assert again == [Recorded.REFUSED, Recorded.REFUSED]
        assert [(row.outcome, row.score) for row in journal.rows(run.id)] == [
            (Outcome.SCORED, 0.25),
            (Outcome.AGENT_ERROR, 0.0),
        ]
        assert journal.history(run.id) == []


def test_a_row_that_is_not_final_is_replaced_and_kept_in_the_history(tmp_path: Path) -> None:
    plan = make_plan()
    run = make_run(plan)
    with closing(Journal.open(tmp_path)) as journal:
        journal.create_run(run)
        journal.record(run.id, make_row(plan.trials[0], Outcome.INFRA_ERROR))
        journal.record(run.id, make_row(plan.trials[0], Outcome.CANCELLED))

        recorded = journal.record(run.id, make_row(plan.trials[0], score=0.5))

        assert recorded is Recorded.REPLACED
        assert [row.score for row in journal.rows(run.id)] == [0.5]
        assert [row.outcome for row in journal.history(run.id)] == [Outcome.INFRA_ERROR, Outcome.CANCELLED]
        assert journal.final_keys(run.id) == [plan.trials[0].key]


def test_the_same_row_told_twice_is_kept_once(tmp_path: Path) -> None:
    plan = make_plan()
    run = make_run(plan)
    row = make_row(plan.trials[0], Outcome.INFRA_ERROR)
    with closing(Journal.open(tmp_path)) as journal:
        journal.create_run(run)
        journal.record(run.id, row)

        assert journal.record(run.id, row) is Recorded.REPEATED
        assert journal.history(run.id) == []


def test_a_run_is_found_by_a_unique_beginning_or_as_the_latest(tmp_path: Path) -> None:
    plan = make_plan()
    with closing(Journal.open(tmp_path)) as journal:
        journal.create_run(make_run(plan, run_id="20260101-a", created="2026-01-01T00:00:00"))
        journal.create_run(make_run(plan, run_id="20260102-b", created="2026-01-02T00:00:00"))

        assert journal.run("20260101").id == "20260101-a"
        assert journal.run("latest").id == "20260102-b"
        with pytest.raises(ScenarioError, match="begins several runs: 20260102-b, 20260101-a"):
            journal.run("202601")
        with pytest.raises(ScenarioError, match="the latest is 20260102-b"):
            journal.run("1999")


def test_a_resumed_run_keeps_the_provenance_of_each_execution(tmp_path: Path) -> None:
    run = make_run(make_plan())
    with closing(Journal.open(tmp_path)) as journal:
        journal.create_run(run.model_copy(update={"provenance": {"git": "a"}}))
        journal.finish(run.id, RunStatus.LOST)
        journal.reopen(run.id, {"git": "b"})
        journal.reopen(run.id, {"git": "c"})

        read = journal.run(run.id)

        assert read.status is RunStatus.RUNNING
        assert read.provenance == {"git": "c", "earlier_executions": [{"git": "a"}, {"git": "b"}]}


def test_no_secret_enters_the_file(tmp_path: Path) -> None:
    register_secret("planted-registered-secret")
    shaped = "sk-" + "a1b2c3d4" * 4
    plan = make_plan()
    run = make_run(plan).model_copy(
        update={"provenance": {"url": "http://user:planted-registered-secret@host/"}, "scenario": {"key": shaped}}
    )
    with closing(Journal.open(tmp_path)) as journal:
        journal.create_run(run)
        journal.record(run.id, make_row(plan.trials[0], said=f"key {shaped} planted-registered-secret", attempts=1))
        journal.note(run.id, "told", text=shaped)
        written = json.dumps(
            [
                journal.run(run.id).model_dump(mode="json"),
                [row.model_dump(mode="json") for row in journal.rows(run.id)],
                [said.model_dump(mode="json") for _, said in journal.transcripts(run.id)],
                journal.events(run.id),
            ]
        )

    raw = (tmp_path / FILE_NAME).read_bytes()
    assert "planted-registered-secret" not in written
    assert shaped not in written
    assert written.count("[redacted]") >= 5
    assert b"planted-registered-secret" not in raw
    assert shaped.encode() not in raw


def test_killed_in_the_middle_of_writing_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with subprocess.Popen([*WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split()

    found = stored_keys(tmp_path)

    assert len(set(acknowledged)) >= 40
    assert found[: len(acknowledged)] == acknowledged
    assert len(found) - len(acknowledged) in {0, 1}


@pytest.mark.parametrize("way", ["tmpfs", "file size limit"])
def test_a_full_disk_is_explained_and_everything_acknowledged_is_kept(tmp_path: Path, way: str) -> None:
    disk = tmp_path / "disk"
    if way == "tmpfs":
        with small_disk(disk, "1m"):
            lines = _written(disk)
            found = stored_keys(disk)
    else:
        lines = _written(disk, 1_500_000)
        found = stored_keys(disk)

    assert len(lines) > 5
    assert lines[-1].startswith(f"JournalError: journal {disk / FILE_NAME}: ")
    assert "free space" in lines[-1]
    assert "`assay resume`" in lines[-1]
    assert found == lines[:-1]


def _written(folder: Path, limit: int | None = None) -> list[str]:
    command = [*WRITER, str(folder), *([] if limit is None else [str(limit)])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    return done.stdout.splitlines()


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    with read_only(tmp_path), pytest.raises(JournalError) as caught:
        Journal.open(tmp_path / "results")

    assert str(caught.value) == (
        f"cannot create {tmp_path / 'results'} (Read-only file system): make it writable or choose another --results-dir"
    )


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")

    with pytest.raises(JournalError, match="make it writable or choose another --results-dir"):
        Journal.open(tmp_path / "results")


def test_a_journal_held_by_another_process_is_explained(tmp_path: Path) -> None:
    run = make_run(make_plan())
    with (
        closing(Journal.open(tmp_path, busy_s=0.1)) as journal,
        closing(sqlite3.connect(tmp_path / FILE_NAME)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(JournalError, match="another process holds it"):
            journal.create_run(run)

        other.rollback()
        journal.create_run(run)
        assert journal.run("latest").id == run.id


@pytest.mark.parametrize("content", [b"no database at all, just some text that is long enough" * 40])
def test_a_file_that_is_no_journal_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)

    with pytest.raises(JournalError, match="it is no SQLite file"):
        Journal.open(tmp_path)

    assert (tmp_path / FILE_NAME).read_bytes() == content


def test_a_journal_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Journal.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as raw:
        raw.execute("PRAGMA user_version = 99")

    with pytest.raises(JournalError, match="written by a newer Assay"):
        Journal.open(tmp_path)


def test_looking_for_results_where_none_are_creates_nothing(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="no journal at"):
        Journal.open(tmp_path, create=False)

    assert list(tmp_path.iterdir()) == []


def test_a_run_is_executed_by_one_process_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "run-1"
    folder.mkdir()
    with (folder / LOCK_NAME).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        assert is_held(folder)
        with pytest.raises(JournalError, match="run run-1 is being executed by another process"), run_lock(folder):
            pass

    assert not is_held(folder)
    with run_lock(folder):
        assert is_held(folder)
