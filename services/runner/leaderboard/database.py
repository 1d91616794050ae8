"""Queries over result files with DuckDB, as platforms run them. A query sees the table `results` and nothing of this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.runner.failures import ScenarioError
from services.runner.leaderboard.grid import Value, plain
from services.runner.leaderboard.queries import ROLE, Query, shipped

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_LEAST_OBJECT: Final = 16 * 1024 * 1024
"""DuckDB's own bound on one JSON object, in bytes; raised for larger files."""
_GLOB: Final = re.compile(r"[*?\[]")
"""A file whose name holds one of these would bring others with it."""
_CLOSED: Final = (
    "RESET memory_limit",
    "SET temp_directory = ''",  # a query may write into that folder, which is one of the working directory
    "SET enable_external_access = false",
    "SET python_enable_replacements = false",
    "SET autoinstall_known_extensions = false",
    "SET lock_configuration = true",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a query gave."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


def query_named(given: str, role: str = ROLE) -> Query:
    """A shipped query by its name, else the SQL of a file, or of a `leaderboard.json` with one query. Raises ScenarioError."""
    try:
        known = shipped(role)
    except ValueError as error:
        raise ScenarioError(str(error)) from None
    found = next((query for query in known if query.name.lower() == given.lower()), None)
    if found is not None:
        return found
    path = Path(given)
    names = ", ".join(repr(query.name) for query in known)
    if not path.is_file():
        raise ScenarioError(f"--query {given!r}: neither a file nor one of {names}")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"--query {given}: cannot be read ({error})") from None
    if path.suffix != ".json":
        return Query(name=path.stem, query=text)
    return _only_query(path, text)


class Results:
    """The table `results` of some files, and nothing else."""

    def __init__(self, connection: DuckDBPyConnection, roles: Sequence[str]) -> None:
        self._connection = connection
        self._roles = roles

    def ask(self, query: Query) -> Answer:
        """Raises ScenarioError with what DuckDB says of the query."""
        import duckdb  # noqa: PLC0415 - an extra

        try:
            relation = self._connection.execute(query.query)
            columns = tuple(column[0] for column in relation.description or ())
            rows = tuple(tuple(map(_value, row)) for row in relation.fetchall()) if columns else ()
        except duckdb.Error as error:
            hint = "" if ROLE in self._roles else f"; the participants are {', '.join(self._roles)}: see --role"
            raise ScenarioError(f"query {query.name!r}: {plain(str(error), width=600)}{hint}") from None
        return Answer(name=query.name, columns=columns, rows=rows)


@contextmanager
def results_of(files: Sequence[Path], *, union_by_name: bool = False) -> Iterator[Results]:
    """The table of result files of the form `{participants, results}`, shut off from this machine. Raises ScenarioError."""
    try:
        import duckdb  # noqa: PLC0415 - an extra
    except ImportError:
        raise ScenarioError("--query needs DuckDB: pip install 'assay[leaderboard]'") from None
    with duckdb.connect(":memory:") as connection:
        try:
            roles = _load(connection, files, union_by_name=union_by_name)
        except duckdb.Error as error:
            raise ScenarioError(f"the files do not make one table: {plain(str(error), width=600)}") from None
        yield Results(connection, roles)


def _load(connection: DuckDBPyConnection, files: Sequence[Path], *, union_by_name: bool) -> list[str]:
    """Make the table `results`, shut the way out, and say which roles take part.

    Every file is sampled: left alone, DuckDB looks at 32 and fails over a later one whose fields have other types.
    """
    largest = max([_LEAST_OBJECT, *(2 * path.stat().st_size for path in files)])
    # A buffer of twice that stands on DuckDB's books for each file, though hardly touched: 600 small files would be refused.
    connection.execute(f"SET memory_limit = '{(len(files) + 1024) * 2 * largest >> 20} MiB'")
    connection.execute(
        "CREATE TABLE results AS SELECT * FROM read_json_auto("
        "?, union_by_name = ?, maximum_object_size = ?, maximum_sample_files = ?)",
        [[_GLOB.sub(r"[\g<0>]", str(path)) for path in files], union_by_name, largest, len(files)],
    )
    roles = connection.execute(
        "SELECT DISTINCT unnest(json_keys(to_json(participants))) AS role FROM results ORDER BY role"
    )
    found = [str(row[0]) for row in roles.fetchall()]
    for setting in _CLOSED:
        connection.execute(setting)
    return found


def _only_query(path: Path, text: str) -> Query:
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"--query {path}: not JSON ({error})") from None
    listed = raw if isinstance(raw, list) else [raw]
    queries = [
        Query(name=str(entry["name"]), query=str(entry["query"]))
        for entry in listed
        if isinstance(entry, dict) and {"name", "query"} <= entry.keys()
    ]
    if len(queries) != 1 or len(listed) != 1:
        names = ", ".join(repr(plain(query.name, width=60)) for query in queries) or "none"
        raise ScenarioError(
            f'--query {path}: expected one {{"name", "query"}}, found {names}; put the SQL of one into a file'
        )
    return queries[0]


def _value(raw: object) -> Value:
    """Numbers stay numbers; everything else is its text, nothing stays nothing."""
    return raw if raw is None or isinstance(raw, str | int | float | bool) else str(raw)
