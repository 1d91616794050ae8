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

from services.green_agent.scoring.structures import balanced

LONGEST_TEXT: Final = 1_000_000
"""Characters of a reply that are read, counted from its end: an answer comes last, and reading stays within a second."""
LONGEST_ZONE: Final = 100_000
"""Characters of a zone that are searched for tokens, counted from its end in free text, else from its start."""

_THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought|reasoning)\b[^<>]{0,100}>", re.IGNORECASE)
_DASHES = str.maketrans({"\u2212": "-", "\u2010": "-", "\u2013": "-", "\u201c": '"', "\u201d": '"'})
# Powers of ten alone: elsewhere a raised digit may be a footnote or the square of a unit.
_RAISED = re.compile("(?<=10)[\u2070\u00b9\u00b2\u00b3\u2074-\u2079\u207b]{1,4}")
_LATEX_TEXT = re.compile(r"\\{1,2}(?:text|textbf|mathrm|mathbf)\s*+\{([^{}]*+)\}")
_LATEX_THOUSANDS = re.compile(r"(?<=[0-9])(?:\{,\}|\\{1,2}[,!])(?=[0-9]{3})")
_LATEX_ARROW = re.compile(r"\\{1,2}(?:[Rr]ightarrow|to)(?![A-Za-z])")
_LATEX_BLANK = re.compile(r"\\{1,2}[,;: ]")
_LATEX_ESCAPE = re.compile(r"\\{1,2}([%$&#_{}])")
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """The part of a text that holds its answer."""

    zone: Zone
    text: str

    @property
    def explicit(self) -> bool:
        """True when the text marks this part as its answer."""
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
    r"(?:\bfinal\s+answer\b|\u6700\u7ec8\u7b54\u6848)\s*+(?::|=|is\b)\s*+(?:json\s++)?+([^\n]*)", re.IGNORECASE
)
_BOXED = re.compile(r"(?<![A-Za-z_])(?:answer_)?boxed\s*\{{1,2}((?:[^{}]++|(?<=10\^)\{[-+0-9]{1,4}\})*+)\}")
_SAYS = re.compile(r"\w|\[\s*+\]")
"""What a marked answer holds at least: a letter, a digit or an empty list. `$$` or `{` alone only begin one."""
_ANSWER_KEY = re.compile(r'"(?:answer|result|\u6392\u5e8f\u7ed3\u679c)"', re.IGNORECASE)
_CUE = re.compile(r"(?:\b(?:answer|result)\b\s*+(?::|=|is\b|equals\b)|\u7b54\u6848\u662f)\s*+([^\n]*)", re.IGNORECASE)
_ANSWER_KEYS = frozenset({"answer", "result", "\u6392\u5e8f\u7ed3\u679c"})


def clean(text: str) -> str:
    """The text without blocks of thought, emphasis, back-ticks and LaTeX; in compatibility form, with one kind of minus.

    Of a longer text the last LONGEST_TEXT characters.
    """
    text = without_thoughts(text)[-LONGEST_TEXT:]
    if not text.isascii():
        text = _RAISED.sub(lambda power: "^" + power[0], text)
        pieces = range(0, len(text), _NORMALISED_PIECE)
        text = "".join(unicodedata.normalize("NFKC", text[at : at + _NORMALISED_PIECE]) for at in pieces)
        text = text.translate(_DASHES)
    return _without_latex(text[-LONGEST_TEXT:].replace("**", "").replace("`", ""))


def read_number(text: str) -> Found | None:
    """The one number a text gives as its answer, or None. `text` is raw; it is cleaned here."""
    passage = answer_passage(clean(text))
    tokens = numbers_in(passage.text[:LONGEST_ZONE] if passage.explicit else passage.text[-LONGEST_ZONE:])
    eligible = [token for token in tokens if token.eligible]
    if passage.explicit:
        return Found(number=(eligible or tokens)[0], zone=passage.zone) if tokens else None
    return Found(number=eligible[-1], zone=passage.zone) if eligible else None


def answer_passage(text: str) -> Passage:
    """Where a cleaned text gives its answer: the first zone that exists, its last occurrence; else the whole text.

    The value of a JSON object that is no string is given as JSON, its numbers as strings of what was written.
    """
    if (line := _last_group(_FINAL_ANSWER, text)) is not None:
        return Passage(zone=Zone.FINAL_ANSWER, text=_last_group(_BOXED, line) or line)
    if (content := _last_group(_BOXED, text)) is not None:
        return Passage(zone=Zone.BOXED, text=content)
    if (value := _last_answer_value(text)) is not None:
        return Passage(zone=Zone.JSON, text=value)
    if (line := _last_group(_CUE, text)) is not None:
        return Passage(zone=Zone.CUE, text=line)
    return Passage(zone=Zone.WHOLE, text=text)


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


def _without_latex(text: str) -> str:
    r"""`\$1{,}234.5\ \text{million}` as `$1,234.5 million`; inside JSON backslashes come in pairs."""
    if "\\" not in text and "{,}" not in text:
        return text
    text = _LATEX_TEXT.sub(r"\1", text)
    text = _LATEX_THOUSANDS.sub(",", text)
    text = _LATEX_ARROW.sub("->", text)
    return _LATEX_ESCAPE.sub(r"\1", _LATEX_BLANK.sub(" ", text))


def _last_group(pattern: re.Pattern[str], text: str) -> str | None:
    """What the last occurrence that says anything marks."""
    last = None
    for match in pattern.finditer(text):
        if _SAYS.search(match[1]):
            last = match
    return None if last is None else last[1]


def _last_answer_value(text: str) -> str | None:
    if not _ANSWER_KEY.search(text):
        return None
    for start, end in reversed(list(balanced(text, "{"))):
        candidate = text[start:end]
        if not _ANSWER_KEY.search(candidate):
            continue
        try:
            parsed = json.loads(candidate, parse_int=str, parse_float=str)
        except (ValueError, RecursionError):
            continue
        values = [value for key, value in parsed.items() if key.casefold() in _ANSWER_KEYS]
        if values:
            return values[-1] if isinstance(values[-1], str) else json.dumps(values[-1], ensure_ascii=False)
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
