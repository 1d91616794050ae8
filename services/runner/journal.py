"""The journal: every run and every finished trial, on disk before anybody is told. SQLite.

WAL with `synchronous=FULL`: a commit survives the death of the process and of the machine; trials that finish while one is
synced share the next commit. Everything passes `secrets.redact` at this gate. Reports only read.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from services.contract.assessment import Plan
from services.contract.conversation import Transcript
from services.contract.outcomes import POLICY
from services.contract.results import TaskResult
from services.contract.secrets import redact
from services.runner.failures import JournalError, ScenarioError

FILE_NAME: Final = "journal.db"
LATEST: Final = "latest"
BUSY_S: Final = 10.0
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE runs (
  id TEXT PRIMARY KEY, created TEXT NOT NULL, finished TEXT, status TEXT NOT NULL, name TEXT NOT NULL,
  scenario TEXT NOT NULL, request TEXT NOT NULL, plan TEXT NOT NULL, plan_digest TEXT NOT NULL,
  provenance TEXT NOT NULL, reported TEXT NOT NULL DEFAULT '{}') STRICT;
CREATE TABLE trials (
  run TEXT NOT NULL REFERENCES runs (id), key TEXT NOT NULL, seq INTEGER NOT NULL, final INTEGER NOT NULL,
  row TEXT NOT NULL, finished_at TEXT NOT NULL, PRIMARY KEY (run, key)) STRICT;
CREATE TABLE trial_history (
  run TEXT NOT NULL REFERENCES runs (id), key TEXT NOT NULL, seq INTEGER NOT NULL,
  row TEXT NOT NULL, finished_at TEXT NOT NULL, replaced_at TEXT NOT NULL, PRIMARY KEY (run, key, seq)) STRICT;
CREATE TABLE transcripts (
  run TEXT NOT NULL REFERENCES runs (id), key TEXT NOT NULL, seq INTEGER NOT NULL,
  body BLOB NOT NULL, PRIMARY KEY (run, key, seq)) STRICT;
CREATE TABLE events (
  run TEXT NOT NULL REFERENCES runs (id), at TEXT NOT NULL, name TEXT NOT NULL, fields TEXT NOT NULL) STRICT;
CREATE INDEX trials_in_order ON trials (run, seq);
CREATE INDEX events_in_order ON events (run, at);
"""
_REMEDIES: Final = {
    sqlite3.SQLITE_FULL: "the disk is full: free space, then `assay resume`",
    sqlite3.SQLITE_IOERR: "the disk is full or broken: free space or choose another --results-dir, then `assay resume`",
    sqlite3.SQLITE_READONLY: "it cannot be written: make it writable or choose another --results-dir",
    sqlite3.SQLITE_PERM: "permission denied: make it writable or choose another --results-dir",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: make the folder writable or choose another --results-dir",
    sqlite3.SQLITE_BUSY: "another process holds it: wait for it to end or choose another --results-dir",
    sqlite3.SQLITE_LOCKED: "another process holds it: wait for it to end or choose another --results-dir",
    sqlite3.SQLITE_NOTADB: "it is no SQLite file: move it away or choose another --results-dir",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore it from a backup or choose another --results-dir",
}


RESCORED_FROM: Final = "rescored_from"
"""Key of the provenance of a run that asks no agent."""


class RunStatus(StrEnum):
    """Where a run stands. `running` in a journal whose run is not locked means that the runner was killed."""

    RUNNING = "running"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    INTERRUPTED = "interrupted"
    LOST = "lost"


class Recorded(StrEnum):
    """What became of a row handed to the journal."""

    ADDED = "added"
    REPLACED = "replaced"
    """It took the place of a row that was not final; the old one is in the history."""
    REPEATED = "repeated"
    """The same row was there already."""
    REFUSED = "refused"
    """A final row is there; it is never overwritten."""


