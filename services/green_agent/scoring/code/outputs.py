"""Compares what a program printed with what was expected, for problems without a checker of their own.

Linear in both texts, and no list of the printed one's parts: it may hold 64 MiB of anything. Source: code-and-math
specification 5, "Standard output".
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Final, Literal

How = Literal["exact", "tokens", "float"]
"""How the texts agree: but for blanks at line ends and the last line feeds; token by token; with numbers within TOLERANCE."""

TOLERANCE: Final = 1e-6
"""Absolute or relative."""
LONGEST_NUMBER: Final = 400
"""Characters of a token that is read as a number; longer ones must be equal as text."""

# Blanks are passed over inside of a match, six times as fast as by searching for its start.
_TOKEN: Final = re.compile(r"\s*+(\S++)")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def agreement(printed: str, expected: str) -> How | None:
    """How the two agree, None when they do not.

    Numbers have a tolerance only where the expected token has a point or an exponent: a count is exact.
    """
    if _same_lines(printed, expected):
        return "exact"
    how: How = "tokens"
    for ours, theirs in zip_longest(_tokens(expected), _tokens(printed)):
        if ours == theirs:
            continue
        if ours is None or theirs is None or not _close(theirs, ours):
            return None
        how = "float"
    return how


def _same_lines(printed: str, expected: str) -> bool:
    return printed.rstrip() == expected.rstrip() or all(
        ours == theirs for ours, theirs in zip_longest(_lines(expected), _lines(printed), fillvalue="")
    )


def _lines(text: str) -> Iterator[str]:
    """Lines without blanks at their ends, up to the last that is not empty."""
    end = len(text.rstrip())
    start = 0
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        yield text[start:stop].rstrip()
        start = stop + 1


def _tokens(text: str) -> Iterator[str]:
    return (match[1] for match in _TOKEN.finditer(text.rstrip()))


def _close(printed: str, expected: str) -> bool:
    if max(len(printed), len(expected)) > LONGEST_NUMBER or expected.lstrip("+-").isdigit():
        return False
    if not (_NUMBER.fullmatch(printed) and _NUMBER.fullmatch(expected)):
        return False
    ours, theirs = float(expected), float(printed)
    if not (math.isfinite(ours) and math.isfinite(theirs)):
        return False
    return abs(ours - theirs) <= TOLERANCE * max(1.0, abs(ours))
