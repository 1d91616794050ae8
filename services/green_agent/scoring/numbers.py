"""One number out of free text: cleaning, zones, tokens and units (finance specification 3).

Exactly one value is ever taken, so listing many numbers cannot win. Every step is linear in the length of the text,
whatever it holds.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LONGEST_TEXT: Final = 1_000_000
"""Characters of a reply that are read, counted from its end: an answer comes last, and reading stays within a second."""
LONGEST_ZONE: Final = 100_000
"""Characters of a zone that are searched for tokens, counted from its end in free text, else from its start."""

_THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)\b[^<>]{0,100}>", re.IGNORECASE)
_DASHES = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2013": "-", "\u201c": '"', "\u201d": '"'})
# CPython orders combining marks by insertion, which is quadratic in their number; short pieces bound it.
_NORMALISED_PIECE = 200


class Zone(StrEnum):
    """Where a number was found; all but `whole` are explicit answers."""

    FINAL_ANSWER = "final_answer"
    BOXED = "boxed"
    JSON = "json"
    CUE = "cue"
    WHOLE = "whole"


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """A number as written. What its unit does to it depends on the question, so both factors are kept."""

    value: float
    unit: str = ""
    """Canonical: `%`, `bp`, `thousand`, `million`, `billion`, `trillion`, `wan`, `yi` or empty."""
    eligible: bool = True
    """False for years, ordinals, members of lists and other digits that are hardly an answer."""

    @property
    def scaled(self) -> float:
        """The value times its unit: 0.32 for 32 %."""
        return self.value * MULTIPLIERS[self.unit]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A number and the zone it was read from."""

    number: Number
    zone: Zone

    @property
    def explicit(self) -> bool:
        """True when the text marks the number as its answer."""
        return self.zone is not Zone.WHOLE


MULTIPLIERS: Final = {
    "": 1.0,
    "%": 0.01,
    "bp": 0.0001,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
    "wan": 1e4,
    "yi": 1e8,
}
_UNITS: Final = {
    "%": "%",
    "percent": "%",
    "bp": "bp",
    "bps": "bp",
    "basis points": "bp",
    "k": "thousand",
    "thousand": "thousand",
    "m": "million",
    "mm": "million",
    "mn": "million",
    "million": "million",
    "b": "billion",
    "bn": "billion",
    "billion": "billion",
    "t": "trillion",
    "tn": "trillion",
    "trillion": "trillion",
    "\u4e07": "wan",
    "\u4ebf": "yi",
}

