"""A table of texts as terminals, Markdown and CSV show it. Every cell may hold words of an agent: each form has its escaping."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

WIDEST: Final = 60
"""Characters of one cell in a terminal."""
_FORMULA: Final = ("=", "+", "-", "@")
_MARKDOWN: Final = str.maketrans(
    {mark: f"\\{mark}" for mark in "\\`*_[]|~!#$"} | {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)
Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A heading; numbers stand to the right."""

    name: str
    right: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Texts in rows, with what is said above and below them."""

    title: str = ""
    above: tuple[str, ...] = ()
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    below: tuple[str, ...] = ()


def plain(text: str, *, width: int | None = None) -> str:
    """One line without control, format or private characters, cut visibly."""
    clean = "".join(
        "\ufffd" if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"} and not c.isspace() else c for c in text
    )
    flat = " ".join(clean.split())
    return flat if width is None or len(flat) <= width else flat[: width - 1] + "…"


def without_empty(grid: Grid) -> Grid:
    """The grid without columns in which nothing is said."""
    kept = [n for n in range(len(grid.columns)) if any(row[n] for row in grid.rows)]
    rows = tuple(tuple(row[n] for n in kept) for row in grid.rows)
    return replace(grid, columns=tuple(grid.columns[n] for n in kept), rows=rows)


def as_text(grids: Sequence[Grid]) -> str:
    """Aligned columns."""
    return "\n\n".join("\n".join(_text_lines(grid)) for grid in grids)


def as_markdown(grids: Sequence[Grid]) -> str:
    """GitHub's tables."""
    return "\n\n".join("\n\n".join(_markdown_blocks(grid)) for grid in grids)


def as_csv(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    """RFC 4180 with line feeds. A text that a spreadsheet would take for a formula gets an apostrophe in front."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(map(_csv_cell, columns))
    writer.writerows([_csv_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def _text_lines(grid: Grid) -> list[str]:
    from rich.cells import cell_len  # noqa: PLC0415 - keeps --help quick

    head = [column.name for column in grid.columns]
    table = [[plain(cell, width=WIDEST) for cell in row] for row in (head, *grid.rows)]
    widths = [max(cell_len(row[n]) for row in table) for n in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        cells = [pad + cell if c.right else cell + pad for cell, pad, c in zip(row, padded, grid.columns, strict=True)]
        return "  ".join(cells).rstrip()

    title = [plain(grid.title)] if grid.title else []
    return [*title, *map(plain, grid.above), *map(line, table), *map(plain, grid.below)]


def _markdown_blocks(grid: Grid) -> list[str]:
    head = [_markdown_cell(column.name) for column in grid.columns]
    rule = ["---:" if column.right else "---" for column in grid.columns]
    body = [[_markdown_cell(cell) for cell in row] for row in grid.rows]
    title = [f"## {_markdown_cell(grid.title)}"] if grid.title else []
    table = "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))
    return [*title, *map(_markdown_cell, grid.above), table, *map(_markdown_cell, grid.below)]


def _markdown_cell(text: str) -> str:
    """Text that cannot leave its cell, become markup, or turn into a link by itself."""
    flat = plain(text).translate(_MARKDOWN).replace("://", ":\\/\\/")
    return flat.replace("www.", "www\\.").replace("WWW.", "WWW\\.") or " "


def _csv_cell(cell: Value) -> Value:
    if not isinstance(cell, str):
        return cell
    text = plain(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text
