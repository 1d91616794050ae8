"""Reply to answer. Pure, and linear in the length of the reply. Source: code-and-math specification 4, "Maths"."""

from __future__ import annotations

import re
from typing import Final

from services.green_agent.scoring.code.fences import without_reasoning

_BRACE: Final = re.compile(r"\\boxed\s*\{|\\.|[{}]", re.DOTALL)
_LABEL: Final = re.compile(r"final answer[ \t]{0,9}\**[ \t]{0,9}:", re.IGNORECASE)
_SAYS_NOTHING: Final = re.compile(r"(?:\\boxed|[\s${}.*])*")
"""An empty box, or the dots of the request."""
_PARAGRAPH: Final = re.compile(r"\n[ \t\r]*\n")


def extract(reply: str) -> str | None:
    r"""The answer of a reply; None when there is none.

    The content of the last `\boxed{...}` whose braces balance, else the paragraph after the last "Final answer:". Reasoning
    blocks are dropped first.
    """
    text = without_reasoning(reply)
    found = _boxed(text) or _labelled(text)
    return None if _SAYS_NOTHING.fullmatch(found) else found


def _boxed(text: str) -> str:
    """Content of the box that closes last, so that of nested boxes the outer one counts."""
    opened: list[int | None] = []
    start, end = 0, 0
    for brace in _BRACE.finditer(text):
        piece = brace.group()
        if piece[-1] == "{" and piece != "\\{":
            opened.append(brace.end() if piece != "{" else None)
        elif piece == "}" and opened:
            begin = opened.pop()
            if begin is not None:
                start, end = begin, brace.start()
    return text[start:end].strip()


def _labelled(text: str) -> str:
    position = -1
    for label in _LABEL.finditer(text):
        position = label.end()
    if position < 0:
        return ""
    rest = text[position:].strip("* \t\r\n")
    return _PARAGRAPH.split(rest, maxsplit=1)[0].strip("* \t\r\n")