_DIGITS = r"[0-9]++(?:,[0-9]++)*+(?:\.[0-9]++)?|\.[0-9]++"
_TOKEN = re.compile(
    rf"""
    (?:(?<![A-Za-z0-9_.,)])(?P<sign>[-+]))?
    (?P<currency>[$\u20ac\u00a3\u00a5])?+
    (?<![A-Za-z0-9_.])(?P<inner>(?<=[$\u20ac\u00a3\u00a5])-)?
    (?P<digits>{_DIGITS})
    (?P<exponent>[eE][-+]?[0-9]+)?
    (?:[ ]?(?:x|\u00d7|\*|\\times)[ ]?10\^\{{?(?P<power>[-+]?[0-9]{{1,3}})\}}?)?
    (?:(?P<glued>%|bps?|k|mm?|mn|bn?|tn?|\u4e07|\u4ebf|(?:x|USD|EUR|GBP|JPY))(?![A-Za-z])
      |[ ]{{1,2}}(?P<spaced>%|percent|bps?|basis[ ]points|thousand|million|billion|trillion|mn|bn|\u4e07|\u4ebf)(?![A-Za-z]))?
    (?P<stuck>-?[A-Za-z_])?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_SEPARATOR = re.compile(r"\s*+[,;|\u3001]?\s*+(?:and\s+)?")
_ORDINAL_AHEAD = re.compile(r"[.)][ \t]+\S")
_ORDINAL_BEHIND = re.compile(r"(?:^|\n)[ \t>#]*$")
_LABEL_BEHIND = re.compile(r"\b(?:step|question|table|page)\s*$", re.IGNORECASE)

_FINAL_ANSWER = re.compile(
    r"(?:\bfinal\s+answer\b|\u6700\u7ec8\u7b54\u6848)\s*+(?::|=|is\b)\s*+([^\n]*)", re.IGNORECASE
)
_BOXED = re.compile(r"(?<![A-Za-z_])(?:answer_)?boxed\s*\{{1,2}([^{}]*+)\}")
_FLAT_OBJECT = re.compile(r"\{[^{}]*+\}")
_ANSWER_KEY = re.compile(r'"(?:answer|result)"', re.IGNORECASE)
_CUE = re.compile(r"(?:\b(?:answer|result)\b\s*+(?::|=|is\b|equals\b)|\u7b54\u6848\u662f)\s*+([^\n]*)", re.IGNORECASE)
_ANSWER_KEYS = frozenset({"answer", "result"})


def clean(text: str) -> str:
    """The text without blocks of thought, emphasis and back-ticks, in compatibility form, with one kind of minus.

    Of a longer text the last LONGEST_TEXT characters.
    """
    text = without_thoughts(text)[-LONGEST_TEXT:]
    if not text.isascii():
        pieces = range(0, len(text), _NORMALISED_PIECE)
        text = "".join(unicodedata.normalize("NFKC", text[at : at + _NORMALISED_PIECE]) for at in pieces)
        text = text.translate(_DASHES)
    return text[-LONGEST_TEXT:].replace("**", "").replace("`", "")


def read_number(text: str) -> Found | None:
    """The one number a text gives as its answer, or None. `text` is raw; it is cleaned here."""
    text = clean(text)
    for zone, content in _zones(text):
        tokens = numbers_in(content[:LONGEST_ZONE] if zone is not Zone.WHOLE else content[-LONGEST_ZONE:])
        eligible = [token for token in tokens if token.eligible]
        if zone is Zone.WHOLE:
            return Found(number=eligible[-1], zone=zone) if eligible else None
        return Found(number=(eligible or tokens)[0], zone=zone) if tokens else None
    return None


def numbers_in(text: str) -> list[Number]:
    """Every number in a cleaned text, in order, the ineligible ones marked."""
    matches = [match for match in _TOKEN.finditer(text) if match["digits"]]
    found: list[Number] = []
    run: list[int] = []
    end_before: int | None = None
    for match in matches:
        if end_before is None or not _SEPARATOR.fullmatch(text, end_before, min(match.start(), end_before + 20)):
            _spoil_list(found, run)
            run = []
        elif match.start() > end_before + 20:
            run = []
        for number in _numbers(text, match):
            run.append(len(found))
            found.append(number)
        end_before = match.end()
    _spoil_list(found, run)
    return found


def without_thoughts(text: str) -> str:
    """The text without blocks of thought; what follows one that never closes is thought too."""
    kept: list[str] = []
    at, inside = 0, False
    for tag in _THOUGHT.finditer(text):
        closing = bool(tag[1])
        if not inside and closing:
            kept = []  # some templates open the block themselves, so that only its end is in the reply
        elif not inside:
            kept.append(text[at : tag.start()])
        inside, at = not closing, tag.end()
    return "".join(kept) if inside else "".join([*kept, text[at:]])


def _zones(text: str) -> Iterator[tuple[Zone, str]]:
    if (line := _last_group(_FINAL_ANSWER, text)) is not None:
        yield Zone.FINAL_ANSWER, line
    if (content := _last_group(_BOXED, text)) is not None:
        yield Zone.BOXED, content
    if (value := _last_answer_value(text)) is not None:
        yield Zone.JSON, value
    if (line := _last_group(_CUE, text)) is not None:
        yield Zone.CUE, line
    yield Zone.WHOLE, text


def _last_group(pattern: re.Pattern[str], text: str) -> str | None:
    last = None
    for match in pattern.finditer(text):
        last = match
    return None if last is None else last[1]


def _last_answer_value(text: str) -> str | None:
    objects = [match[0] for match in _FLAT_OBJECT.finditer(text) if _ANSWER_KEY.search(match[0])]
    for candidate in reversed(objects):
        try:
            parsed = json.loads(candidate, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            continue
        values = [value for key, value in parsed.items() if key.casefold() in _ANSWER_KEYS]
        if values:
            return str(values[-1])
    return None


def _spoil_list(found: list[Number], run: list[int]) -> None:
    """Mark members of a list of three or more as ineligible, whether commas, bars, blanks or lines part them."""
    if len(run) >= 3:
        for at in run:
            found[at] = Number(value=found[at].value, unit=found[at].unit, eligible=False)


def _numbers(text: str, match: re.Match[str]) -> Iterator[Number]:
    """One number, or several when commas join digits that are no thousands groups."""
    digits = match["digits"]
    if "," not in digits or _THOUSANDS.fullmatch(digits):
        yield _number(text, match, digits.replace(",", ""), alone="," not in digits)
        return
    first, *rest = digits.split(",")
    for part in (first, *rest):
        yield Number(value=float(part), eligible=math.isfinite(float(part)))


def _number(text: str, match: re.Match[str], digits: str, *, alone: bool) -> Number:
    value = float(digits + (match["exponent"] or ""))
    if match["power"]:
        value *= float(f"1e{match['power']}")  # a power of floats raises where this is infinite
    if match["sign"] == "-" or match["inner"] or _in_accounting_brackets(text, match):
        value = -value
    unit = _UNITS.get((match["glued"] or match["spaced"] or "").casefold(), "")
    plain = alone and digits.isdigit() and not (unit or match["exponent"] or match["power"])
    return Number(
        value=value,
        unit=unit,
        eligible=math.isfinite(value) and not match["stuck"] and not (plain and _is_reference(text, match, digits)),
    )


def _in_accounting_brackets(text: str, match: re.Match[str]) -> bool:
    """`($1,250.75)` is negative; without a currency sign brackets mean nothing."""
    before, after = text[max(match.start() - 1, 0) : match.start()], text[match.end() : match.end() + 1]
    return bool(match["currency"]) and not match["sign"] and before == "(" and after == ")"


def _is_reference(text: str, match: re.Match[str], digits: str) -> bool:
    """A bare integer that names something: a year, the ordinal of a line, a step or table."""
    if match["sign"] or match["currency"]:
        return False
    if len(digits) == 4 and 1900 <= int(digits) <= 2099:
        return True
    before = text[max(match.start() - 12, 0) : match.start()]
    if match.start() > 12:
        before = "." + before  # so that `^` means the start of the text
    ordinal = _ORDINAL_BEHIND.search(before) and _ORDINAL_AHEAD.match(text, match.end())
    return bool(ordinal or _LABEL_BEHIND.search(before))
