"""The normal form of an answer: one spelling for what LaTeX and habit spell in many ways. Pure and linear.

Two answers with the same normal form are equal (step 1 of code-and-math specification 7). The form is made of tokens: a
command, a control symbol, or a single character.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_TOKEN: Final = re.compile(r"\\[A-Za-z]+|\\.|\s+|.", re.DOTALL)
_WHOLE_NUMBER: Final = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:(?:,|\{,\}|\\,|\\!,)[0-9]{3})+")
_SEPARATORS: Final = re.compile(r"[,{}\\!]")


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for long closed lists."""
    return frozenset(text.split())


_UNWRITTEN: Final = word_set(
    "\\, \\! \\displaystyle \\textstyle \\limits \\nolimits \\left \\right \\big \\Big \\bigl "
    "\\bigr \\Bigl \\Bigr \\bigg \\Bigg \\biggl \\biggr \\Biggl \\Biggr \\thinspace \\strut $ \\( \\) \\[ \\]"
)
"""Thin spaces, sizes and the borders of formulas. Wider spaces keep two numbers apart."""
_WRAPPERS: Final = word_set(
    "\\text \\textbf \\textit \\textrm \\textnormal \\mathrm \\mathbf \\mathit \\mathsf \\mbox \\hbox \\boxed \\fbox "
    "\\boldsymbol \\bm"
)
_SPELLINGS: Final = {
    **dict.fromkeys(("\\dfrac", "\\tfrac", "\\cfrac"), "\\frac"),
    **dict.fromkeys(("\\dbinom", "\\tbinom"), "\\binom"),
    **dict.fromkeys(("\\leq", "\\leqslant", "≤"), "\\le"),
    **dict.fromkeys(("\\geq", "\\geqslant", "≥"), "\\ge"),
    **dict.fromkeys(("\\neq", "≠"), "\\ne"),
    **dict.fromkeys(("\\lt",), "<"),
    **dict.fromkeys(("\\gt",), ">"),
    **dict.fromkeys(("\\dots", "\\cdots", "\\dotsc", "\\dotsb", "\\dotso", "…"), "\\ldots"),
    **dict.fromkeys(("\N{MINUS SIGN}", "\N{EN DASH}", "\N{NON-BREAKING HYPHEN}"), "-"),
    **dict.fromkeys(("\\lbrace",), "\\{"),
    **dict.fromkeys(("\\rbrace",), "\\}"),
    **dict.fromkeys(("\\lbrack",), "["),
    **dict.fromkeys(("\\rbrack",), "]"),
    **dict.fromkeys(("\\vert", "\\lvert", "\\rvert"), "|"),
    "\N{MULTIPLICATION SIGN}": "\\times",
    "·": "\\cdot",
    "∞": "\\infty",
    "π": "\\pi",
    **dict.fromkeys(("~", "\\ ", "\\;", "\\:", "\\quad", "\\qquad"), " "),
}
_ARGUMENTS: Final = {"\\frac": 2, "\\binom": 2, "\\sqrt": 1, "^": 1, "_": 1}
_CLOSING: Final = {"{": "}", "[": "]"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Normal:
    """An answer in its normal form."""

    tokens: tuple[str, ...]
    """Of the formula: no white space but one space between two digits that were written apart."""
    words: tuple[str, ...]
    """Runs of letters outside commands, as written."""
    sentence: str
    """All of it with single spaces, for reading words in."""

    @property
    def formula(self) -> str:
        """The tokens as LaTeX."""
        return latex(self.tokens)


def latex(tokens: Sequence[str]) -> str:
    """Tokens as LaTeX; a command is kept apart from a letter that follows."""
    parts = [
        f"{piece} " if piece[0] == "\\" and piece[-1].isalpha() and after[:1].isalpha() else piece
        for piece, after in pairwise((*tokens, ""))
    ]
    return "".join(parts)


def normalise(text: str) -> Normal:
    """The normal form of an answer."""
    tokens = _unwrapped(_tokens(_bare(text)))
    while tokens and (tokens[-1] in {" ", "."} and tokens[-3:] != [".", ".", "."]):
        tokens.pop()
    return Normal(
        tokens=tuple(_braced(_without_space(tokens))),
        words=tuple(_words(tokens)),
        sentence=" ".join(latex(tokens).split()),
    )


def _bare(text: str) -> str:
    """A whole number without its thousands separators; anything else as it is."""
    inner = text.strip(" \t\r\n$.")
    return _SEPARATORS.sub("", inner) if _WHOLE_NUMBER.fullmatch(inner) else text.strip()


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    for match in _TOKEN.finditer(text):
        piece = match.group()
        piece = " " if piece.isspace() else _SPELLINGS.get(piece, piece)
        if piece == "°":
            found += ["^", "{", "\\circ", "}"]
        elif piece == "." and found and found[-1] in {"\\left", "\\right"}:
            found.pop()
        elif piece == "." and found[-2:] == [".", "."]:
            found[-2:] = ["\\ldots"]
        else:
            found.append(piece)
    return [piece for piece in found if piece not in _UNWRITTEN]


def _unwrapped(tokens: list[str]) -> list[str]:
    """Without wrappers of text and their braces, unless the group carries an index or a power."""
    kept: list[str] = []
    groups: list[int | None] = []
    wrapping = False
    for piece, after in pairwise((*tokens, "")):
        if piece in _WRAPPERS:
            wrapping = True
            continue
        if piece == " " and wrapping:
            continue
        if piece == "{":
            groups.append(len(kept) if wrapping else None)
        if piece == "}" and groups:
            begin = groups.pop()
            if begin is not None and after not in {"^", "_"}:
                kept[begin] = ""
                wrapping = False
                continue
        wrapping = False
        kept.append(piece)
    return [piece for piece in kept if piece]


def _without_space(tokens: Sequence[str]) -> list[str]:
    kept: list[str] = []
    apart = False
    for piece in tokens:
        if piece == " ":
            apart = True
            continue
        if apart and kept and kept[-1].isdigit() and piece.isdigit():
            kept.append(" ")
        kept.append(piece)
        apart = False
    return kept


def _braced(tokens: Sequence[str]) -> list[str]:
    r"""Arguments of one token get their braces: `\frac12`, `\sqrt2`, `x^2`, `a_1`; of an index or a power all its digits."""
    kept: list[str] = []
    outer: list[tuple[str, int]] = []
    wanted = 0
    position = 0
    while position < len(tokens):
        piece = tokens[position]
        before = tokens[position - 1] if position else ""
        end = position + 1
        if piece == "{" or (piece == "[" and before == "\\sqrt"):
            outer.append((piece, max(wanted - 1, 0) if piece == "{" else wanted))
            wanted = 0
        elif outer and piece == _CLOSING[outer[-1][0]]:
            wanted = outer.pop()[1]
        elif wanted and _is_plain(piece):
            while before in {"^", "_"} and piece.isdigit() and tokens[end : end + 1] and tokens[end].isdigit():
                end += 1
            kept += ["{", *tokens[position:end], "}"]
            wanted -= 1
            position = end
            continue
        elif piece != " " or not wanted:
            wanted = _ARGUMENTS.get(piece, 0)
        if piece != " " or not wanted:
            kept.append(piece)
        position = end
    return kept


def _is_plain(piece: str) -> bool:
    r"""A letter, a digit or a command such as `\alpha`."""
    return piece.isalnum() or (piece[0] == "\\" and piece[-1].isalpha() and piece not in _ARGUMENTS)


def _words(tokens: Sequence[str]) -> list[str]:
    found: list[str] = []
    run: list[str] = []
    for piece in (*tokens, ""):
        if piece.isalpha():
            run.append(piece)
        elif run:
            found.append("".join(run))
            run = []
    return found
