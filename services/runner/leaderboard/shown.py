"""A leaderboard in words and numbers: its grids for people, its rows for spreadsheets, its object for programs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Final

from pydantic import JsonValue

from services.contract.results import Section
from services.runner.leaderboard.board import COLUMNS, Board, OldTable, Placed, Table
from services.runner.leaderboard.entries import Entry, OldEntry, Standing
from services.runner.leaderboard.grid import Column, Grid, Value, plain, without_empty
from services.runner.leaderboard.reading import Skipped

FEW: Final = 3
"""Files that are named for one reason before the rest are only counted."""
UNKNOWN: Final = "\N{EN DASH}"
CSV_COLUMNS: Final = (
    "Table", "Rank", "Model", "Agent", "ID", "Tasks", "Overall", *COLUMNS.values(), "Coverage", "Lower", "Upper",
    "Interval low", "Interval high", "Complete", "Errors", "Errors graded", "Errors at 0", "Marks", "Form", "File",
)  # fmt: skip
OLD: Final = "older formats"
OURS_FOOT: Final = (
    "Incomplete entries stand at their lower bound, the score if every unscored trial failed. Entries whose intervals overlap"
    " widely were not told apart."
)
OLD_FOOT: Final = (
    "These files do not say what was asked, so their scores are never ranked with others. Stored: the score in the file. Errors:"
    " rows with an error, which the stored score leaves out, and error texts graded as answers. Ranked with every error at 0."
)


def digest_of(table: Table) -> str:
    """The plan's digest, short."""
    return table.comparable.plan_digest.removeprefix("sha256:")[:8]


def title_of(table: Table) -> str:
    """What the entries of a table share; the suite's name, which each file is free to choose, as most of them have it."""
    entry = table.entries[0].entry
    trials = f" of {entry.trials} trials" if entry.trials > 1 else ""
    tasks = f"{entry.tasks} {'task' if entry.tasks == 1 else 'tasks'}"
    suites = Counter(placed.entry.suite for placed in table.entries)
    suite = min(suites, key=lambda name: (-suites[name], name))
    return f"{plain(suite, width=60) or 'unnamed suite'}: {tasks}{trials}, seed {entry.seed}, plan {digest_of(table)}"


def remarks(table: Table) -> tuple[str, ...]:
    """What a reader must know of a table."""
    weights = [f"{COLUMNS[Section(name)]} {100 * weight:.4g} %" for name, weight in table.comparable.weights]
    equal = len({weight for _, weight in table.comparable.weights}) == 1
    told = ["Every section weighs the same."] if equal else [f"Weights: {', '.join(weights)}."] if weights else []
    if table.comparable.selected_on_scoring_tests:
        told.append("These agents could choose among their answers by the tests that scored them.")
    if len(table.judges) > 1:
        told.append(f"Judged by different models ({_some(table.judges)}): a difference may be the judge's.")
    return tuple(told)


def old_remark(table: OldTable) -> str:
    """How much of the older files is errors."""
    told = [placed.entry.result for placed in table.entries if placed.entry.result.rows]
    rows, errors = sum(len(old.rows) for old in told), sum(old.errors for old in told)
    if not errors:
        return f"{rows} rows, none of them an error."
    graded, touched = sum(old.graded_errors for old in told), sum(old.errors > 0 for old in told)
    return (
        f"{errors} of {rows} rows ({share(errors / rows)}) are errors, in {touched} of {len(told)} entries; the text of {graded}"
        " was graded as an answer."
    )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return ", ".join(plain(name, width=60) for name in names[:FEW]) + more


def warnings(skipped: Sequence[Skipped]) -> Iterator[str]:
    """A few files a reason, then how many more."""
    kinds: dict[str, list[Skipped]] = defaultdict(list)
    for one in skipped:
        kinds[one.reason.partition(":")[0].partition(" (")[0]].append(one)
    for reason, group in kinds.items():
        yield from (f"{one.file}: {one.reason}" for one in group[:FEW])
        if len(group) > FEW:
            yield f"and {len(group) - FEW} more with the same reason: {reason} (--json names all)"


def grids(board: Board) -> list[Grid]:
    """One grid a table."""
    shown = [_grid(table) for table in board.tables]
    if shown:
        shown[-1] = replace(shown[-1], below=(*shown[-1].below, OURS_FOOT))
    return shown if board.old is None else [*shown, _old_grid(board.old)]


