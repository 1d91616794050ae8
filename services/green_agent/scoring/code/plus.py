"""Outputs of a program against those of the published solution, as EvalPlus compares them. Pure.

What is decoded here was returned by a program under test: nothing may take long on it. Source: code-and-math
specification 5, "EvalPlus".
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

RTOL: Final = 1e-7
FLOAT_ATOL: Final = 1e-6
"""Tolerance of floats where the row states none."""
MANY_MEMBERS: Final = 1000

Check = Callable[[Sequence[Any], Any, Any, float], bool]
"""(arguments, returned, expected, atol of the row) -> right. May raise what operations on plain builtins raise."""

_FAULTS: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def agrees(_arguments: Sequence[Any], returned: Any, expected: Any, atol: float) -> bool:
    """Equal, or floats (or a flat sequence of them) of the same type within the tolerance.

    A row with a tolerance of its own has it for all numbers, nested ones included.
    """
    if returned == expected:
        return True
    tolerance = atol or (FLOAT_ATOL if _is_floats(expected) else 0.0)
    return tolerance > 0 and type(returned) is type(expected) and _close(returned, expected, tolerance)


def holds(check: Check, arguments: Sequence[Any], returned: Any, expected: Any, atol: float) -> bool:
    """The check's answer; False where comparing raises."""
    try:
        return check(arguments, returned, expected, atol)
    except _FAULTS:
        return False


def _is_floats(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, float) for item in value)
    return isinstance(value, float)


def _close(returned: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, list | tuple):
        return (
            isinstance(returned, list | tuple)
            and len(returned) == len(expected)
            and all(_close(one, other, tolerance) for one, other in zip(returned, expected, strict=True))
        )
    if returned == expected:
        return True
    # Infinities are close to themselves alone: beside one every tolerance is infinite.
    numbers = _is_number(returned) and _is_number(expected) and cmath.isfinite(returned) and cmath.isfinite(expected)
    return numbers and abs(returned - expected) <= tolerance + RTOL * abs(expected)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | complex) and not isinstance(value, bool)


def _root(arguments: Sequence[Any], returned: Any, _expected: Any, atol: float) -> bool:
    """Any root of the polynomial will do, whichever the published solution finds. Added as published, rounding included."""
    if not isinstance(returned, int | float):
        return False
    point = float(returned)
    value = sum(coefficient * math.pow(point, power) for power, coefficient in enumerate(arguments[0]))
    return bool(abs(value) <= (atol or FLOAT_ATOL))


def _same_members(_arguments: Sequence[Any], returned: Any, expected: Any, _atol: float) -> bool:
    """Order and repetition are nobody's business in these tasks."""
    collections = (list, tuple, set, frozenset)
    if not isinstance(returned, collections) or not isinstance(expected, collections):
        return False
    # Members made to collide take time that grows with the square of their number.
    return len(returned) <= MANY_MEMBERS + 10 * len(expected) and set(returned) == set(expected)


def _is_something(_arguments: Sequence[Any], returned: Any, expected: Any, _atol: float) -> bool:
    """The published solution returns a match object or None; a bool says the same."""
    found = expected is not None
    return returned is found if isinstance(returned, bool) else (returned is not None) is found


def _divisors(arguments: Sequence[Any], returned: Any, expected: Any, atol: float) -> bool:
    """Numbers below 2 have no proper divisors: their sum is 0, whatever the published solution says."""
    return agrees(arguments, returned, expected, atol) or (arguments[0] < 2 and bool(returned == 0))


def _padded_digits(arguments: Sequence[Any], returned: Any, expected: Any, atol: float) -> bool:
    """The shorter number may be read with zeros before it."""
    if agrees(arguments, returned, expected, atol):
        return True
    texts = [str(number) for number in arguments]
    pairs = zip(*(text.zfill(max(map(len, texts))) for text in texts), strict=True)
    return bool(returned == sum(abs(int(one) - int(other)) for one, other in pairs))


def _pyramid(arguments: Sequence[Any], returned: Any, expected: Any, atol: float) -> bool:
    """The second number is the slant height, or the height of the pyramid."""
    if agrees(arguments, returned, expected, atol):
        return True
    edge, height = arguments
    area = edge**2 + 2 * edge * math.sqrt((edge / 2) ** 2 + height**2)
    return _is_number(returned) and abs(returned - round(area)) <= atol


def _anything(_arguments: Sequence[Any], _returned: Any, _expected: Any, _atol: float) -> bool:
    """The published test accepts every output."""
    return True


ANYTHING_GOES: Final = frozenset({"Mbpp/164"})
"""Tasks whose test tells nothing."""
CHECKS: Final[Mapping[str, Check]] = {
    "HumanEval/32": _root,
    **dict.fromkeys((f"Mbpp/{number}" for number in (2, 7, 111, 140, 232, 249, 579, 769)), _same_members),
    **dict.fromkeys(ANYTHING_GOES, _anything),
    "Mbpp/295": _divisors,
    "Mbpp/558": _padded_digits,
    "Mbpp/581": _pyramid,
}
"""By task; `agrees` for all others."""
SOMETHING_OR_NONE: Final = frozenset({"check_str", "text_match_three", "text_starta_endb"})
"""Functions that return a match object, which does not cross."""


def check_of(task_id: str, entry_point: str) -> Check:
    """How the outputs of a task are compared."""
    if task_id.startswith("Mbpp/") and entry_point in SOMETHING_OR_NONE:
        return _is_something
    return CHECKS.get(task_id, agrees)
