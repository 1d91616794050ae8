"""Text of docx, xlsx and pptx files. Macros are never run, links to other files never followed, formulas never computed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import docx
import openpyxl
import pptx
from docx.oxml.ns import qn
from openpyxl.formula.tokenizer import TokenizerError
from openpyxl.formula.translate import TranslatorError

from services.contract.documents.model import Extract, Order
from services.contract.documents.pdf import page_range

DEEPEST_GROUP: Final = 16
_PARAGRAPH, _TABLE, _ROW, _CELL, _TEXT = map(qn, ("w:p", "w:tbl", "w:tr", "w:tc", "w:t"))
_MARKS: Final = {qn("w:tab"): "\t", qn("w:br"): "\n", qn("w:cr"): "\n", qn("w:noBreakHyphen"): "-"}
_UNSEEN: Final = frozenset(
    # The last one repeats, for old programs, the text box that stands before it.
    {
        *map(qn, ("w:pPr", "w:del", "w:moveFrom")),
        "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback",
    }
)


def read_docx(content: bytes, order: Order) -> Extract:
    """Paragraphs and tables in their order; a table row is one line, cells apart by tabs.

    Also what stands in content controls, text boxes and tracked insertions; tracked deletions are left out.
    """
    lines: list[str] = []
    room = order.limits.cells
    for block in _outermost(docx.Document(io.BytesIO(content)).element.body, _PARAGRAPH, _TABLE):
        if block.tag == _PARAGRAPH:
            lines.append(_said(block))
            continue
        for row in _outermost(block, _ROW):
            cells = [" ".join(_said(cell).split("\n")).strip() for cell in _outermost(row, _CELL)]
            room -= len(cells)
            if room < 0:
                return Extract(text="\n".join(lines), notes=[f"cut after {order.limits.cells} table cells"])
            lines.append("\t".join(cells))
    return Extract(text="\n".join(lines))


def _outermost(element: Any, *tags: str) -> Iterator[Any]:
    """The elements of these kinds, without those inside of them, and without what Word does not show."""
    for child in element:
        if child.tag in tags:
            yield child
        elif child.tag not in _UNSEEN:
            yield from _outermost(child, *tags)


def _said(element: Any) -> str:
    """The text inside an element; paragraphs inside of it, as of a cell or a text box, end in a new line."""
    pieces: list[str] = []
    for child in element:
        if child.tag == _TEXT:
            pieces.append(child.text or "")
        elif child.tag in _MARKS:
            pieces.append(_MARKS[child.tag])
        elif child.tag not in _UNSEEN:
            pieces.append(_said(child) + ("\n" if child.tag == _PARAGRAPH else ""))
    return "".join(pieces)


def read_xlsx(content: bytes, order: Order) -> Extract:
    """Every sheet under a `[sheet NAME]` mark, stored values, cells apart by tabs; blank rows are passed over.

    Programs that write workbooks often store no value beside a formula; then the formula itself is shown.
    """
    try:
        return _workbook(content, order, formulas=True)
    except (TokenizerError, TranslatorError):  # a formula beyond openpyxl; the values beside it are none the worse
        return _workbook(content, order, formulas=False)


def _workbook(content: bytes, order: Order, *, formulas: bool) -> Extract:
    texts: list[str] = []
    notes: list[str] = []
    room = order.limits.cells
    sheets = _sheets(content, data_only=True)
    for sheet, same in zip(sheets, _sheets(content, data_only=False) if formulas else sheets, strict=True):
        if room <= 0:
            notes.append(f"sheet {sheet.title!r} left out")
            continue
        read = _sheet(sheet, same, order, room)
        room -= read.used
        hidden = "" if sheet.sheet_state == "visible" else " (hidden)"
        texts.append("\n".join([f"[sheet {sheet.title}]{hidden}", *read.rows]))
        if read.unvalued:
            notes.append(f"sheet {sheet.title!r}: {read.unvalued} formulas without a stored value stand as formulas")
        if read.cut:
            notes.append(f"sheet {sheet.title!r} cut: {read.cut}")
    return Extract(text="\n\n".join(texts), notes=notes)


def _sheets(content: bytes, *, data_only: bool) -> list[Any]:
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=data_only, keep_links=False)
    for sheet in book.worksheets:
        # A file may claim a million rows of sixteen thousand columns; without its claim only what is there is read.
        sheet.reset_dimensions()
    return list(book.worksheets)


@dataclass(slots=True)
class _Sheet:
    rows: list[str] = field(default_factory=list)
    used: int = 0
    """Cells with content."""
    unvalued: int = 0
    """Formulas without a stored value."""
    cut: str = ""
    """Where the rest was left out."""


def _sheet(sheet: Any, same: Any, order: Order, room: int) -> _Sheet:
    """`same`: the sheet with formulas in place of their values."""
    window = order.window
    read = _Sheet()
    pairs = zip(sheet.iter_rows(values_only=True), same.iter_rows(values_only=True), strict=True)
    for number, (values, formulas) in enumerate(pairs, 1):
        cells = _trimmed(map(_shown, values, formulas))
        if number <= window.row_offset or not cells:
            continue
        if window.row_limit is not None and number > window.row_offset + window.row_limit:
            read.cut = f"rows from {number} left out"
            break
        read.used += sum(1 for cell in cells if cell)
        if read.used > room:
            read.used, read.cut = room, f"rows from {number} left out, more than {order.limits.cells} cells"
            break
        read.unvalued += sum(1 for value, formula in zip(values, formulas, strict=True) if formula is not value is None)
        read.rows.append("\t".join(cells))
    return read


def _shown(value: object, formula: object) -> object:
    """The value, else the formula: a text, or an object that has one."""
    return value if value is not None else getattr(formula, "text", formula)


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
