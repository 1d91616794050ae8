"""Interval arithmetic on printed calculations: does `12,500 / 1.2597 = 9,924.85` hold for any values that print so?

Each decimal, and an integer that stands alone, means plus or minus half its last digit; other integers are exact. What is
not plainly a calculation is left undecided: an auditor may overlook, it may not accuse. Source: finance specification 5.1.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

SCALES: Final = {"%": 0.01, "k": 1e3, "thousand": 1e3, "m": 1e6, "million": 1e6, "b": 1e9, "billion": 1e9, "t": 1e12}
_DEEPEST: Final = 40

_TOKEN = re.compile(
    r"""(?P<number>(?P<currency>[$€£¥]?)(?P<digits>[0-9]{1,3}(?:,[0-9]{3})++(?![0-9])(?:\.[0-9]++)?+|[0-9]++(?:\.[0-9]++)?+|\.[0-9]++)
           (?:[ ]?(?P<percent>%)|(?P<suffix>[KMBTk])(?![^\W_])|[ ](?P<scale>thousand|million|billion)(?![^\W_]))?+
           (?P<glued>[^\W]\w*+)?+)
      |(?P<word>[^\W\d]\w*+(?:-[^\W\d]\w*+)*+)
      |(?P<operator>[-+*/^()])
      |(?P<other>\S)""",
    re.VERBOSE,
)
_SIGNS = str.maketrans({"\u2212": "-", "\u2013": "-", "\u00d7": "*", "\u00b7": "*", "\u00f7": "/"})
_STATEMENTS = re.compile(r"[:;→]|,\s")
_EQUALS = re.compile(r"(?<![<>=!])=(?!=)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Printed:
    """A number as printed, before its scale."""

    value: float
    half_digit: float
    """Half a unit of the last printed digit."""
    scale: float = 1.0
    unit: Literal["", "%", "x"] = ""
    currency: str = ""
    is_decimal: bool = False

    def agrees(self, key: float) -> bool:
        """True when the key prints so, or lies within 0.5 %, whether or not the key carries the scale. Signs are not compared."""
        return any(
            abs(self.value * scale - abs(key)) <= max(self.half_digit * scale * (1 + 1e-9), 0.005 * abs(key))
            for scale in {1.0, self.scale}
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """All values a printed calculation may mean."""

    low: float
    high: float

    def meets(self, other: Interval) -> bool:
        """True when a value lies in both, give or take rounding."""
        slack = 1e-9 * max(abs(self.low), abs(self.high), abs(other.low), abs(other.high))
        return self.low <= other.high + slack and other.low <= self.high + slack


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One side of a printed equality."""

    text: str
    interval: Interval
    lone_currency: str
    """Currency of an amount that stands alone, else empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """An equality that holds for no values that print so."""

    text: str
    left: Interval
    right: Interval


@dataclass(frozen=True, kw_only=True, slots=True)
class _Token:
    kind: Literal["number", "operator", "word"]
    text: str
    start: int
    end: int
    number: Printed | None = None


def printed_numbers(text: str) -> list[Printed]:
    """Every number of a text, multiples such as 1.5x among them; digits that are part of a word (FY2024) are none."""
    return [token.number for token in _tokens(text) if token.number is not None]


def broken_equalities(step: str) -> list[Broken]:
    """The equalities of a step that cannot hold."""
    found: list[Broken] = []
    for statement in _STATEMENTS.split(step.translate(_SIGNS)):
        sides = [side for side in _sides(statement) if side is not None]
        found += [
            Broken(text=f"{left.text} = {right.text}", left=left.interval, right=right.interval)
            for left, right in pairwise(sides)
            if not left.interval.meets(right.interval) and not _is_conversion(left, right)
        ]
    return found


def _is_conversion(left: Side, right: Side) -> bool:
    """`EUR 1,136 = USD 1,272` states a rate, not an equality."""
    return bool(left.lone_currency and right.lone_currency) and left.lone_currency != right.lone_currency


def _sides(statement: str) -> Iterator[Side | None]:
    parts = _EQUALS.split(statement)
    for place, part in enumerate(parts if len(parts) > 1 else []):
        tokens: Sequence[_Token] = _tokens(part)
        if place == 0:
            tokens = _suffix(tokens)
        elif place == len(parts) - 1:
            tokens = _prefix(tokens)
        yield _side(part, tokens)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    for match in _TOKEN.finditer(text.translate(_SIGNS)):
        start, end = match.span()
        if match["operator"] or match["word"] == "x":
            tokens.append(_Token(kind="operator", text=match["operator"] or "*", start=start, end=end))
        elif match["number"] and not match["glued"]:
            tokens.append(_Token(kind="number", text=match[0], start=start, end=end, number=_printed(match)))
        else:
            # In a calculation 1.5x is the product of a number and an unknown, in a result a multiple.
            multiple = _printed(match) if match["glued"] == "x" else None
            tokens.append(_Token(kind="word", text=match[0], start=start, end=end, number=multiple))
    return tokens


def _printed(match: re.Match[str]) -> Printed:
    digits = match["digits"].replace(",", "")
    decimals = len(digits.partition(".")[2])
    unit = match["percent"] or match["suffix"] or match["scale"] or ""
    return Printed(
        value=float(digits),
        half_digit=0.5 * 10.0**-decimals,
        scale=SCALES[unit.casefold()] if unit else 1.0,
        unit="%" if unit == "%" else "x" if match["glued"] else "",
        currency=match["currency"],
        is_decimal="." in digits,
    )


def _suffix(tokens: Sequence[_Token]) -> Sequence[_Token]:
    """The calculation that ends a text such as `better by 10,000 - 9,924.85`; empty when it is not plainly one."""
    last_word = max(
        (at for at, token in enumerate(tokens) if token.kind == "word" and not _is_e(tokens, at)), default=-1
    )
    head, tail = tokens[: last_word + 1], tokens[last_word + 1 :]
    if not head:
        return tail
    plain = (
        not any(token.kind == "operator" for token in head)
        and bool(tail)
        and tail[0].text not in {"+", "-", "*", "/", "^"}
    )
    return tail if plain and any(token.kind == "operator" for token in tail) else ()


def _prefix(tokens: Sequence[_Token]) -> Sequence[_Token]:
    """The calculation that begins a text such as `0.5714 or 57.14 %`; empty when it is not plainly one."""
    end = _Parser(tokens, lone=False).end_of_first()
    rest = tokens[end:]
    if not rest:
        return tokens
    first, before = rest[0], tokens[end - 1] if end else None
    if first.text == "(" and (before is None or before.end == first.start or not _has_word(rest)):
        return ()
    depth = 0
    for token in rest:
        depth += (token.text == "(") - (token.text == ")")
        if depth <= 0 and token.kind == "operator" and token.text not in "()":
            return ()
    return tokens[:end]


def _has_word(tokens: Sequence[_Token]) -> bool:
    """True when brackets that open here hold a remark and no factor."""
    closing = next((at for at, token in enumerate(tokens) if token.text == ")"), len(tokens))
    return any(token.kind == "word" for token in tokens[:closing])


def _is_e(tokens: Sequence[_Token], at: int) -> bool:
    """Euler's number, known by the power behind it."""
    return tokens[at].text == "e" and at + 1 < len(tokens) and tokens[at + 1].text == "^"


