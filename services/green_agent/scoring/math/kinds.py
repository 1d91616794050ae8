"""What sort of thing an answer is: its kind and its parts, and whether words speak in it. Pure.

The gates before an algebra system is asked: it calls `odd n` and `even n` equal, and a list equal to its last number.
Source: code-and-math specification 7, step 2.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

from services.green_agent.scoring.math.normalise import Normal, latex, word_set

LONGEST_WORD_OF_SYMBOLS: Final = 4
"""Letters in a row that may be a product; five are a word."""
DEEPEST: Final = 20

_PROSE: Final = word_set(
    "all and any are both but by cm deg each else even every few for from ft has hr hrs if in inch is iff it its "
    "kg km lb lbs less many max mi min miss mm mod more most mph must no none nor not odd of one only or over sec "
    "some such than that the then they this to two unit up when with yes zero"
)
"""Words too short to be known by their length. Commands such as `\\min` are no words."""
_WORD: Final = re.compile(r"\\?[A-Za-z]+")
_OPENING: Final = {"(": ")", "[": "]", "\\{": "\\}", "{": "}"}
_CLOSING: Final = frozenset(_OPENING.values())
_ORDER: Final = frozenset({"<", ">", "\\le", "\\ge", "\\ne"})
_STATEMENT: Final = word_set(
    "\\in \\notin \\equiv \\approx \\sim \\simeq \\cong \\mid \\nmid : \\colon \\to \\mapsto \\Rightarrow \\implies "
    "\\iff \\subset \\subseteq \\supset \\pm \\mp \\land \\lor \\forall \\exists ; \\propto \\ldots \\vdots"
)
_UNIONS: Final = frozenset({"\\cup", "\\cap", "\\setminus"})


class Kind(StrEnum):
    """Sorts of answers."""

    SCALAR = "scalar"
    LIST = "list"
    SET = "set"
    ROUND = "(...)"
    SQUARE = "[...]"
    LEFT_OPEN = "(...]"
    RIGHT_OPEN = "[...)"
    RELATION = "relation"
    EQUATION = "equation"
    """A name, or a function of names, and what it equals; the name is not in it."""
    IDENTITY = "identity"
    """Any other equation of two sides."""
    PERCENT = "percent"
    UNION = "union"
    STATEMENT = "statement"
    """Anything else: chains of equations, congruences, sets by condition, ellipses."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """An answer taken apart."""

    kind: Kind
    text: str
    """LaTeX in normal form; of a scalar what an algebra system reads."""
    parts: tuple[Form, ...] = ()
    """Members, ends, or the sides of a relation; of an equation its two sides."""
    signs: tuple[str, ...] = ()
    """Between the parts of a relation."""


def is_prose(answer: Normal) -> bool:
    """True when words speak in the answer; products of letters such as pq or XZ are none."""
    return any(map(_speaks, answer.words))


def same(left: Normal, right: Normal) -> bool:
    """True when two answers are the same after normalising; sentences whatever the case of their words. Blank equals none."""
    if not left.tokens or not right.tokens:
        return False
    if left.tokens == right.tokens:
        return True
    return is_prose(left) and is_prose(right) and _spoken(left) == _spoken(right)


def _speaks(word: str) -> bool:
    return len(word) > LONGEST_WORD_OF_SYMBOLS or word.lower() in _PROSE


def _spoken(answer: Normal) -> str:
    """The sentence with its words, not its symbols, in lower case."""
    return _WORD.sub(
        lambda found: found[0].lower() if _speaks(found[0]) and found[0][0] != "\\" else found[0], answer.sentence
    )


def form_of(answer: Normal) -> Form:
    """Kind and parts of an answer."""
    return _form(list(answer.tokens), DEEPEST)


def comparable(left: Kind, right: Kind) -> bool:
    """True for kinds that agree; a list goes with a set, a plain value with the equation that states it."""
    pair = {left, right}
    return len(pair) == 1 or pair in ({Kind.LIST, Kind.SET}, {Kind.SCALAR, Kind.EQUATION})


def _form(tokens: list[str], depth: int) -> Form:
    text = latex(tokens)
    top = _top_level(tokens)
    if top is None or not tokens or depth == 0:
        return Form(kind=Kind.STATEMENT, text=text)
    here = {tokens[position] for position in top}
    if here & _STATEMENT:
        return Form(kind=Kind.STATEMENT, text=text)
    if "," in here:
        return _with_parts(Kind.LIST, text, _split(tokens, top, {","}), depth)
    if "=" in here or here & _ORDER:
        return _relation(tokens, top, text, depth)
    if here & _UNIONS:
        return Form(kind=Kind.UNION, text=text)
    if tokens[0] in _OPENING and tokens[-1] in _CLOSING and not any(0 < position < len(tokens) - 1 for position in top):
        return _bracketed(tokens, text, depth)
    if tokens[-1] in {"\\%", "%"}:
        return _with_parts(Kind.PERCENT, text, [tokens[:-1]], depth)
    return Form(kind=Kind.SCALAR, text=text)


def _bracketed(tokens: list[str], text: str, depth: int) -> Form:
    inner = tokens[1:-1]
    pair = (tokens[0], tokens[-1])
    inside = _form(inner, depth - 1) if inner else None
    if inside is None:
        return Form(kind=Kind.STATEMENT, text=text)
    if pair == ("\\{", "\\}"):
        return _set(inside, text)
    if inside.kind is not Kind.LIST:
        return inside if pair in {("(", ")"), ("{", "}")} else Form(kind=Kind.STATEMENT, text=text)
    if pair == ("{", "}"):
        return inside
    kinds = {
        ("(", ")"): Kind.ROUND,
        ("[", "]"): Kind.SQUARE,
        ("(", "]"): Kind.LEFT_OPEN,
        ("[", ")"): Kind.RIGHT_OPEN,
    }
    return Form(kind=kinds.get(pair, Kind.STATEMENT), text=text, parts=inside.parts)


def _set(inside: Form, text: str) -> Form:
    r"""A set by its members; one by a condition (`:`, `\mid`, `|`) is a statement."""
    if inside.kind is Kind.LIST:
        return Form(kind=Kind.SET, text=text, parts=inside.parts)
    if inside.kind in {Kind.SCALAR, Kind.ROUND} and "|" not in inside.text:
        return Form(kind=Kind.SET, text=text, parts=(inside,))
    return Form(kind=Kind.STATEMENT, text=text)


def _relation(tokens: list[str], top: Sequence[int], text: str, depth: int) -> Form:
    signs = tuple(tokens[position] for position in top if tokens[position] in _ORDER | {"="})
    sides = _split(tokens, top, _ORDER | {"="})
    if signs == ("=",):
        states = _is_name(sides[0]) and sides[0][0] not in sides[1]
        return _with_parts(Kind.EQUATION if states else Kind.IDENTITY, text, sides, depth)
    if "=" in signs:
        return Form(kind=Kind.STATEMENT, text=text)
    found = _with_parts(Kind.RELATION, text, sides, depth)
    return Form(kind=found.kind, text=text, parts=found.parts, signs=signs)


def _is_name(tokens: Sequence[str]) -> bool:
    """A letter, perhaps with an index, perhaps of arguments in round brackets: `x`, `a_{ij}`, `f(x,y)`."""
    if not tokens or not (tokens[0].isalpha() or (tokens[0][0] == "\\" and tokens[0][1:].isalpha())):
        return False
    rest = list(tokens[1:])
    if rest[:2] == ["_", "{"] and "}" in rest:
        rest = rest[rest.index("}") + 1 :]
    if not rest:
        return True
    arguments = [piece for piece in rest[1:-1] if piece != ","]
    return rest[0] == "(" and rest[-1] == ")" and bool(arguments) and all(piece.isalpha() for piece in arguments)


def _with_parts(kind: Kind, text: str, parts: Sequence[list[str]], depth: int) -> Form:
    if not all(parts):
        return Form(kind=Kind.STATEMENT, text=text)
    return Form(kind=kind, text=text, parts=tuple(_form(part, depth - 1) for part in parts))


def _top_level(tokens: Sequence[str]) -> list[int] | None:
    """Positions outside of all brackets; the outermost brackets count as outside. None when brackets do not match."""
    opened: list[str] = []
    top: list[int] = []
    for position, piece in enumerate(tokens):
        if piece in _OPENING:
            if not opened:
                top.append(position)
            opened.append(piece)
        elif piece in _CLOSING:
            if not opened or not _closes(opened.pop(), piece):
                return None
            if not opened:
                top.append(position)
        elif not opened:
            top.append(position)
    return None if opened else top


def _closes(opening: str, closing: str) -> bool:
    """Half-open intervals mix round with square brackets."""
    return _OPENING[opening] == closing or {opening, closing} in ({"(", "]"}, {"[", ")"})


def _split(tokens: Sequence[str], top: Sequence[int], at: frozenset[str] | set[str]) -> list[list[str]]:
    cuts = [-1, *(position for position in top if tokens[position] in at), len(tokens)]
    return [list(tokens[first + 1 : last]) for first, last in pairwise(cuts)]
