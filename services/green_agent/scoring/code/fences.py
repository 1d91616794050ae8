"""The Markdown of a reply: reasoning that is dropped, and the fenced blocks. Linear in the length of the reply."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """One fenced block."""

    language: str
    """First word after the fence in lower case; empty when there is none."""
    text: str


# An opening tag begins a line: a tag in the middle of a sentence or of a string is being talked about.
_NAMES: Final = "(?:think|thinking|thought|reasoning)"
_TAG: Final = re.compile(rf"^[ \t]*<{_NAMES}>|</{_NAMES}>", re.MULTILINE | re.IGNORECASE)
_FENCE: Final = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^\n]*)")
_CLOSERS_TRIED: Final = 8
LONGEST_REPLY: Final = 1 << 20
"""Characters of a reply that are searched, counted from its end: a program comes last, and searching stays within seconds."""


def searched(reply: str) -> str:
    """The part of a reply that is searched for a program: without reasoning, lines ended by a line feed."""
    return without_reasoning(with_line_feeds(reply[-LONGEST_REPLY:]))


def with_line_feeds(text: str) -> str:
    """The text with every line ended by a line feed alone."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def without_reasoning(reply: str) -> str:
    """The reply without reasoning blocks.

    A block that is never closed runs to the end. A closing tag without an opening one ends a block that began before the
    reply, as with chat templates that write the opening tag into the prompt.
    """
    kept: list[str] = []
    position, inside = 0, False
    for tag in _TAG.finditer(reply):
        closes = "</" in tag.group()
        if closes and not inside:
            kept.clear()
        elif not closes and not inside:
            kept.append(reply[position : tag.start()])
        inside = not closes
        position = tag.end()
    return "".join(kept) + ("" if inside else reply[position:])


def blocks(markdown: str, *, is_whole: Callable[[str], bool]) -> list[Block]:
    """The fenced blocks in order, blank ones left out; an unclosed one runs to the end. Lines end in a line feed.

    `is_whole` says whether a text is complete in its language. It settles where a block ends when its text holds fences
    itself, as docstrings do. A block that is not whole is also searched for blocks inside it, one level deep.
    """
    found: list[Block] = []
    for block in _outer_blocks(markdown, is_whole):
        found.append(block)
        if not is_whole(block.text):
            found += _outer_blocks(block.text, is_whole)
    return found


def _outer_blocks(markdown: str, is_whole: Callable[[str], bool]) -> Iterator[Block]:
    lines = markdown.split("\n")
    closers = [
        number for number, line in enumerate(lines) if (fence := _FENCE.fullmatch(line)) and not fence[3].strip()
    ]
    number, next_closer = 0, 0
    while number < len(lines):
        opening = _opening(lines[number])
        number += 1
        if opening is None:
            continue
        while next_closer < len(closers) and closers[next_closer] < number:
            next_closer += 1
        later = (closers[index] for index in range(next_closer, len(closers)))
        end = _end(lines, number, (line for line in later if _closes(lines[line], opening)), opening, is_whole)
        text = _content(lines[number:end], opening)
        number = end + 1
        if text.strip():
            yield Block(language=opening.language, text=text)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Opening:
    indent: int
    marker: str
    language: str


def _opening(line: str) -> _Opening | None:
    fence = _FENCE.fullmatch(line)
    if fence is None or (fence[2][0] == "`" and "`" in fence[3]):
        return None
    language = fence[3].strip().split(" ", 1)[0].strip("{.}").lower()
    return _Opening(indent=len(fence[1]), marker=fence[2], language=language)


def _end(
    lines: Sequence[str], start: int, closers: Iterator[int], opening: _Opening, is_whole: Callable[[str], bool]
) -> int:
    """Line number of the closing fence: the first that leaves a whole text, else the first proper one, else the end."""
    tried = list(islice(closers, _CLOSERS_TRIED))
    for number in tried:
        if is_whole(_content(lines[start:number], opening)):
            return number
    # CommonMark: a closing fence is indented by at most three.
    proper = (n for n in chain(tried, closers) if len(lines[n]) - len(lines[n].lstrip()) <= opening.indent + 3)
    return next(proper, len(lines))


def _closes(line: str, opening: _Opening) -> bool:
    marker = line.strip()
    return marker[0] == opening.marker[0] and len(marker) >= len(opening.marker)


def _content(lines: Sequence[str], opening: _Opening) -> str:
    """The text of a block without the indentation of its fence."""
    return "\n".join(line[min(opening.indent, len(line) - len(line.lstrip(" \t"))) :] for line in lines)
