"""The simulation date: what happened after it does not exist for the agent.

A tool that takes a date is told the simulation date; one that takes none is withdrawn, since nobody could say what it would
reveal. An answer that names a later date is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Final

from pydantic import JsonValue

from services.purple_agent.tools.base import ToolError

DATE_PARAMETERS: Final = ("simulation_date", "as_of", "as_of_date", "end_date", "until", "to_date")
"""Arguments by which outside tools take the last day they may look at."""
_DATE: Final = re.compile(r"\b((?:19|20)\d\d)-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])\b")


def date_parameter(schema: Mapping[str, JsonValue]) -> str | None:
    """The argument of a tool that bounds its dates, or None."""
    properties = schema.get("properties")
    names = properties if isinstance(properties, dict) else {}
    return next((name for name in DATE_PARAMETERS if name in names), None)


def bounded(arguments: Mapping[str, JsonValue], parameter: str, simulation_date: date) -> dict[str, JsonValue]:
    """The arguments with the date at most the simulation date; ISO dates compare as text."""
    asked, today = arguments.get(parameter), simulation_date.isoformat()
    earlier = isinstance(asked, str) and bool(_DATE.fullmatch(asked[:10])) and asked[:10] <= today
    return {**arguments, parameter: asked if earlier else today}


def check_not_later(text: str, simulation_date: date) -> None:
    """Raise ToolError when the text names an ISO date after the simulation date."""
    today = simulation_date.isoformat()
    if any(match[0] > today for match in _DATE.finditer(text)):
        raise ToolError("after_simulation_date", f"the answer holds dates after {today} and is not shown")
