"""Verdicts on disk, so that a question is paid for once: SQLite, safe for concurrent processes.

An aid, not a record: what is in it also stands in the rows. A cache that cannot be used is left alone, aloud.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from services.contract.judgements import Judgement

log = structlog.get_logger()

FILE_NAME: Final = "verdicts.db"
BUSY_S: Final = 10.0
READ_BUSY_S: Final = 0.05
"""Readers wait for nobody but a checkpoint that starts the log anew; what cannot be read then is asked again."""
ABILITY_S: Final = 86_400.0
"""Seconds for which it is believed how a model takes a schema."""
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, body TEXT NOT NULL, created REAL NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS abilities (endpoint TEXT PRIMARY KEY, mode TEXT NOT NULL, probed REAL NOT NULL) STRICT, WITHOUT ROWID;
"""

Mode = Literal["schema", "json", "prompt"]
"""How JSON is asked for: by a strict schema, by JSON mode, or in words alone."""


class Kept(BaseModel):
    """A verdict with the calls that gave it."""

    model_config = ConfigDict(frozen=True)

    values: Mapping[str, bool | int | str]
    reasons: Mapping[str, str]
    injection_suspected: bool
    judgements: tuple[Judgement, ...]


def cache_folder() -> Path:
    """`$ASSAY_CACHE/judge`, else `assay/judge` in the user's cache folder of this platform."""
    configured = os.environ.get("ASSAY_CACHE")
    return (Path(configured) if configured else _user_cache() / "assay") / "judge"


def _user_cache() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


class VerdictCache:
    """One open cache. Its methods never raise for a broken file.

    Writing happens in a worker thread. A read by key takes about 20 microseconds, a tenth of what a thread would cost, and waits
    for no writer, so it is done at once, over a connection of its own.
    """

    def __init__(self, writer: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = threading.Lock()

    @classmethod
    async def open(cls, folder: Path) -> VerdictCache | None:
        """The cache in this folder, made when there is none; None when it cannot be used, which is logged."""
        try:
            return cls(*await asyncio.to_thread(_connected, folder))
        except (OSError, sqlite3.Error) as error:
            log.warning("judge_cache_unusable", folder=str(folder), reason=str(error))
            return None

    def get(self, key: str) -> Kept | None:
        """What is kept under this key."""
        body = self._one("SELECT body FROM verdicts WHERE key = ?", (key,))
        try:
            return None if body is None else Kept.model_validate_json(body)
        except ValidationError:
            log.warning("judge_cache_entry_unreadable", key=key)
            return None

    async def put(self, key: str, kept: Kept) -> None:
        """Keep a verdict; the first one stays, so that all processes go on with the same."""
        statement = "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)"
        await asyncio.to_thread(self._write, statement, (key, kept.model_dump_json(), time.time()))

    def mode(self, endpoint: str) -> Mode | None:
        """How this endpoint was last found to take a schema; None when that is unknown or long ago."""
        statement = "SELECT mode FROM abilities WHERE endpoint = ? AND probed > ?"
        found = self._one(statement, (endpoint, time.time() - ABILITY_S))
        return next((mode for mode in ("schema", "json", "prompt") if mode == found), None)

    async def set_mode(self, endpoint: str, mode: Mode) -> None:
        """Keep how this endpoint takes a schema."""
        statement = "INSERT OR REPLACE INTO abilities VALUES (?, ?, ?)"
        await asyncio.to_thread(self._write, statement, (endpoint, mode, time.time()))

    async def aclose(self) -> None:
        """Close the file."""
        self._reader.close()
        await asyncio.to_thread(self._close)

    def _one(self, statement: str, values: tuple[str | float, ...]) -> str | None:
        try:
            row = self._reader.execute(statement, values).fetchone()
        except sqlite3.Error as error:
            log.warning("judge_cache_not_read", reason=str(error))
            return None
        return None if row is None else str(row[0])

    def _write(self, statement: str, values: tuple[str | float, ...]) -> None:
        try:
            with self._lock:
                self._writer.execute(statement, values)
        except sqlite3.Error as error:
            log.warning("judge_cache_not_written", reason=str(error))

    def _close(self) -> None:
        with self._lock:
            self._writer.close()


def _connected(folder: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """A connection to write, used under a lock from any thread, and one to read; both in autocommit."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = _connection(folder, BUSY_S)
    try:
        _prepare(writer)
        return writer, _connection(folder, READ_BUSY_S)
    except sqlite3.Error:
        writer.close()
        raise


def _connection(folder: Path, busy_s: float) -> sqlite3.Connection:
    return sqlite3.connect(folder / FILE_NAME, timeout=busy_s, isolation_level=None, check_same_thread=False)


def _prepare(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version not in {0, _VERSION}:
        raise sqlite3.DatabaseError(f"it has version {version}, expected {_VERSION}: another release of Assay made it")
    if version == 0:
        # Readers and writers of several processes do not wait for each other; a lost last commit is only asked again.
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    connection.execute("PRAGMA synchronous = NORMAL")
