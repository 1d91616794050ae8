"""Entries to tables: what cannot be compared stands apart, a run counts once, what is incomplete ranks by its lower bound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.contract.results import Section
from services.runner.failures import ScenarioError
from services.runner.leaderboard.entries import Comparable, Entry, OldEntry, Standing
from services.runner.leaderboard.reading import Found, Skipped

COLUMNS: Final = {
    Section.KNOWLEDGE_RETRIEVAL: "Knowledge",
    Section.ANALYTICAL_REASONING: "Analysis",
    Section.OPTIONS_TRADING: "Options",
    Section.CRYPTO_TRADING: "Crypto",
    Section.PROFESSIONAL_TASKS: "GDPVal",
    Section.CODE: "Code",
    Section.MATH: "Math",
    Section.DIALOGUE: "Dialogue",
}
T = TypeVar("T")
Key = float | str | None
SORTABLE: Final = ("Overall", "Coverage", "Tasks", "Model", "File", *COLUMNS.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Placed(Generic[T]):
    """An entry and its rank by the overall score; equals share one. None: no score, or nothing known that could rank it."""

    rank: int | None
    entry: T


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Entries that may be compared: one plan, one weighting."""

    comparable: Comparable
    sections: tuple[Section, ...]
    entries: tuple[Placed[Entry], ...]
    left_off: int
    judges: tuple[str, ...]
    """Every judge of the table; more than one is said."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldTable:
    """Entries of older formats, which say neither what was asked nor how it was judged."""

    sections: tuple[Section, ...]
    entries: tuple[Placed[OldEntry], ...]
    left_off: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """The tables, and what is not in them."""

    tables: tuple[Table, ...]
    old: OldTable | None
    skipped: tuple[Skipped, ...]
    other_files: tuple[str, ...]
    """JSON files that are no results."""
    notes: tuple[str, ...]
    """Runs that were found more than once, and plans that files describe differently."""


def build_board(found: Found, *, sort_by: str, top: int | None) -> Board:
    """Arrange what was found. Raises ScenarioError for a column there is not."""
    column = next((name for name in SORTABLE if name.lower() == sort_by.lower()), None)
    if column is None:
        raise ScenarioError(f"--sort-by {sort_by!r}: no such column; known: {', '.join(SORTABLE)}")
    notes: list[str] = []
    entries = list(_once(found.entries, notes))
    groups: dict[Comparable, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.comparable].append(entry)
    tables = [_table(comparable, group, column, top) for comparable, group in groups.items()]
    notes += _other_accounts(groups)
    old = list(_old_once(found.old, notes))
    return Board(
        tables=tuple(sorted(tables, key=lambda table: (-len(table.entries) - table.left_off, table.comparable))),
        old=_old_table(old, column, top) if old else None,
        skipped=tuple(found.skipped),
        other_files=tuple(found.no_results),
        notes=tuple(notes),
    )


def _once(entries: Sequence[Entry], notes: list[str]) -> Iterator[Entry]:
    """Each run once, as its most complete file tells it.

    Files that say different things of one run are all shown, and so are those of different participants: who copies the id of
    a run must not take it off the board.
    """
    runs: dict[tuple[str, Comparable], list[Entry]] = defaultdict(list)
    for entry in entries:
        runs[entry.identity, entry.comparable].append(entry)
    for copies in runs.values():
        names = sorted({entry.id for entry in copies} - {""})
        if len(names) > 1:
            yield from copies
            files = ", ".join(entry.file for entry in copies)
            notes.append(f"{files}: the same run of different participants ({', '.join(names)}); all are shown")
            continue
        most = max(entry.overall.counted for entry in copies)
        whole = [entry for entry in copies if entry.overall.counted == most]
        kept = [entry for n, entry in enumerate(whole) if all(entry.overall != other.overall for other in whole[:n])]
        yield from kept
        if len(kept) > 1:
            files = ", ".join(entry.file for entry in kept)
            notes.append(f"{files}: the same run with different numbers; both are shown, at most one is right")
        others = [entry for entry in copies if all(entry is not other for other in kept)]
        notes += [f"{entry.file}: the same run as {kept[0].file}, counted once" for entry in others]


def _other_accounts(groups: Mapping[Comparable, Sequence[Entry]]) -> Iterator[str]:
    """Files that claim one plan and do not agree on its data sets: no digest covers how many tasks of each there are."""
    accounts: dict[str, dict[tuple[object, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    for comparable, entries in groups.items():
        accounts[comparable.plan_digest][comparable.datasets, comparable.trials] += [entry.file for entry in entries]
    for told in accounts.values():
        if len(told) > 1:
            files = " | ".join(", ".join(sorted(names)) for names in told.values())
            yield f"{files}: the same plan with other data sets, tasks or trials; they stand in tables of their own"


def _old_once(entries: Sequence[OldEntry], notes: list[str]) -> Iterator[OldEntry]:
    first: dict[str, OldEntry] = {}
    for entry in entries:
        kept = first.setdefault(entry.identity, entry)
        if kept is entry:
            yield entry
        else:
            notes.append(f"{entry.file}: the same as {kept.file}, counted once")


def _table(comparable: Comparable, entries: Sequence[Entry], column: str, top: int | None) -> Table:
    ranked = _ranked(sorted(entries, key=lambda entry: (entry.model, entry.id, entry.file)), _rank_of)
    placed = _ordered(ranked, _KEYS.get(column, _section_key(column)))
    present = {section for entry in entries for section in entry.sections}
    return Table(
        comparable=comparable,
        sections=tuple(section for section in COLUMNS if section in present),
        entries=tuple(placed[:top]),
        left_off=0 if top is None else len(placed[top:]),
        judges=tuple(sorted({judge for entry in entries for judge in entry.judges})),
    )


def _old_table(entries: Sequence[OldEntry], column: str, top: int | None) -> OldTable:
    by_name = sorted(entries, key=lambda entry: (entry.result.model, entry.result.agent, entry.file))
    placed = _ordered(_ranked(by_name, lambda entry: entry.placed_by), _OLD_KEYS.get(column, _old_section_key(column)))
    present = {section for entry in entries for section in entry.result.stored_sections}
    return OldTable(
        sections=tuple(section for section in COLUMNS if section in present),
        entries=tuple(placed[:top]),
        left_off=0 if top is None else len(placed[top:]),
    )


def _rank_of(entry: Entry) -> float | None:
    """None for an entry without a score: it has a place, no rank."""
    return None if entry.overall.score is None else entry.overall.placed_by


def _ranked(entries: Sequence[T], value: Callable[[T], float | None]) -> list[Placed[T]]:
    """From the highest; what has no value comes last."""
    placed: list[Placed[T]] = []
    for place, entry in enumerate(sorted(entries, key=lambda entry: _downward(value(entry))), 1):
        own, last = value(entry), placed[-1] if placed else None
        rank = last.rank if last is not None and own == value(last.entry) else place
        placed.append(Placed(rank=None if own is None else rank, entry=entry))
    return placed


def _ordered(placed: Sequence[Placed[T]], key: Callable[[T], Key]) -> list[Placed[T]]:
    """Numbers from the highest, names from A, what is unknown last; equals as they are ranked."""

    def order(entry: Placed[T]) -> tuple[bool, float, str]:
        value = key(entry.entry)
        return (False, 0.0, value) if isinstance(value, str) else (*_downward(value), "")

    return sorted(placed, key=order)


def _downward(value: float | None) -> tuple[bool, float]:
    return value is None, 0.0 if value is None else -value


def _of(standing: Standing | None) -> float | None:
    return None if standing is None else standing.placed_by


_KEYS: Final[dict[str, Callable[[Entry], Key]]] = {
    "Overall": lambda entry: entry.overall.placed_by,
    "Coverage": lambda entry: entry.overall.coverage,
    "Tasks": lambda entry: float(entry.overall.planned),
    "Model": lambda entry: entry.model,
    "File": lambda entry: entry.file,
}
_OLD_KEYS: Final[dict[str, Callable[[OldEntry], Key]]] = {
    "Overall": lambda entry: entry.placed_by,
    "Coverage": lambda entry: entry.result.coverage,
    "Tasks": lambda entry: entry.result.tasks,
    "Model": lambda entry: entry.result.model,
    "File": lambda entry: entry.file,
}


def _section_key(column: str) -> Callable[[Entry], Key]:
    return lambda entry: next((_of(entry.sections.get(s)) for s, name in COLUMNS.items() if name == column), None)


def _old_section_key(column: str) -> Callable[[OldEntry], Key]:
    return lambda entry: next(
        (entry.result.stored_sections.get(s) for s, name in COLUMNS.items() if name == column), None
    )
