"""Balanced brackets in free text, candidates for JSON. One pass, linear in the length of the text, whatever it holds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

DEEPEST: Final = 8
"""Levels of nesting up to which a span is given; the limit keeps parsing all of them linear."""

_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*+"')
_STOPS: Final = {"{": re.compile(r'[{}"]'), "[": re.compile(r'[\[\]"]')}


def balanced(text: str, opening: str) -> Iterator[tuple[int, int]]:
    """Start and end of every balanced, not too deeply nested `{...}` or `[...]`, in order of their ends.

    The outer one comes after the inner. Brackets inside JSON strings do not count.
    """
    stops = _STOPS[opening]
    open_at: list[int] = []
    heights: list[int] = []
    at = text.find(opening)
    while at >= 0:
        char = text[at]
        if char == opening:
            open_at.append(at)
            heights.append(0)
            at += 1
        elif char == '"':
            at = _after_string(text, at)
        else:
            start, height = open_at.pop(), heights.pop() + 1
            if heights:
                heights[-1] = max(heights[-1], height)
            at += 1
            if height <= DEEPEST:
                yield start, at
        stop = stops.search(text, at) if open_at else None
        at = stop.start() if stop else text.find(opening, at) if not open_at else -1


def _after_string(text: str, at: int) -> int:
    if string := _STRING.match(text, at):
        return string.end()
    line_end = text.find("\n", at)  # a string cannot span lines; going on behind the quote would be quadratic
    return len(text) if line_end < 0 else line_end