def csv_rows(board: Board) -> list[list[Value]]:
    """One row an entry, columns of CSV_COLUMNS; unknown is empty."""
    found: list[dict[str, Value]] = []
    for table in board.tables:
        found += [_csv_row(table, placed) for placed in table.entries]
    if board.old is not None:
        found += [_old_csv_row(placed) for placed in board.old.entries]
    return [[row.get(name) for name in CSV_COLUMNS] for row in found]


def board_object(board: Board) -> dict[str, JsonValue]:
    """The object of `--format json`; scores 0..100, null where unknown."""
    return {
        "tables": [
            {
                "title": title_of(table),
                "plan_digest": table.comparable.plan_digest,
                "section_mean": table.comparable.section_mean,
                "weights": [{"section": name, "weight": weight} for name, weight in table.comparable.weights],
                "selected_on_scoring_tests": table.comparable.selected_on_scoring_tests,
                "judges": list(table.judges),
                "entries": [_entry_object(placed) for placed in table.entries],
                "left_off": table.left_off,
            }
            for table in board.tables
        ],
        "old": None
        if board.old is None
        else {"entries": [_old_object(placed) for placed in board.old.entries], "left_off": board.old.left_off},
        "other_files": list(board.other_files),
        "skipped": [{"file": skipped.file, "reason": skipped.reason} for skipped in board.skipped],
        "notes": list(board.notes),
    }


def points(value: float | None) -> str:
    """A score of 0..100."""
    return UNKNOWN if value is None else f"{value:.1f}"


def span(low: float | None, high: float | None) -> str:
    """A range of scores."""
    return "unknown" if low is None or high is None else f"{low:.1f} {UNKNOWN} {high:.1f}"


def share(value: float | None) -> str:
    """0..1 as percent; what is not whole is never rounded up to 100."""
    if value is None:
        return "unknown"
    return "99.9 %" if 0.9995 <= value < 1 else f"{100 * value:.1f} %".replace(".0 %", " %")


def told_errors(entry: OldEntry) -> str:
    """How many rows are errors, of all."""
    old = entry.result
    return f"{old.errors}/{len(old.rows)} ({share(old.errors / len(old.rows))})" if old.rows else "unknown"


def _grid(table: Table) -> Grid:
    numbers = [
        "Tasks",
        "Overall",
        "95 % interval",
        *(COLUMNS[section] for section in table.sections),
        "Coverage",
        "Bounds",
    ]
    return without_empty(
        Grid(
            title=title_of(table),
            above=remarks(table),
            columns=(
                Column(name="#", right=True),
                *(Column(name=name) for name in ("Model", "Agent", "ID")),
                *(Column(name=name, right=True) for name in numbers),
                Column(name="Marks"),
                Column(name="File"),
            ),
            rows=tuple(_cells(placed, table.sections) for placed in table.entries),
            below=tuple(_left_off(table.left_off)),
        )
    )


def _cells(placed: Placed[Entry], sections: Sequence[Section]) -> tuple[str, ...]:
    entry = placed.entry
    return (
        _rank(placed.rank),
        entry.model,
        "" if entry.agent == entry.model else entry.agent,
        "" if entry.id == entry.model else entry.id,
        f"{entry.overall.counted}/{entry.overall.planned}",
        points(entry.overall.score),
        span(entry.overall.interval_low, entry.overall.interval_high),
        *(_section_cell(entry.sections.get(section)) for section in sections),
        share(entry.overall.coverage),
        "" if entry.overall.complete else span(entry.overall.lower, entry.overall.upper),
        ", ".join(entry.marks),
        entry.file,
    )


def _section_cell(standing: Standing | None) -> str:
    if standing is None:
        return UNKNOWN
    least = "" if standing.complete else f" (≥ {standing.lower:.1f})"
    return points(standing.score) + least


def _old_grid(table: OldTable) -> Grid:
    sections = [COLUMNS[section] for section in table.sections]
    numbers = ["Tasks", "Stored", "Errors", "Errors at 0", "Errors left out", *sections, "Coverage"]
    return without_empty(
        Grid(
            title=f"Of {OLD}",
            above=(old_remark(table),),
            columns=(
                Column(name="#", right=True),
                *(Column(name=name) for name in ("Model", "ID")),
                *(Column(name=name, right=True) for name in numbers),
                *(Column(name=name) for name in ("Marks", "Form", "File")),
            ),
            rows=tuple(_old_cells(placed, table.sections) for placed in table.entries),
            below=(*_left_off(table.left_off), OLD_FOOT),
        )
    )


