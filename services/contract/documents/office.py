"""Text of docx, xlsx and pptx files. Macros are never run, links to other files never followed, formulas give stored values."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any, Final

import docx
import openpyxl
import pptx
from docx.table import Table

from services.contract.documents.model import Extract, Order
from services.contract.documents.pdf import page_range

DEEPEST_GROUP: Final = 16


def read_docx(content: bytes, order: Order) -> Extract:
    """Paragraphs and tables in their order; a table row is one line, cells apart by tabs."""
    document = docx.Document(io.BytesIO(content))
    lines: list[str] = []
    room = order.limits.cells
    for block in document.iter_inner_content():
        if not isinstance(block, Table):
            lines.append(block.text)
            continue
        for row in block.rows:
            cells = [cell.text.replace("\n", " ") for cell in row.cells]
            room -= len(cells)
            if room < 0:
                return Extract(text="\n".join(lines), notes=[f"cut after {order.limits.cells} table cells"])
            lines.append("\t".join(cells))
    return Extract(text="\n".join(lines))


def read_xlsx(content: bytes, order: Order) -> Extract:
    """Every sheet under a `[sheet NAME]` mark, stored values, cells apart by tabs; blank rows are passed over."""
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
    texts: list[str] = []
    notes: list[str] = []
    room = order.limits.cells
    for sheet in book.worksheets:
        if room <= 0:
            notes.append(f"sheet {sheet.title!r} left out")
            continue
        rows, used, cut = _sheet(sheet, order, room)
        room -= used
        hidden = "" if sheet.sheet_state == "visible" else " (hidden)"
        texts.append("\n".join([f"[sheet {sheet.title}]{hidden}", *rows]))
        if cut:
            notes.append(f"sheet {sheet.title!r} cut: {cut}")
    return Extract(text="\n\n".join(texts), notes=notes)


def _sheet(sheet: Any, order: Order, room: int) -> tuple[list[str], int, str]:
    """Rows as lines, cells used, and where the rest was left out."""
    window = order.window
    rows: list[str] = []
    used = 0
    # A file may claim a million rows of sixteen thousand columns; without its claim only what is there is read.
    sheet.reset_dimensions()
    for number, values in enumerate(sheet.iter_rows(values_only=True), 1):
        cells = _trimmed(values)
        if number <= window.row_offset or not cells:
            continue
        if window.row_limit is not None and number > window.row_offset + window.row_limit:
            return rows, used, f"rows from {number} left out"
        used += sum(1 for cell in cells if cell)
        if used > room:
            return rows, room, f"rows from {number} left out, more than {order.limits.cells} cells"
        rows.append("\t".join(cells))
    return rows, used, ""


def _trimmed(values: Iterable[object]) -> list[str]:
    cells = ["" if value is None else str(value).replace("\n", " ") for value in values]
    while cells and not cells[-1]:
        cells.pop()
    return cells


def read_pptx(content: bytes, order: Order) -> Extract:
    """The slides of the window under `[slide N]` marks: text, tables row by row, speaker's notes."""
    slides = list(pptx.Presentation(io.BytesIO(content)).slides)
    first, last, notes = page_range(order, len(slides))
    texts = [
        "\n".join([f"[slide {number}]", *_slide(slides[number - 1])]) for number in range(first, last + 1) if slides
    ]
    return Extract(text="\n\n".join(texts), pages=len(slides), notes=notes)


def _slide(slide: Any) -> Iterator[str]:
    yield from _shapes(slide.shapes, 0)
    if slide.has_notes_slide and (said := slide.notes_slide.notes_text_frame):
        yield f"(notes) {said.text}"


def _shapes(shapes: Iterable[Any], depth: int) -> Iterator[str]:
    for shape in shapes:
        if hasattr(shape, "shapes") and depth < DEEPEST_GROUP:
            yield from _shapes(shape.shapes, depth + 1)
        elif getattr(shape, "has_table", False):
            for row in shape.table.rows:
                yield "\t".join(cell.text.replace("\n", " ") for cell in row.cells)
        elif getattr(shape, "has_text_frame", False) and shape.text_frame.text.strip():
            yield shape.text_frame.text