def _side(part: str, tokens: Sequence[_Token]) -> Side | None:
    if not tokens:
        return None
    numbers = [token.number for token in tokens if token.number is not None]
    lone = len(numbers) == 1 and not any(token.text in {"*", "/", "^", "+", "e"} for token in tokens)
    parser = _Parser(tokens, lone=lone)
    interval = parser.whole()
    if interval is None:
        return None
    text = part[tokens[0].start : tokens[-1].end]
    return Side(text=text, interval=interval, lone_currency=numbers[0].currency if lone else "")


class _NoValueError(Exception):
    """The tokens are no calculation, or one without a finite value."""


class _Parser:
    """Recursive descent over tokens; every method leaves `_at` behind what it read."""

    def __init__(self, tokens: Sequence[_Token], *, lone: bool) -> None:
        self._tokens = tokens
        self._lone = lone
        self._at = 0
        self._depth = 0

    def whole(self) -> Interval | None:
        """The value of all tokens, or None when they are no calculation."""
        try:
            value = self._sum()
        except (_NoValueError, ArithmeticError):
            return None
        finite = math.isfinite(value.low) and math.isfinite(value.high)
        return value if finite and self._at == len(self._tokens) else None

    def end_of_first(self) -> int:
        """How many tokens the calculation at the start takes; 0 when there is none."""
        try:
            self._sum()
        except (_NoValueError, ArithmeticError):
            return 0
        return self._at

    def _next(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _sum(self) -> Interval:
        value = self._product()
        while self._next() in {"+", "-"}:
            sign = self._take()
            other = self._product()
            value = _add(value, other if sign == "+" else _negated(other))
        return value

    def _product(self) -> Interval:
        value = self._signed()
        while self._next() in {"*", "/"}:
            sign = self._take()
            other = self._signed()
            value = _times(value, other if sign == "*" else _inverse(other))
        return value

    def _signed(self) -> Interval:
        if self._next() != "-":
            return self._power()
        self._take()
        return _negated(self._power())

    def _power(self) -> Interval:
        base = self._atom()
        if self._next() != "^":
            return base
        self._take()
        return _raised(base, self._deeper(self._signed))

    def _atom(self) -> Interval:
        if self._at >= len(self._tokens):
            raise _NoValueError
        token = self._tokens[self._at]
        self._at += 1
        if token.kind == "number" and token.number is not None:
            return _meant(token.number, lone=self._lone)
        if token.text == "(":
            value = self._deeper(self._sum)
            if self._next() != ")":
                raise _NoValueError
            self._at += 1
            return value
        if _is_e(self._tokens, self._at - 1):
            return Interval(low=math.e, high=math.e)
        raise _NoValueError

    def _deeper(self, read: Callable[[], Interval]) -> Interval:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _NoValueError
        value = read()
        self._depth -= 1
        return value

    def _take(self) -> str:
        self._at += 1
        return self._tokens[self._at - 1].text


def _meant(number: Printed, *, lone: bool) -> Interval:
    spread = number.half_digit if number.is_decimal or lone else 0.0
    return Interval(low=(number.value - spread) * number.scale, high=(number.value + spread) * number.scale)


def _negated(one: Interval) -> Interval:
    return Interval(low=-one.high, high=-one.low)


def _add(one: Interval, other: Interval) -> Interval:
    return Interval(low=one.low + other.low, high=one.high + other.high)


def _times(one: Interval, other: Interval) -> Interval:
    return _hull(a * b for a in (one.low, one.high) for b in (other.low, other.high))


def _inverse(one: Interval) -> Interval:
    if one.low <= 0 <= one.high:
        raise _NoValueError
    return Interval(low=1 / one.high, high=1 / one.low)


def _raised(base: Interval, exponent: Interval) -> Interval:
    if base.low <= 0:
        raise _NoValueError
    return _hull(b**e for b in (base.low, base.high) for e in (exponent.low, exponent.high))


def _hull(values: Iterator[float]) -> Interval:
    ends = sorted(values)
    if any(math.isnan(end) for end in ends):
        raise _NoValueError
    return Interval(low=ends[0], high=ends[-1])