class RunRecord(BaseModel):
    """A run as it is stored. JSON fields are kept as text until somebody needs them."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    created: str
    finished: str | None = None
    status: RunStatus = RunStatus.RUNNING
    name: str
    """Name of the scenario."""
    scenario: dict[str, JsonValue]
    """Enough to start the agents again; secrets are references to variables."""
    request: dict[str, JsonValue]
    plan: Plan
    provenance: dict[str, JsonValue]
    reported: dict[str, JsonValue] = Field(default_factory=dict)
    """`evaluation_metadata` of green's last artifact."""

    @property
    def rescored_from(self) -> str | None:
        """Id of the run whose transcripts this one scores again; None for a run that asked its agent."""
        source = self.provenance.get(RESCORED_FROM)
        return source if isinstance(source, str) else None

    @property
    def remedy(self) -> str:
        """The command that adds what the run lacks."""
        return f"assay resume {self.id}" if self.rescored_from is None else f"assay rescore {self.rescored_from}"


class RunSummary(BaseModel):
    """One line of `assay results list`."""

    model_config = ConfigDict(frozen=True)

    id: str
    created: str
    status: RunStatus
    name: str
    plan_digest: str
    planned: int
    final: int


class StoredTranscript(BaseModel):
    """What was said in the attempt that counts, and in each earlier attempt."""

    model_config = ConfigDict(frozen=True)

    transcript: Transcript | None = None
    attempts: tuple[Transcript | None, ...] = ()
    judged: tuple[str, ...] = ()
    """What the judge said, in the order of the row's judgements."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


class Journal:
    """The SQLite file of a results folder. Safe to call from several threads; one process a run (see `RunLock`)."""

    def __init__(self, connection: sqlite3.Connection, path: Path, now: Callable[[], str] = _now) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.Lock()
        self._now = now

    @classmethod
    def open(cls, folder: Path, *, create: bool = True, busy_s: float = BUSY_S) -> Journal:
        """The journal of a results folder. Raises JournalError naming the path and the remedy.

        `busy_s` is how long a write waits for another process that is writing.
        """
        path = folder / FILE_NAME
        if not create and not path.is_file():
            raise JournalError(f"no journal at {path}: no run was made here, or --results-dir names another folder")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"cannot create {folder} ({error.strerror}): make it writable or choose another --results-dir"
            ) from None
        with _explained(path):
            connection = sqlite3.connect(path, timeout=busy_s, isolation_level=None, check_same_thread=False)
            journal = cls(connection, path)
            try:
                journal._prepare()
            except BaseException:
                connection.close()
                raise
        return journal

    def close(self) -> None:
        """Close the file; committed rows are on disk already."""
        with self._lock:
            self._connection.close()

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        with self._transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise JournalError(
                    f"{self.path} was written by a newer Assay (journal {version}, this one reads {_VERSION})"
                )
            if version == 0:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, _explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may have rolled back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _query(self, sql: str, *parameters: str | int) -> list[tuple[object, ...]]:
        with self._lock, _explained(self.path):
            return self._connection.execute(sql, parameters).fetchall()

    def create_run(self, run: RunRecord) -> None:
        """Store a new run with its plan."""
        plan = run.plan.model_dump_json()
        texts = [_json(value) for value in (run.scenario, run.request, run.provenance)]
        with self._transaction() as db:
            db.execute(
                "INSERT INTO runs (id, created, status, name, scenario, request, provenance, plan, plan_digest)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (run.id, run.created, run.status, run.name, *texts, plan, run.plan.digest),
            )

    def record(self, run_id: str, row: TaskResult) -> Recorded:
        """Commit one finished trial. A final row is never overwritten; any other goes to the history."""
        return self.record_all(run_id, [row])[0]

    def record_all(self, run_id: str, rows: Sequence[TaskResult]) -> list[Recorded]:
        """Commit finished trials at once, all or none; says of each what became of it."""
        with self._transaction() as db:
            return [self._record(db, run_id, row) for row in rows]

    def _record(self, db: sqlite3.Connection, run_id: str, row: TaskResult) -> Recorded:
        text, body = _split(row)
        stored = db.execute("SELECT row, final FROM trials WHERE run = ? AND key = ?", (run_id, row.key)).fetchone()
        if stored is not None and stored[0] == text:
            return Recorded.REPEATED
        if stored is not None and stored[1]:
            return Recorded.REFUSED
        if stored is not None:
            db.execute(
                "INSERT INTO trial_history SELECT run, key, seq, row, finished_at, ? FROM trials"
                " WHERE run = ? AND key = ?",
                (self._now(), run_id, row.key),
            )
        seq, final = _next_seq(db, run_id), int(POLICY[row.outcome].final)
        db.execute(
            "INSERT OR REPLACE INTO trials (run, key, seq, final, row, finished_at) VALUES (?, ?, ?, ?, ?, ?)",
            (run_id, row.key, seq, final, text, self._now()),
        )
        if body is not None:
            db.execute("INSERT INTO transcripts VALUES (?, ?, ?, ?)", (run_id, row.key, seq, body))
        return Recorded.ADDED if stored is None else Recorded.REPLACED

    def note(self, run_id: str, name: str, **fields: JsonValue) -> None:
        """Keep an event, for example `green_lost`."""
        with self._transaction() as db:
            db.execute("INSERT INTO events VALUES (?, ?, ?, ?)", (run_id, self._now(), name, _json(fields)))

    def finish(self, run_id: str, status: RunStatus) -> None:
        """Store how an execution of the run ended."""
        with self._transaction() as db:
            db.execute("UPDATE runs SET status = ?, finished = ? WHERE id = ?", (status, self._now(), run_id))

    def reopen(self, run_id: str, provenance: Mapping[str, JsonValue]) -> None:
        """A resumed run is running again; each execution's provenance is kept."""
        with self._transaction() as db:
            stored = db.execute("SELECT provenance FROM runs WHERE id = ?", (run_id,)).fetchone()
            before = json.loads(stored[0])
            earlier = [*before.pop("earlier_executions", []), before]
            merged: dict[str, JsonValue] = {**provenance, "earlier_executions": earlier}
            db.execute(
                "UPDATE runs SET status = ?, finished = NULL, provenance = ? WHERE id = ?",
                (RunStatus.RUNNING, _json(merged), run_id),
            )

    def store_reported(self, run_id: str, metadata: Mapping[str, JsonValue]) -> None:
        """Keep what green says of itself in its final artifact."""
        with self._transaction() as db:
            db.execute("UPDATE runs SET reported = ? WHERE id = ?", (_json(dict(metadata)), run_id))

    def run(self, reference: str) -> RunRecord:
        """The run called by its id, a unique prefix of it, or `latest`. Raises ScenarioError when that is not one run."""
        run_id = self._resolve(reference)
        found = self._query(
            "SELECT id, created, finished, status, name, scenario, request, plan, provenance, reported"
            " FROM runs WHERE id = ?",
            run_id,
        )[0]
        names = ("id", "created", "finished", "status", "name", "scenario", "request", "plan", "provenance", "reported")
        as_json = {"scenario", "request", "plan", "provenance", "reported"}
        return RunRecord.model_validate(
            {
                name: json.loads(str(value)) if name in as_json else value
                for name, value in zip(names, found, strict=True)
            }
        )

    def _resolve(self, reference: str) -> str:
        ids = [str(row[0]) for row in self._query("SELECT id FROM runs ORDER BY created DESC, id DESC")]
        if not ids:
            raise ScenarioError(f"no run in {self.path}")
        if reference == LATEST:
            return ids[0]
        if reference in ids:
            return reference
        matches = [run_id for run_id in ids if run_id.startswith(reference)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise ScenarioError(f"{reference!r} begins several runs: {', '.join(matches[:5])}")
        raise ScenarioError(f"no run {reference!r} in {self.path}; the latest is {ids[0]}")

    def runs(self) -> list[RunSummary]:
        """All runs, newest first."""
        rows = self._query(
            "SELECT id, created, status, name, plan_digest, json_array_length(plan, '$.trials'),"
            " (SELECT count(*) FROM trials WHERE run = runs.id AND final) FROM runs ORDER BY created DESC, id DESC"
        )
        names = ("id", "created", "status", "name", "plan_digest", "planned", "final")
        return [RunSummary.model_validate(dict(zip(names, row, strict=True))) for row in rows]

    def rows(self, run_id: str) -> list[TaskResult]:
        """The row of each finished trial, in order of arrival, without transcripts."""
        found = self._query("SELECT row FROM trials WHERE run = ? ORDER BY seq", run_id)
        return [TaskResult.model_validate_json(str(row[0])) for row in found]

    def final_keys(self, run_id: str) -> list[str]:
        """Keys of the trials that a resumed run keeps."""
        return [str(row[0]) for row in self._query("SELECT key FROM trials WHERE run = ? AND final", run_id)]

    def transcripts(self, run_id: str) -> Iterator[tuple[str, StoredTranscript]]:
        """Key and transcript of each trial that has one; the rows in force, not their history."""
        # One body at a time: together they may be larger than the memory.
        for key, seq in self._query("SELECT key, seq FROM trials WHERE run = ? ORDER BY seq", run_id):
            found = self._query(
                "SELECT body FROM transcripts WHERE run = ? AND key = ? AND seq = ?", run_id, str(key), int(str(seq))
            )
            for (body,) in found:
                yield str(key), StoredTranscript.model_validate_json(zlib.decompress(_bytes(body)))

    def history(self, run_id: str) -> list[TaskResult]:
        """Rows that were replaced by a resumed run, oldest first."""
        found = self._query("SELECT row FROM trial_history WHERE run = ? ORDER BY seq", run_id)
        return [TaskResult.model_validate_json(str(row[0])) for row in found]

    def events(self, run_id: str) -> list[tuple[str, str, dict[str, JsonValue]]]:
        """Time, name and fields of each event."""
        found = self._query("SELECT at, name, fields FROM events WHERE run = ? ORDER BY at", run_id)
        return [(str(at), str(name), json.loads(str(fields))) for at, name, fields in found]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one that names the path and the remedy."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        remedy = _REMEDIES.get(code, "choose another --results-dir and report this")
        raise JournalError(f"journal {path}: {error}; {remedy}. Everything committed is kept.") from error


def _next_seq(db: sqlite3.Connection, run_id: str) -> int:
    found = db.execute(
        "SELECT max(coalesce((SELECT max(seq) FROM trials WHERE run = :run), 0),"
        " coalesce((SELECT max(seq) FROM trial_history WHERE run = :run), 0))",
        {"run": run_id},
    ).fetchone()
    return int(found[0]) + 1


def _split(row: TaskResult) -> tuple[str, bytes | None]:
    """The row without transcripts as JSON, and the transcripts compressed; both redacted, the trial's key untouched."""
    said = StoredTranscript(
        transcript=row.transcript,
        attempts=tuple(attempt.transcript for attempt in row.attempts),
        judged=tuple(judgement.raw for judgement in row.judgements),
    )
    bare = row.model_copy(
        update={
            "transcript": None,
            "attempts": tuple(attempt.model_copy(update={"transcript": None}) for attempt in row.attempts),
            "judgements": tuple(judgement.model_copy(update={"raw": ""}) for judgement in row.judgements),
        }
    )
    identity: dict[str, JsonValue] = {"task_id": row.task_id, "benchmark": row.benchmark}
    text = json.dumps({**_redacted_object(bare.model_dump(mode="json")), **identity}, ensure_ascii=False)
    if said.transcript is None and not any(said.attempts) and not any(said.judged):
        return text, None
    return text, zlib.compress(_json(said.model_dump(mode="json")).encode())


def _json(value: Mapping[str, JsonValue]) -> str:
    return json.dumps(_redacted_object(value), ensure_ascii=False)


def _redacted_object(value: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: redacted(item) for key, item in value.items()}


def redacted(value: JsonValue) -> JsonValue:
    """The value with `secrets.redact` applied to every string inside; applied to JSON text it could eat a quote.

    Halves of surrogate pairs, which a card may hold and no file can, become question marks.
    """
    if isinstance(value, str):
        return redact(value).encode(errors="replace").decode()
    if isinstance(value, Sequence):
        return [redacted(item) for item in value]
    if isinstance(value, Mapping):
        return _redacted_object(value)
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"expected a blob, got {type(value).__name__}")
    return value
