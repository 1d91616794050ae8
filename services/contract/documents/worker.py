"""The reading process: one order line and the bytes on standard input, one JSON answer on standard output."""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from services.contract.documents.model import Extract, Order, UnreadableError

HIGHEST_RATIO: Final = 100
"""Unpacked to packed size of an office file; above it is a bomb (finance specification 8)."""
MOST_UNPACKED: Final = 500 << 20
MOST_PARTS: Final = 20_000
Reader = Callable[[bytes, Order], Extract]


def main() -> None:
    """Read one document. The exit status is 0 whenever there is an answer, and a fault is an answer."""
    order = Order.model_validate_json(sys.stdin.buffer.readline())
    content = sys.stdin.buffer.read()
    _confine(order)
    sys.stdout.write(extract(content, order).model_dump_json())


def extract(content: bytes, order: Order) -> Extract:
    """The text of a document, cut at the limits."""
    try:
        if order.kind in {"docx", "xlsx", "pptx"}:
            _refuse_bombs(content)
        told = _reader(order.kind)(content, order)
    except UnreadableError as error:
        return Extract(fault=str(error))
    except (MemoryError, RecursionError) as error:
        return Extract(fault=f"it needs more than its reader may have ({type(error).__name__})")
    # A parser of hostile files fails in ways nobody lists; this process is the boundary and says what happened.
    except Exception as error:  # noqa: BLE001
        return Extract(fault=f"damaged or not what its name says ({type(error).__name__}: {str(error)[:200]})")
    return _cut(told, order.limits.characters)


def _reader(kind: str) -> Reader:
    if kind == "pdf":
        from services.contract.documents.pdf import read_pdf  # noqa: PLC0415

        return read_pdf
    if kind in {"docx", "xlsx", "pptx"}:
        from services.contract.documents import office  # noqa: PLC0415

        return {"docx": office.read_docx, "xlsx": office.read_xlsx, "pptx": office.read_pptx}[kind]
    from services.contract.documents import plain  # noqa: PLC0415

    return {"csv": plain.read_table, "html": plain.read_html, "text": plain.read_text}[kind]


def _refuse_bombs(content: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as opened:
            parts = opened.infolist()
    except zipfile.BadZipFile as error:
        raise UnreadableError(f"not an office file ({error})") from None
    unpacked = sum(part.file_size for part in parts)
    if unpacked > min(HIGHEST_RATIO * len(content), MOST_UNPACKED) or len(parts) > MOST_PARTS:
        raise UnreadableError(f"refused: {len(content)} bytes that unpack to {unpacked} in {len(parts)} parts")


def _cut(told: Extract, most: int) -> Extract:
    # Halves of surrogate pairs cannot leave this process as UTF-8.
    text = told.text.encode("utf-8", "replace").decode()
    if len(text) <= most:
        return told.model_copy(update={"text": text})
    return told.model_copy(update={"text": text[:most], "notes": [*told.notes, f"cut after {most} characters"]})


def _confine(order: Order) -> None:
    """Bound memory, processor time and files. Where there are no such bounds the time-out of the parent remains."""
    try:
        import resource  # noqa: PLC0415
    except ImportError:
        return
    seconds = math.ceil(order.limits.timeout_s) + 1
    for what, most in (
        (resource.RLIMIT_AS, order.limits.memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # some systems know a bound and do not let it be set
            resource.setrlimit(what, (value, hard))


if __name__ == "__main__":
    main()
