"""Foreign words, such as names in files and answers of servers, as they can be shown: short, nothing that a terminal obeys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MOST: Final = 200
_NAMES: Final = 8


def plain(text: str) -> str:
    """On one line; what cannot be printed becomes a blank."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def brief(text: str) -> str:
    """The beginning of it, likewise."""
    return plain(text[: 4 * _MOST])[:_MOST]


def few(names: Sequence[str]) -> str:
    """The first names, and how many more there are; `nothing` when there are none."""
    shown = ", ".join(map(brief, names[:_NAMES])) or "nothing"
    return f"{shown} and {len(names) - _NAMES} more" if len(names) > _NAMES else shown
