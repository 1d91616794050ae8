"""Text of pdf files, page by page."""

from __future__ import annotations

import io

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from services.contract.documents.model import Extract, Order, UnreadableError


def read_pdf(content: bytes, order: Order) -> Extract:
    """The pages of the window under `[page N]` marks; a page that cannot be read says so in its place."""
    reader = PdfReader(io.BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableError("it is locked with a password")
    total = len(reader.pages)
    first, last, notes = page_range(order, total)
    texts = [_page(reader, number, layout=order.window.extract_tables) for number in range(first, last + 1)]
    if texts and not any(texts):
        notes.append("no text in these pages; they may be scanned")
    marked = (f"[page {number}]\n{text}" for number, text in enumerate(texts, first))
    return Extract(text="\n\n".join(marked), pages=total, notes=notes)


def page_range(order: Order, total: int) -> tuple[int, int, list[str]]:
    """First and last page to read, counted from 1, and what is left out."""
    window, most = order.window, order.limits.pages
    first = window.page_start
    if total and first > total:
        raise UnreadableError(f"it has {total} pages, page {first} was asked for")
    wanted = min(total, first + (window.page_limit or total) - 1)
    last = min(wanted, first + most - 1)
    notes = [f"pages {last + 1}-{total} left out"] if last < total else []
    if first > 1:
        notes.insert(0, f"from page {first}")
    return first, last, notes


def _page(reader: PdfReader, number: int, *, layout: bool) -> str:
    try:
        page = reader.pages[number - 1]
        text = page.extract_text(extraction_mode="layout") if layout else page.extract_text()
    except (PyPdfError, ValueError, KeyError, TypeError, IndexError, AttributeError, ZeroDivisionError) as error:
        return f"(this page cannot be read: {type(error).__name__})"
    return text.strip()
