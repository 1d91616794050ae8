"""Text of tables, web pages and plain text, by the standard library."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import islice
from typing import Final

from services.contract.documents.model import Extract, Order

_SILENT: Final = frozenset({"script", "style", "template", "noscript"})
_BLOCKS: Final = frozenset(
    {"p", "div", "br", "li", "tr", "h1", "h2", "h3", "h4", "h5", "h6", "section", "article", "table", "pre", "hr"}
)
_CELLS: Final = frozenset({"td", "th"})


def read_text(content: bytes, order: Order) -> Extract:
    """The lines of the window."""
    text, notes = _decoded(content)
    window = order.window
    if not window.row_offset and window.row_limit is None:
        return Extract(text=text, notes=notes)
    lines = text.splitlines()
    end = None if window.row_limit is None else window.row_offset + window.row_limit
    if end is not None and end < len(lines):
        notes.append(f"lines from {end + 1} left out")
    return Extract(text="\n".join(lines[window.row_offset : end]), notes=notes)


def read_table(content: bytes, order: Order) -> Extract:
    """The rows of the window, cells apart by tabs; what is no table is given as text."""
    text, notes = _decoded(content)
    delimiter = "\t" if order.suffix == ".tsv" else ","
    csv.field_size_limit(order.limits.file_bytes)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return _table(rows, order, notes)
    except csv.Error as error:
        return read_text(content, order).model_copy(update={"notes": [*notes, f"no proper table ({error})"]})


def _table(rows: Iterator[list[str]], order: Order, notes: list[str]) -> Extract:
    window, room = order.window, order.limits.cells
    end = None if window.row_limit is None else window.row_offset + window.row_limit
    lines: list[str] = []
    for number, row in enumerate(islice(rows, window.row_offset, None), window.row_offset + 1):
        room -= len(row)
        if room < 0 or (end is not None and number > end):
            notes.append(f"rows from {number} left out")
            break
        lines.append("\t".join(cell.replace("\n", " ") for cell in row))
    return Extract(text="\n".join(lines), notes=notes)


def read_html(content: bytes, order: Order) -> Extract:
    """What a reader of the page sees, the lines of the window; scripts and styles are passed over."""
    text, notes = _decoded(content)
    page = _Page()
    page.feed(text)
    page.close()
    lines = (_tidy(line) for line in "".join(page.said).split("\n"))
    shown = read_text("\n".join(line for line in lines if line).encode("utf-8", "replace"), order)
    return shown.model_copy(update={"notes": [*notes, *shown.notes]})


def _tidy(line: str) -> str:
    """One line of a page: blanks as a browser shows them, cells still apart by tabs."""
    return "\t".join(" ".join(cell.split()) for cell in line.split("\t")).strip()


class _Page(HTMLParser):
    """Collects visible text; a block begins a line, a cell a column."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _SILENT:
            self._silent += 1
        elif tag in _BLOCKS:
            self.said.append("\n")
        elif tag in _CELLS:
            self.said.append("\t")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SILENT:
            self._silent = max(0, self._silent - 1)
        elif tag in _BLOCKS:
            self.said.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.said.append(" ".join(data.split()) + " " if data.strip() else " ")


def _decoded(content: bytes) -> tuple[str, list[str]]:
    """The text and what had to be assumed about it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace"), []
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace"), ["not UTF-8, read as Windows-1252"]
