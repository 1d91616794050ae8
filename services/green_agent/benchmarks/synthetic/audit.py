"""Does the key of an item contradict the item itself? Five rules in pure code (finance specification 5.1).

A1 a step voices doubt. A2 the last step does not lead to the key. A3 a printed equality does not hold. A4 the rubric gives a
range, an alternative or an approximation. A5 the rubric or the formatted key gives another value than the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard

from services.green_agent.benchmarks.synthetic.arithmetic import Printed, broken_equalities, printed_numbers
from services.green_agent.benchmarks.synthetic.item import FileItem, Leaf

DOUBTS: Final = (
    "but wait",
    "hmm",
    "actually",
    "recalculate",
    "recheck",
    "re-interpret",
    "contradict",
    "reconsider",
    "impossible",
    "is wrong",
    "expected answer around",
    "scaling differently",
)
_LOOSE = re.compile(
    r"""[~\u2248\u00b1] | \b(?:or|range|about|around|approximately|approx|between|roughly)\b
      | [0-9][%KMB]?\s*[-\u2013]\s*[$\u20ac\u00a3\u00a5]?[0-9]""",
    re.IGNORECASE | re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One reason to distrust a key."""

    rule: str
    """`A1` to `A5`."""
    text: str


def audit(item: FileItem) -> tuple[Finding, ...]:
    """Every finding on an item, in order of the rules; empty for an item that agrees with itself."""
    return (*_doubts(item), *_lost_keys(item), *_broken_steps(item), *_loose_rubric(item), *_disagreements(item))


def _doubts(item: FileItem) -> Iterator[Finding]:
    for step in item.calculation_steps:
        lower = step.casefold()
        for sign in DOUBTS:
            if sign in lower:
                yield Finding(rule="A1", text=f"a step says {sign!r}: {_cut(step)}")
                break


def _lost_keys(item: FileItem) -> Iterator[Finding]:
    key = item.ground_truth_value
    if not is_number(key) or not item.calculation_steps:
        return
    last = item.calculation_steps[-1]
    numbers = printed_numbers(last)
    if numbers and not any(_within(number, float(key)) for number in numbers):
        yield Finding(rule="A2", text=f"the last step does not give the key {key!r}: {_cut(last)}")


def _within(number: Printed, key: float) -> bool:
    """The rule's own measure: 0.5 %, with or without the scale, whatever the sign."""
    return any(abs(number.value * scale - abs(key)) <= 0.005 * abs(key) for scale in (1.0, number.scale))


def _broken_steps(item: FileItem) -> Iterator[Finding]:
    for step in item.calculation_steps:
        for broken in broken_equalities(step):
            left = f"[{broken.left.low:.6g}, {broken.left.high:.6g}]"
            yield Finding(rule="A3", text=f"{_cut(broken.text)} does not hold: the left side is in {left}")


def _loose_rubric(item: FileItem) -> Iterator[Finding]:
    for component in item.rubric.components:
        if _LOOSE.search(component.expected):
            yield Finding(rule="A4", text=f"{component.name}: expected value is {_cut(component.expected)!r}")


def _disagreements(item: FileItem) -> Iterator[Finding]:
    keys = numeric_keys(item.ground_truth_value)
    shown = printed_numbers(item.ground_truth_formatted)
    for name, key in keys.items():
        if shown and not any(number.agrees(key) for number in shown):
            yield Finding(
                rule="A5", text=f"{name} is {key!r}, the formatted key says {_cut(item.ground_truth_formatted)!r}"
            )
    exact = {
        component.name: numbers
        for component in item.rubric.components
        if not _LOOSE.search(component.expected) and (numbers := printed_numbers(component.expected))
    }
    if isinstance(item.ground_truth_value, Mapping):
        for name in keys.keys() & exact.keys():
            if not any(number.agrees(keys[name]) for number in exact[name]):
                yield Finding(rule="A5", text=f"{name} is {keys[name]!r}, its rubric component gives another value")
    elif exact and any(
        not any(number.agrees(key) for found in exact.values() for number in found) for key in keys.values()
    ):
        yield Finding(rule="A5", text=f"no value of the rubric agrees with the key {item.ground_truth_value!r}")


def numeric_keys(value: Leaf | Mapping[str, Leaf]) -> dict[str, float]:
    """The numbers of a key by name; `answer` for a single one."""
    leaves = value if isinstance(value, Mapping) else {"answer": value}
    return {name: float(leaf) for name, leaf in leaves.items() if is_number(leaf)}


def is_number(value: object) -> TypeGuard[float | int]:
    """True for a number that is no truth value."""
    return isinstance(value, float | int) and not isinstance(value, bool)


def _cut(text: str) -> str:
    return text if len(text) <= 120 else text[:119] + "\u2026"
