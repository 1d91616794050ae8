"""Questions that ask for several named quantities: the form that ends the question, its reader and its grading.

Finance specification 5.3. Truth decides alone: each quantity is right or wrong, and no word beside the answer counts. Every
step is linear in the length of the reply, and no reply raises.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pydantic import JsonValue

from services.green_agent.scoring.numbers import MULTIPLIERS, Number, clean, numbers_in, read_number
from services.green_agent.scoring.structures import balanced

Value = float | int | bool | str
"""A key: a number, a count, yes or no, or a label."""

SLIPS: Final = (100.0, 1000.0, 0.01, 0.001)
"""Factors by which a wrong answer shows that only its unit is wrong."""

_LONGEST_VALUE = 200
_SCALES = {**MULTIPLIERS, "points": 0.01, "percentage": 0.01}
_FINAL_ANSWER = re.compile(r"\bfinal\s++answer\b\s*+:?\s*+(?:json\s*+)?(?=\{)", re.IGNORECASE)
_TRUE = frozenset({"true", "yes"})
_FALSE = frozenset({"false", "no"})


class Measure(StrEnum):
    """How an answer is compared with the key."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    COUNT = "count"
    LABEL = "label"
    BOOL = "bool"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantity:
    """One thing a question asks for."""

    key: str
    """Carries its unit, such as `theta_per_day_usd`."""
    meaning: str
    unit: str = ""
    measure: Measure = Measure.RELATIVE
    tolerance: float = 0.005
    """A share of the key (`relative`) or an amount in its unit (`absolute`); unused for the others."""
    decimals: int = 4
    labels: tuple[str, ...] = ()
    """The closed list of a label."""

    @property
    def is_number(self) -> bool:
        """False for labels and yes or no."""
        return self.measure in {Measure.RELATIVE, Measure.ABSOLUTE, Measure.COUNT}

    @property
    def scale(self) -> float:
        """What one of its unit is: 0.01 for `%` and `points`, 1e6 for `million USD`, else 1."""
        return _SCALES.get(self.unit.partition(" ")[0], 1.0)

    def margin(self, key: float) -> float:
        """How far from `key` an answer may lie: the tolerance, but at least half a unit of the last asked decimal."""
        if self.measure is Measure.COUNT:
            return 0.0
        allowed = self.tolerance * abs(key) if self.measure is Measure.RELATIVE else self.tolerance
        return max(allowed, 0.5 * 10.0**-self.decimals)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a reply says of the required keys."""

    values: Mapping[str, JsonValue | Number]
    source: str
    """`final_answer`, `json` or, for one quantity only, `number`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """The verdict on one quantity."""

    quantity: Quantity
    expected: Value
    got: str
    """As read, cut; empty when missing."""
    right: bool
    unit_slip: bool = False
    """Wrong by a factor 100 or 1000 exactly."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Grade:
    """All verdicts on one reply."""

    marks: tuple[Mark, ...]

    @property
    def right(self) -> int:
        """Quantities answered right."""
        return sum(mark.right for mark in self.marks)

    @property
    def share(self) -> float:
        """Right / required, 0..1."""
        return self.right / len(self.marks)

    @property
    def unit_slips(self) -> int:
        """Quantities that are wrong in their unit alone."""
        return sum(mark.unit_slip for mark in self.marks)

    def explain(self) -> str:
        """One line a quantity: what was expected and what came."""
        return "\n".join(map(_line, self.marks))


def answer_form(quantities: Sequence[Quantity]) -> str:
    """The block that ends a question: what is required and how to write it."""
    lines = ["Required quantities:", *(_describe(quantity) for quantity in quantities)]
    if any(quantity.is_number and quantity.measure is not Measure.COUNT for quantity in quantities):
        lines.append("Half a unit of the last decimal asked for is always tolerated. Percentages are given in percent.")
    lines.append(f"Close your reply with one line:\n{final_line(quantities)}")
    return "\n".join(lines)


def reminder(quantities: Sequence[Quantity]) -> str:
    """What to say, once, when a reply holds no required key."""
    return f"No answer could be read from your reply. Close with one line of this form:\n{final_line(quantities)}"


def final_line(quantities: Sequence[Quantity]) -> str:
    """The form itself. It is no JSON, so that repeating the question answers nothing."""
    return "FINAL ANSWER: {" + ", ".join(f'"{quantity.key}": {_blank(quantity)}' for quantity in quantities) + "}"


def read(reply: str, quantities: Sequence[Quantity]) -> Reading | None:
    """What a reply says, or None when no required key can be read.

    The last FINAL ANSWER object counts, else the last JSON object with a required key, else, when one number alone is asked
    for, the one number of the text. Blocks of thought are not read.
    """
    text = clean(reply)
    keys = {quantity.key for quantity in quantities}
    spans = dict(balanced(text, "{"))
    marked = [match.end() for match in _FINAL_ANSWER.finditer(text) if match.end() in spans]
    for start in reversed(marked):
        if (found := _parse(text[start : spans[start]])) is not None:
            if values := _required(found, keys):
                return Reading(values=values, source="final_answer")
            break
    for start, end in reversed(spans.items()):
        if (found := _parse(text[start:end])) is not None and (values := _required(found, keys)):
            return Reading(values=values, source="json")
    if len(quantities) == 1 and quantities[0].is_number and (number := read_number(reply)):
        return Reading(values={quantities[0].key: number.number}, source="number")
    return None


def grade(quantities: Sequence[Quantity], keys: Mapping[str, Value], reading: Reading | None) -> Grade:
    """Compare each required quantity with its key. Missing, NaN, infinite and unlisted values are wrong."""
    values = {} if reading is None else reading.values
    return Grade(marks=tuple(_mark(quantity, keys[quantity.key], values.get(quantity.key)) for quantity in quantities))


def objects_in(text: str) -> Iterator[dict[str, JsonValue]]:
    """The JSON objects of a text, the last to end first: an outer one before those inside it. Linear in its length."""
    for start, end in reversed(list(balanced(text, "{"))):
        if (found := _parse(text[start:end])) is not None:
            yield found


def _describe(quantity: Quantity) -> str:
    parts = [f"- {quantity.key}: {quantity.meaning}"]
    match quantity.measure:
        case Measure.LABEL:
            parts.append("one of " + ", ".join(f'"{label}"' for label in quantity.labels))
        case Measure.BOOL:
            parts.append("true or false")
        case Measure.COUNT:
            parts += [quantity.unit, "a whole number, exact"]
        case Measure.RELATIVE:
            parts += [quantity.unit, f"{quantity.decimals} decimals, within {100 * quantity.tolerance:.3g} %"]
        case Measure.ABSOLUTE:
            points = " percentage points" if "%" in quantity.unit else ""
            parts += [quantity.unit, f"{quantity.decimals} decimals, within {quantity.tolerance:.3g}{points}"]
    return "; ".join(part for part in parts if part)


def _blank(quantity: Quantity) -> str:
    if quantity.measure is Measure.LABEL:
        return "<label>"
    return "<true or false>" if quantity.measure is Measure.BOOL else "<number>"


def _parse(candidate: str) -> dict[str, JsonValue] | None:
    try:
        parsed = json.loads(candidate, parse_int=_integer)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, dict) else None


def _integer(digits: str) -> int | float:
    # Beyond 15 digits a float says as much, and int() refuses or takes long over thousands of digits.
    return int(digits) if len(digits) <= 15 else float(digits)


def _required(found: Mapping[str, JsonValue], keys: set[str]) -> dict[str, JsonValue | Number]:
    named = {name.strip().casefold(): value for name, value in found.items()}
    return {key: named[key] for key in keys if key in named}


def _mark(quantity: Quantity, expected: Value, value: JsonValue | Number) -> Mark:
    got = _show(value)
    if quantity.measure is Measure.BOOL:
        return Mark(quantity=quantity, expected=expected, got=got, right=_truth(value) is expected)
    if quantity.measure is Measure.LABEL:
        right = isinstance(value, str) and _plain(value) == _plain(str(expected))
        return Mark(quantity=quantity, expected=expected, got=got, right=right)
    number, key = _figure(value, quantity), float(expected)
    if number is None:
        return Mark(quantity=quantity, expected=expected, got=got, right=False)
    margin = quantity.margin(key)
    # The slack lets a value exactly on the margin pass in spite of binary fractions.
    slack = 1e-9 * max(abs(key), margin)
    right = abs(number - key) <= margin + slack
    slip = not right and any(abs(number * factor - key) <= margin + slack for factor in SLIPS)
    return Mark(quantity=quantity, expected=expected, got=got, right=right, unit_slip=slip)


def _figure(value: JsonValue | Number, quantity: Quantity) -> float | None:
    """The answer in the unit of the quantity, or None when it is no finite number."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        found = numbers_in(clean(value)) if len(value) <= _LONGEST_VALUE else []
        value = found[0] if len(found) == 1 else None
    if isinstance(value, Number):
        # A unit written beside the number is turned into the one asked for; a bare number is in that one already.
        value = value.value * (MULTIPLIERS[value.unit] / quantity.scale) if value.unit else value.value
    if not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _truth(value: JsonValue | Number) -> bool | None:
    if isinstance(value, bool):
        return value
    word = _plain(value) if isinstance(value, str) else ""
    return True if word in _TRUE else False if word in _FALSE else None


def _plain(label: str) -> str:
    return " ".join(re.sub(r"[_\-\s]+", " ", label[:_LONGEST_VALUE]).casefold().strip(" .").split())


def _show(value: JsonValue | Number) -> str:
    if value is None:
        return ""
    text = f"{value.value:g} {value.unit}".strip() if isinstance(value, Number) else json.dumps(value)
    return text if len(text) <= 60 else text[:59] + "\u2026"


def _line(mark: Mark) -> str:
    verdict = "right" if mark.right else "wrong unit" if mark.unit_slip else "wrong" if mark.got else "missing"
    expected = f"{mark.expected:.6g}" if isinstance(mark.expected, float) else json.dumps(mark.expected)
    return f"{mark.quantity.key}: expected {expected}, got {mark.got or 'nothing'}: {verdict}"
