"""From a reply to the C++ program in it. Pure, total, and linear in the length of the reply.

Source: code-and-math specification 4.
"""

from __future__ import annotations

import re
from typing import Final

from services.green_agent.scoring.code.extraction import Program
from services.green_agent.scoring.code.fences import Block, blocks, searched

_CPP_TAG: Final = re.compile(r"(?:cpp|c\+\+|cc|cxx)[0-9]{0,2}[a-z]?")
_INCLUDE: Final = re.compile(r"^[ \t]*#[ \t]*include\b", re.MULTILINE)
_LIKE_A_PROGRAM: Final = re.compile(r"^[ \t]*#[ \t]*include\b|\bmain[ \t]*\(", re.MULTILINE)
_FENCE: Final = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
# Every branch takes what it begins with, closed or not, so that nothing is read twice.
_PART: Final = re.compile(
    r"""(?P<skipped>//[^\n]*|/\*(?:.*?\*/|.*)|R"(?P<delimiter>[^()\\\s"]{0,16})\((?:.*?\)(?P=delimiter)"|.*)"""
    r"""|"(?:\\.|[^"\\\n])*"?|\b[0-9](?:'?[0-9A-Za-z_.])*|'(?:\\.|[^'\\\n])*'?)"""
    r"""|(?P<main>\bmain[ \t]*\()|(?P<open>\{)|(?P<close>\})|(?P<end>;)""",
    re.DOTALL,
)


def extract_cpp(reply: str) -> Program | None:
    """The C++ program in `reply`, or None when there is none.

    Of the fenced blocks the last one tagged as C++ that includes a header or has a `main`; else the last of any tag that
    does; else the last one. Without any, the text from the first `#include` to the brace that closes `main`.
    """
    text = searched(reply)
    fenced = blocks(text, is_whole=lambda block: _FENCE.search(block) is None)
    if fenced:
        return Program(source=_chosen(fenced).text, shape="whole", place="fence")
    source = _unfenced(text)
    return Program(source=source, shape="whole", place="reply") if source is not None else None


def _chosen(fenced: list[Block]) -> Block:
    likely = [block for block in reversed(fenced) if _LIKE_A_PROGRAM.search(block.text)]
    tagged = (block for block in likely if _CPP_TAG.fullmatch(block.language))
    return next(tagged, likely[0] if likely else fenced[-1])


def _unfenced(text: str) -> str | None:
    """From the first `#include` to the end of `main`; None without either. A `main` that is cut off runs to the end."""
    start = _INCLUDE.search(text)
    if start is None:
        return None
    inside_main, depth = False, 0
    for part in _PART.finditer(text, start.start()):
        if part["main"] and depth == 0:
            inside_main = True
        elif part["open"]:
            depth += 1
        elif part["close"]:
            depth -= 1
            if inside_main and depth <= 0:
                return text[start.start() : part.end()]
        elif part["end"] and depth == 0:
            inside_main = False  # it was only declared
    return text[start.start() :] if inside_main else None
