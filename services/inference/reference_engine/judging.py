"""Policy rule 5: a verdict by overlap with the reference. Keyword soup beats it by design; it never leaves the label off."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from typing import Final

from services.inference.reference_engine import LABEL
from services.inference.reference_engine.exchange import Schema
from services.inference.reference_engine.schemas import Filler, instance

TOLERANCE: Final = 0.005
"""Relative distance at which two numbers are the same."""
UNKNOWN_SHARE: Final = 0.5

_FENCE: Final = re.compile(r"<<<BEGIN (\w+) (\w+)>>>(.*?)<<<END \1 \2>>>", re.DOTALL)
_NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_WORD: Final = re.compile(r"[^\W\d_]{4,}")
_CRITERION: Final = re.compile(r"\bc\d{2,3}\b")
_GOOD: Final = ("correct", "pass", "yes", "met", "true")
_BAD: Final = ("incorrect", "fail", "no", "not_met", "false")


def is_judge_prompt(text: str) -> bool:
    """True when the text fences an answer or a reference the way our judge does."""
    return "<<<BEGIN " in text and any(name in {"answer", "reference"} for name, _, _ in _FENCE.findall(text))


def verdict(text: str, schema: Schema | None) -> str:
    """The verdict as JSON text in the asked shape, else in the one of our judge."""
    share = overlap(text)
    ids = tuple(dict.fromkeys(_CRITERION.findall(_FENCE.sub("", text))))
    filler = Filler(
        positive=share >= 0.5,
        share=share,
        text=LABEL,
        wanted=_GOOD if share >= 0.5 else _BAD,
        ids=ids,
        optional=True,
    )
    value = instance(schema if schema is not None else _criteria() if ids else _BINARY, filler)
    if isinstance(value, dict) and "injection_suspected" in value:
        value["injection_suspected"] = False  # a right answer is no attempt on the judge
    return json.dumps(value)


def overlap(text: str) -> float:
    """Share of the fenced reference that the fenced answer holds, 0..1."""
    fenced = _fenced(text)
    if "answer" not in fenced or "reference" not in fenced:
        return UNKNOWN_SHARE
    wanted, given = _numbers(fenced["reference"]), _numbers(fenced["answer"])
    if wanted:
        return sum(_holds(given, number) for number in wanted) / len(wanted)
    words = set(_WORD.findall(fenced["reference"].lower()))
    return len(words & set(_WORD.findall(fenced["answer"].lower()))) / len(words) if words else UNKNOWN_SHARE


def _fenced(text: str) -> dict[str, str]:
    """Texts by role; `reference_2` is one more reference."""
    found: dict[str, list[str]] = {}
    for name, _, body in _FENCE.findall(text):
        found.setdefault(name.partition("_")[0], []).append(body)
    return {role: "\n".join(bodies) for role, bodies in found.items()}


def _numbers(text: str) -> list[float]:
    return sorted({float(match.replace(",", "")) for match in _NUMBER.findall(text)})


def _holds(ordered: list[float], number: float) -> bool:
    slack = abs(number) * TOLERANCE
    index = bisect_left(ordered, number - slack)
    return index < len(ordered) and ordered[index] <= number + slack


_BINARY: Final[Schema] = {
    "type": "object",
    "properties": {"correct": {"type": "boolean"}, "reason": {"type": "string"}},
}


def _criteria() -> Schema:
    text: Schema = {"type": "string"}
    criterion: Schema = {
        "type": "object",
        "properties": {"id": dict(text), "met": {"type": "boolean"}, "evidence": dict(text), "reason": dict(text)},
    }
    return {
        "type": "object",
        "properties": {
            "criteria": {"type": "array", "items": dict(criterion)},
            "injection_suspected": {"const": False},
        },
    }
