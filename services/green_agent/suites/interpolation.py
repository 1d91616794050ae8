"""`${VAR}`, `${VAR:-default}` and `$$` in one scalar value of a suite. Keys and comments are never looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_PLACEHOLDER: Final = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<body>[^{}]*)\}|(?P<broken>\{))")
_BODY: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>.*))?", re.DOTALL)


class InterpolationError(Exception):
    """A placeholder cannot be filled. The text names the variable, never a value."""


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """The text with its placeholders filled. A variable that is set but empty counts as set.

    Raises InterpolationError for a variable that is not set and has no default, and for a placeholder that is none.
    """

    def fill(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        body = _BODY.fullmatch(match["body"] or "")
        if match["broken"] or body is None:
            raise InterpolationError("expected ${VAR} or ${VAR:-default}; write $$ for a dollar")
        if body["name"] in variables:
            return variables[body["name"]]
        if body["default"] is None:
            raise InterpolationError(
                f"the variable {body['name']} is not set; set it, or write ${{{body['name']}:-default}}"
            )
        return body["default"]

    return _PLACEHOLDER.sub(fill, text)


def is_one_placeholder(text: str) -> bool:
    """True when the value is one `${...}` and nothing else: what it stands for is read as a YAML scalar again."""
    match = _PLACEHOLDER.fullmatch(text)
    return match is not None and match["body"] is not None
