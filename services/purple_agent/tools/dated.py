"""The simulation date: what happened after it does not exist for the agent.

A tool that takes a date is told the simulation date; one that takes none is withdrawn, since nobody could say what it would
reveal. An answer that names a later day, in any of the usual ways of writing one, is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final

from pydantic import JsonValue

from services.purple_agent.tools.base import ToolError

DATE_PARAMETERS: Final = ("simulation_date", "as_of", "as_of_date", "end_date", "until", "to_date")
"""Arguments by which outside tools take the last day they may look at."""

# Digits or letters beside a date do not hide it: JSON glues an escaped line break to it, and a time follows after T.
_YEAR, _MONTH, _DAY = r"(?P<year>(?:19|20)\d\d)", r"(?P<month>1[0-2]|0?[1-9])", r"(?P<day>[12]\d|3[01]|0?[1-9])"
_NAMED: Final = r"(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DATES: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"(?<!\d){_YEAR}[-/.]{_MONTH}[-/.]{_DAY}(?!\d)",
        rf"(?<!\d){_YEAR}(?P<month>0[1-9]|1[0-2])(?P<day>0[1-9]|[12]\d|3[01])(?=T\d|\")",
        rf"(?<!\d){_MONTH}[-/.]{_DAY}[-/.]{_YEAR}(?!\d)",
        rf"(?<!\d){_DAY}[-/.]{_MONTH}[-/.]{_YEAR}(?!\d)",
        rf"{_NAMED}[ -]{{1,3}}{_DAY}(?:st|nd|rd|th)?,?[ -]{{1,3}}{_YEAR}(?!\d)",
        rf"(?<!\d){_DAY}(?:st|nd|rd|th)?[ -]{{1,3}}(?:of )?{_NAMED},?[ -]{{1,3}}{_YEAR}(?!\d)",
    )
)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIMESTAMP: Final = re.compile(
    r"\"[a-z_]{0,30}(?:date|time|stamp|_at|expir)[a-z_]{0,30}\\?\": ?(\d{10}|\d{13})(?!\d)", re.IGNORECASE
)
"""Seconds or milliseconds since 1970 under a name that says so; elsewhere such a number may be an amount."""
_ARGUMENT: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ][\d:.]{0,15}(?:Z|[+-]\d\d:?\d\d)?)?")


def date_parameters(schema: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """The arguments of a tool that bound its dates."""
    properties = schema.get("properties")
    names = properties if isinstance(properties, dict) else {}
    return tuple(name for name in DATE_PARAMETERS if name in names)


def bounded(
    arguments: Mapping[str, JsonValue], parameters: tuple[str, ...], simulation_date: date
) -> dict[str, JsonValue]:
    """The arguments with each of these dates at most the simulation date; what is no plain ISO date becomes that date."""
    today = simulation_date.isoformat()

    def earlier(asked: JsonValue) -> bool:
        return isinstance(asked, str) and _ARGUMENT.fullmatch(asked) is not None and asked[:10] <= today

    return dict(arguments) | {name: arguments[name] if earlier(arguments.get(name)) else today for name in parameters}


def check_not_later(text: str, simulation_date: date) -> None:
    """Raise ToolError when the text names a day after the simulation date."""
    if names_later_day(text, simulation_date):
        raise ToolError("after_simulation_date", f"the answer holds dates after {simulation_date} and is not shown")


def names_later_day(text: str, simulation_date: date) -> bool:
    """Whether a text names a day after the simulation date."""
    return any(day > simulation_date for day in _days(text))


def _days(text: str) -> Iterator[date]:
    """Every day a text names. 03/04/2025 counts as both days it may mean."""
    for pattern in _DATES:
        for match in pattern.finditer(text):
            month = match["month"].lower()
            number = int(month) if month.isdecimal() else _MONTHS.index(month) + 1
            try:
                yield date(int(match["year"]), number, int(match["day"]))
            except ValueError:  # the 31st of June
                continue
    for match in _TIMESTAMP.finditer(text):
        seconds = int(match[1][:10])
        yield datetime.fromtimestamp(seconds, UTC).date()
