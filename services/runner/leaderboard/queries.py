"""The queries of a leaderboard's `leaderboard.json`, which platforms run with DuckDB over a table `results` of all result files.

The first four are those AgentBusters leaderboards ask, unchanged: they are facts of the interface. Ours read files through JSON
paths, so they bind whatever else lies in the folder, and add concatenated shards up by their counts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROLE: Final = "purple_agent"
ROLE_GRAMMAR: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_FOLDER: Final = Path(__file__).with_name("queries")
_AGENTBUSTERS: Final = {
    "Overall Performance": "overall_performance",
    "Section Breakdown": "section_breakdown",
    "GDPVal Professional Tasks": "gdpval_professional_tasks",
    "Crypto Trading Details": "crypto_trading_details",
}
_OURS: Final = {
    "Overall": "overall",
    "Sections": "sections",
    "Outcomes": "outcomes",
    "Cost and latency": "cost_and_latency",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One table of a leaderboard; the first column is `id`."""

    name: str
    query: str


def shipped(role: str = ROLE) -> list[Query]:
    """The eight queries for the participant `role`. Raises ValueError when no scenario could name a role so."""
    if not ROLE_GRAMMAR.fullmatch(role):
        raise ValueError(f"role {role!r}: expected a letter, then letters, digits, `_` or `-`, at most 63 characters")
    entries = _read("entries")
    theirs = [Query(name=name, query=_asked_of(_read(file), role)) for name, file in _AGENTBUSTERS.items()]
    ours = [Query(name=name, query=_asked_of(f"{entries} {_read(file)}", role)) for name, file in _OURS.items()]
    return [*theirs, *ours]


def as_objects(queries: Sequence[Query]) -> list[dict[str, str]]:
    """The JSON of `leaderboard.json`."""
    return [{"name": query.name, "query": query.query} for query in queries]


def _read(file: str) -> str:
    """A query on one line, as `leaderboard.json` holds it."""
    return " ".join((_FOLDER / f"{file}.sql").read_text(encoding="utf-8").split())


def _asked_of(query: str, role: str) -> str:
    """Any other role is quoted: it may hold `-`, or be a word of SQL."""
    return query if role == ROLE else query.replace(f"participants.{ROLE}", f'participants."{role}"')