def _old_cells(placed: Placed[OldEntry], sections: Sequence[Section]) -> tuple[str, ...]:
    old = placed.entry.result
    return (
        _rank(placed.rank),
        old.model,
        old.agent,
        UNKNOWN if old.tasks is None else str(old.tasks),
        points(old.stored),
        told_errors(placed.entry),
        points(old.recomputed),
        points(old.errors_excluded),
        *(points(old.stored_sections.get(section)) for section in sections),
        share(old.coverage),
        ", ".join(placed.entry.marks),
        old.form,
        placed.entry.file,
    )


def _rank(rank: int | None) -> str:
    return UNKNOWN if rank is None else str(rank)


def _left_off(count: int) -> Iterator[str]:
    if count:
        yield f"{count} more {'is' if count == 1 else 'are'} not shown."


def _csv_row(table: Table, placed: Placed[Entry]) -> dict[str, Value]:
    entry, overall = placed.entry, placed.entry.overall
    sections: dict[str, Value] = {COLUMNS[section]: _rounded(of.score) for section, of in entry.sections.items()}
    return sections | {
        "Table": f"plan {digest_of(table)}",
        "Rank": placed.rank,
        "Model": entry.model,
        "Agent": entry.agent,
        "ID": entry.id,
        "Tasks": overall.planned,
        "Overall": _rounded(overall.score),
        "Coverage": _rounded(overall.coverage),
        "Lower": _rounded(overall.lower),
        "Upper": _rounded(overall.upper),
        "Interval low": _rounded(overall.interval_low),
        "Interval high": _rounded(overall.interval_high),
        "Complete": overall.complete,
        "Errors": sum(entry.outcomes.values()) - entry.outcomes.get("scored", 0),
        "Errors graded": 0,
        "Marks": ", ".join(entry.marks),
        "Form": "assay",
        "File": entry.file,
    }


def _old_csv_row(placed: Placed[OldEntry]) -> dict[str, Value]:
    old = placed.entry.result
    sections: dict[str, Value] = {
        column: _rounded(old.stored_sections.get(section)) for section, column in COLUMNS.items()
    }
    return sections | {
        "Table": OLD,
        "Rank": placed.rank,
        "Model": old.model,
        "ID": old.agent,
        "Tasks": old.tasks,
        "Overall": _rounded(old.stored),
        "Coverage": _rounded(old.coverage),
        "Errors": old.errors if old.rows else None,
        "Errors graded": old.graded_errors if old.rows else None,
        "Errors at 0": _rounded(old.recomputed),
        "Marks": ", ".join(placed.entry.marks),
        "Form": old.form,
        "File": placed.entry.file,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _entry_object(placed: Placed[Entry]) -> dict[str, JsonValue]:
    entry = placed.entry
    return {
        "rank": placed.rank,
        "model": entry.model,
        "agent": entry.agent,
        "id": entry.id,
        "form": "assay",
        "file": entry.file,
        "overall": _standing_object(entry.overall),
        "sections": [{"section": str(name), **_standing_object(of)} for name, of in entry.sections.items()],
        "passed": entry.passed,
        "outcomes": {**entry.outcomes},
        "judges": list(entry.judges),
        "marks": list(entry.marks),
    }


def _standing_object(standing: Standing) -> dict[str, JsonValue]:
    return asdict(standing) | {"complete": standing.complete, "coverage": standing.coverage}


def _old_object(placed: Placed[OldEntry]) -> dict[str, JsonValue]:
    old = placed.entry.result
    return {
        "rank": placed.rank,
        "model": old.model,
        "id": old.agent,
        "form": old.form,
        "file": placed.entry.file,
        "tasks": old.tasks,
        "stored": old.stored,
        "stored_sections": [{"section": name, "score": score} for name, score in old.stored_sections.items()],
        "rows": len(old.rows),
        "errors": old.errors,
        "errors_graded": old.graded_errors,
        "coverage": old.coverage,
        "recomputed": old.recomputed,
        "errors_excluded": old.errors_excluded,
        "marks": list(placed.entry.marks),
    }
