"""Reads the quantities of a finance question out of its prose: spot, strike, rate, volatility, time and the like.

A number belongs to a quantity when it stands by one of the quantity's words: right after it ("strike of 125", "K = 125"),
right before it ("32 % volatility", "60 days") or, failing that, a little further on in the same sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

DAYS_PER_YEAR: Final = 365

Value = float | str


class Quantity(StrEnum):
    """What a number or a word of the question means."""

    SPOT = "spot"
    STRIKE = "strike"
    RATE = "rate"
    DIVIDEND = "dividend"
    VOLATILITY = "volatility"
    PRICE = "price"
    DAYS = "days"
    YEARS = "years"
    OPTION_TYPE = "option type"
    STYLE = "style"
    TICKER = "ticker"
    EXPRESSION = "expression"


_DIGITS: Final = r"(?P<number>-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)"
_SHARE_UNIT: Final = r"\s?(?P<unit>%|percent\b|bps?\b)"
_ANY_UNIT: Final = r"\s?(?P<unit>%|percent\b|bps?\b|million\b|(?<=\d)(?:[kKmM]|bn)\b)"
_LINK: Final = (
    r"(?:[\s=:$€(,]|(?i:is|of|at|was|are|to|be|equals?|trades|trading|quoted|stands|currently|now|price|level|rate|yield)\b|"
    r"[a-zA-Z]0?\)|\([^()\d]{0,60}\)){0,8}"
)
_ADJECTIVE: Final = (
    r"(?:annual(?:i[sz]ed)?|implied|continuous(?:ly)?|compounded|risk-free|flat|constant|calendar|[\s-]){0,6}"
)

_SCALES: Final = {"%": 0.01, "percent": 0.01, "bp": 1e-4, "bps": 1e-4, "k": 1e3, "m": 1e6, "million": 1e6, "bn": 1e9}


def _after(word: str) -> re.Pattern[str]:
    """The number follows the word, with nothing but linking words between them."""
    return re.compile(rf"(?<![A-Za-z]){word}(?![A-Za-z]){_LINK}{_DIGITS}(?:{_ANY_UNIT})?")


def _nearby(word: str, unit: str = rf"(?:{_ANY_UNIT})?") -> re.Pattern[str]:
    """The number follows the word in the same part of the sentence."""
    return re.compile(rf"(?<![A-Za-z]){word}(?![A-Za-z])[^\d\n;.]{{0,40}}?{_DIGITS}{unit}")


def _share_before(word: str) -> re.Pattern[str]:
    """A percentage precedes the word."""
    return re.compile(rf"{_DIGITS}{_SHARE_UNIT}{_ADJECTIVE}{word}(?![A-Za-z])")


def _count_before(word: str) -> re.Pattern[str]:
    """A plain number precedes the word: "60 calendar days", "60-day"."""
    return re.compile(rf"{_DIGITS}(?P<unit>)\s?-?{_ADJECTIVE}{word}(?![A-Za-z])")


_SPOT: Final = r"(?:(?i:spot(?: price)?|underlying(?: price)?|(?:stock|share|index)(?: price)?)|S(?:_?0)?(?=\s*[=:\d]))"
_STRIKE: Final = r"(?:(?i:strike(?: price)?|struck|exercise price)|K(?=\s*[=:\d]))"
_RATE: Final = r"(?:(?i:(?:risk[- ]free |interest )?rate|money costs)|r(?=\s*[=:\d]))"
_DIVIDEND: Final = r"(?:(?i:dividend(?: yield)?|yields)|q(?=\s*[=:\d]))"
_VOLATILITY: Final = r"(?:(?i:(?:implied )?volatility|vol|sigma)|\N{GREEK SMALL LETTER SIGMA})"
_PRICE: Final = (
    r"(?i:(?:market|option|call|put) price|premium|priced|price of the (?:option|call|put)|market pays|worth(?: exactly)?|"
    r"(?:option|call|put)\b(?:[^;.]|\.\d){0,90}?\b(?:trades|trading|quoted|costs|sells)(?: at| for)?)"
)
_DAYS: Final = r"(?:(?i:days?)|d)"
_TO_EXPIRY: Final = r"(?i:(?:days|time) to (?:expiry|expiration|maturity)(?: \(days\))?|days_to_expiry|DTE)"
_YEARS: Final = r"(?i:years?)"

_PATTERNS: Final[Mapping[Quantity, tuple[re.Pattern[str], ...]]] = {
    Quantity.SPOT: (_after(_SPOT), _nearby(_SPOT)),
    Quantity.STRIKE: (_after(_STRIKE), _nearby(_STRIKE)),
    Quantity.RATE: (_after(_RATE), _share_before(_RATE), _nearby(_RATE, _SHARE_UNIT)),
    Quantity.DIVIDEND: (_after(_DIVIDEND), _share_before(_DIVIDEND), _nearby(_DIVIDEND, _SHARE_UNIT)),
    Quantity.VOLATILITY: (_after(_VOLATILITY), _share_before(_VOLATILITY), _nearby(_VOLATILITY, _SHARE_UNIT)),
    Quantity.PRICE: (_after(_PRICE), _nearby(_PRICE)),
    Quantity.DAYS: (_count_before(_DAYS), _after(_TO_EXPIRY)),
    Quantity.YEARS: (_count_before(_YEARS), _after(r"T(?=\s*[=:])")),
}
_SHARES: Final = frozenset({Quantity.RATE, Quantity.DIVIDEND, Quantity.VOLATILITY})

_NUMERAL: Final = re.compile(r"\d[\d.,]*")
_REACH: Final = 160
"""Characters before a number in which the word it belongs to may stand."""

_CALL_OR_PUT: Final = re.compile(r"\b(call|put)s?\b", re.IGNORECASE)
_STYLE: Final = re.compile(r"\b(american|european)\b", re.IGNORECASE)
_TICKER: Final = re.compile(
    r"\((?:[A-Z]+:\s?)?([A-Z]{1,5})\)|\b(?:[Tt]icker|[Ss]ymbol)\s*:?\s*([A-Z]{1,5})\b|\$([A-Z]{1,5})\b"
)
_EXPRESSION: Final = re.compile(r"\d[\d.,]*(?:\s*(?:\*\*|[-+*/^])\s*\(*\s*\d[\d.,]*\)*)+")
_DATE: Final = re.compile(
    r"\b(\d{4}-\d{2}-\d{2})\b|\b(\d{1,2} [A-Z][a-z]{2,8} \d{4})\b|\b([A-Z][a-z]{2,8} \d{1,2}, \d{4})\b"
)
_DATE_FORMS: Final = ("%Y-%m-%d", "%d %B %Y", "%d %b %Y", "%B %d, %Y", "%b %d, %Y")


def read(quantity: Quantity, text: str) -> Value | None:
    """What the text says of a quantity; None when it says nothing. Rates and volatilities come as fractions."""
    if reader := _READERS.get(quantity):
        return reader(text)
    return _number(quantity, text)


def _number(quantity: Quantity, text: str) -> float | None:
    near = _around_numbers(text)
    match = next((found for pattern in _PATTERNS[quantity] if (found := pattern.search(near))), None)
    if match is None:
        return None
    value, unit = float(match["number"].replace(",", "")), (match["unit"] or "").lower()
    if quantity in _SHARES and not unit and abs(value) > 1:
        return value / 100
    return _tidy(value * _SCALES.get(unit, 1.0))


@lru_cache(maxsize=8)
def _around_numbers(text: str) -> str:
    """The parts of the text that stand around numbers. Searching all of 4 kB for twenty patterns would take a millisecond."""
    spans: list[tuple[int, int]] = []
    for match in _NUMERAL.finditer(text):
        start, end = max(0, match.start() - _REACH), match.end() + _REACH // 2
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], end
        else:
            spans.append((start, end))
    return "\n".join(text[start:end] for start, end in spans)


def _tidy(value: float) -> float:
    """4.5 % is 0.045, not 0.045000000000000005."""
    return round(value, 12)


def _days(text: str) -> float | None:
    if (days := _number(Quantity.DAYS, text)) is not None:
        return days
    if (years := _number(Quantity.YEARS, text)) is not None:
        return float(round(years * DAYS_PER_YEAR))
    return _days_between_dates(text)


def _years(text: str) -> float | None:
    if (years := _number(Quantity.YEARS, text)) is not None:
        return years
    days = _days(text)
    return None if days is None else days / DAYS_PER_YEAR


def _days_between_dates(text: str) -> float | None:
    """Days from the first date of the text to the last, when it names two."""
    dates = [found for match in _DATE.finditer(text) if (found := _date(match[0])) is not None]
    if len(dates) < 2 or dates[-1] <= dates[0]:
        return None
    return float((dates[-1] - dates[0]).days)


def _date(text: str) -> date | None:
    for form in _DATE_FORMS:
        try:
            return datetime.strptime(text, form).date()  # noqa: DTZ007 - a day has no time zone
        except ValueError:
            continue
    return None


def _word(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    def read_word(text: str) -> str | None:
        match = pattern.search(text)
        return match[1].lower() if match else None

    return read_word


def _ticker(text: str) -> str | None:
    match = _TICKER.search(text)
    return next(filter(None, match.groups())) if match else None


def _expression(text: str) -> str | None:
    match = _EXPRESSION.search(text)
    return match[0].strip() if match else None


_READERS: Final[Mapping[Quantity, Callable[[str], Value | None]]] = {
    Quantity.DAYS: _days,
    Quantity.YEARS: _years,
    Quantity.OPTION_TYPE: _word(_CALL_OR_PUT),
    Quantity.STYLE: _word(_STYLE),
    Quantity.TICKER: _ticker,
    Quantity.EXPRESSION: _expression,
}
