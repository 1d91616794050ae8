"""Tables for people: columns as wide as their words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.inference.servers.wording import plain


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lines of aligned columns; an empty cell is shown as `-`. Cells hold what others wrote, so they are made printable."""
    cells = [[plain(cell) or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (headers, *cells)]
    return "\n".join(line.rstrip() for line in lines)


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, in the two largest units; empty where it is not known."""
    if since is None:
        return ""
    minutes, seconds = divmod(max(0, int((now - since).total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s")]
    first = next((number for number, (amount, _) in enumerate(parts) if amount), len(parts) - 1)
    return " ".join(f"{amount} {unit}" for amount, unit in parts[first : first + 2])
