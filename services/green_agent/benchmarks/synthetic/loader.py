"""Items of a synthetic question file of AgentBusters as tasks: audited, corrected, with the form of the answer appended.

Keys keep their names in the file; a single value is called `answer`. A number is asked for in percent where the formatted key
is in percent and is right within 1 % (a key of 0 within 0.01); yes or no and labels are exact. A label without a closed list
is not asked. A key in prose needs the judge. Source: finance specification 5.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, FiniteFloat, JsonValue

from services.green_agent.benchmarks.base import DatasetError, digest
from services.green_agent.benchmarks.synthetic.arithmetic import Printed, printed_numbers
from services.green_agent.benchmarks.synthetic.audit import Finding, is_number
from services.green_agent.benchmarks.synthetic.audit import audit as findings_of
from services.green_agent.benchmarks.synthetic.item import FileItem, Leaf
from services.green_agent.benchmarks.synthetic.task import SyntheticTask
from services.green_agent.data.errors import DataError
from services.green_agent.data.overrides import Override, read_overrides
from services.green_agent.data.questions import QuestionFile, Read, read_questions
from services.green_agent.scoring.answers import Measure, Quantity, Value, answer_form

Audit = Literal["quarantine", "report", "off"]

TOLERANCE: Final = 0.01
"""Share of the key; an amount for a key of 0."""
LONGEST_LABEL: Final = 40
_CURRENCIES: Final = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}
_OPTION = re.compile(r"\(([A-Z])\)")


class AskedQuantity(BaseModel):
    """What an override says of one quantity; absent fields are taken from the item."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: bool | FiniteFloat | str | None = None
    unit: str | None = None
    meaning: str | None = None
    labels: tuple[str, ...] = ()


class SyntheticOverride(Override):
    """How an item was settled."""

    action: Literal["corrected", "quarantined"]
    quantities: Mapping[str, AskedQuantity] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedFile:
    """The usable items of a file and what was found while loading."""

    items: tuple[SyntheticTask, ...]
    report: Mapping[str, JsonValue]
    """`file`, `sha256`, `audit`, `declared_count`, `count_differs` (only then), `found`, `usable`, `not_asked` (labels without a
    closed list, by item), `flagged` [{id, rules, action, reason, findings}]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """An item with what the audit and people say of it."""

    item: FileItem
    sha256: str
    findings: tuple[Finding, ...]
    override: SyntheticOverride | None
    action: Literal["sound", "corrected", "quarantined", "dropped", "kept"]

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(finding.rule for finding in self.findings))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """The required quantities of an item with their keys, and the leaves that cannot be asked for."""

    quantities: tuple[Quantity, ...]
    keys: Mapping[str, Value]
    left_out: tuple[str, ...]


def load(path: Path, *, audit: Audit = "quarantine") -> LoadedFile:
    """The items of a file in its order.

    `quarantine` drops what is settled as wrong and what is newly flagged, `report` keeps all with their flags; both take
    over corrections. `off` takes every key as it is published. Raises DatasetError naming the file and its faults.
    """
    try:
        file = read_questions(path, FileItem)
    except DataError as error:
        raise DatasetError(f"synthetic: {error}") from error
    judged = [_judge(read, audit) for read in file.items]
    kept = [one for one in judged if one.action not in {"quarantined", "dropped"}]
    if not kept:
        raise DatasetError(f"synthetic: {file.name}: the audit leaves none of {len(judged)} items; see `audit: report`")
    asked = [(one, _asked(one)) for one in kept]
    tasks = tuple(_task(one, wanted) for one, wanted in asked)
    left_out: dict[str, JsonValue] = {one.item.question_id: list(a.left_out) for one, a in asked if a.left_out}
    return LoadedFile(items=tasks, report=_report(file, judged, audit, left_out))


@cache
def _overrides() -> Mapping[str, SyntheticOverride]:
    return read_overrides(__package__, SyntheticOverride)


def _judge(read: Read[FileItem], audit: Audit) -> _Judged:
    found = () if audit == "off" else findings_of(read.item)
    override = None if audit == "off" else _overrides().get(read.sha256)
    return _Judged(
        item=read.item,
        sha256=read.sha256,
        findings=found,
        override=override,
        action=_action(found, override, audit),
    )


def _action(
    found: Sequence[Finding], override: SyntheticOverride | None, audit: Audit
) -> Literal["sound", "corrected", "quarantined", "dropped", "kept"]:
    if override is not None and override.action == "corrected":
        return "corrected"
    if override is None and not found:
        return "sound"
    if audit == "report":
        return "kept"
    return "dropped" if override is None else "quarantined"


def _asked(judged: _Judged) -> _Asked:
    value = judged.item.ground_truth_value
    leaves = value if isinstance(value, Mapping) else {"answer": value}
    settled = judged.override.quantities if judged.override is not None else {}
    quantities: list[Quantity] = []
    keys: dict[str, Value] = {}
    left_out: list[str] = []
    for name, leaf in leaves.items():
        change = settled.get(name, AskedQuantity())
        quantity, key = _quantity(name, leaf, change, judged.item, alone=not isinstance(value, Mapping))
        if quantity is None:
            left_out.append(name)
            continue
        quantities.append(quantity)
        keys[name] = key
    return _Asked(quantities=tuple(quantities), keys=keys, left_out=tuple(left_out))


def _quantity(
    name: str, leaf: Leaf, change: AskedQuantity, item: FileItem, *, alone: bool
) -> tuple[Quantity | None, Value]:
    meaning = change.meaning or ("what the question asks for" if alone else name.replace("_", " "))
    key = leaf if change.value is None else change.value
    if isinstance(key, bool):
        return Quantity(key=name, meaning=meaning, measure=Measure.BOOL), key
    if isinstance(key, str):
        labels = change.labels or _labels(item.question, key)
        quantity = Quantity(key=name, meaning=meaning, measure=Measure.LABEL, labels=labels)
        return (quantity if labels else None), key
    shown = _shown(item, float(leaf)) if is_number(leaf) else None
    unit = change.unit or (shown.unit or _CURRENCIES.get(shown.currency, "") if shown else "")
    number = float(key)
    if shown is not None and shown.unit == "%" and not _is_near(shown.value, number):
        number = float(f"{100 * number:.12g}")  # so that -0.1667 becomes -16.67 and not its neighbour
    return _number(name, meaning, unit, number), number


def _number(name: str, meaning: str, unit: str, key: float) -> Quantity:
    measure = Measure.RELATIVE if key else Measure.ABSOLUTE
    decimals = 2
    while key and 0.5 * 10.0**-decimals > TOLERANCE * abs(key) and decimals < 12:
        decimals += 1
    return Quantity(key=name, meaning=meaning, unit=unit, measure=measure, tolerance=TOLERANCE, decimals=decimals)


def _shown(item: FileItem, key: float) -> Printed | None:
    """How the formatted key prints this number."""
    return next((number for number in printed_numbers(item.ground_truth_formatted) if number.agrees(key)), None)


def _is_near(shown: float, key: float) -> bool:
    """True when the key itself is in percent, so that 20 stands for 20 %."""
    return abs(shown - abs(key)) <= 0.02 * shown


def _labels(question: str, label: str) -> tuple[str, ...]:
    """The options `(A)`, `(B)` ... of a question when the key is one of them."""
    options = tuple(dict.fromkeys(_OPTION.findall(question)))
    return options if label in options else ()


def _task(judged: _Judged, asked: _Asked) -> SyntheticTask:
    item = judged.item
    form = [(q.key, q.unit, q.measure, q.tolerance, q.decimals, q.labels) for q in asked.quantities]
    is_prose = not asked.quantities
    prompt = item.question if is_prose else f"{item.question}\n\n{answer_form(asked.quantities)}"
    total = sum(component.weight for component in item.rubric.components)
    components = item.rubric.components if is_prose else ()
    if is_prose and not components:
        raise DatasetError(
            f"synthetic: {item.question_id}: its key is prose and its rubric has no component to judge by"
        )
    return SyntheticTask(
        id=item.question_id,
        stratum=item.category,
        prompt=prompt,
        digest=digest("file", judged.sha256, prompt, form, dict(asked.keys)),
        messages=1 if is_prose else 2,
        expected=", ".join(f"{name} = {_in_words(key)}" for name, key in asked.keys.items())
        or item.ground_truth_formatted,
        template=item.category,
        quantities=asked.quantities,
        keys=asked.keys,
        source="file",
        prose_reference=_reference(item) if is_prose else "",
        rubric=tuple(_criterion(one.description, one.expected) for one in components),
        weights=tuple(one.weight / total for one in components),
        flags=judged.rules,
    )


def _in_words(key: Value) -> str:
    return f"{key:.15g}" if isinstance(key, float) else str(key)


def _reference(item: FileItem) -> str:
    value = item.ground_truth_value
    texts = value.values() if isinstance(value, Mapping) else [value]
    return "\n".join(dict.fromkeys([*map(str, texts), item.ground_truth_formatted]))


def _criterion(description: str, expected: str) -> str:
    return f"{description} (expected: {expected})" if expected else description


def _report(
    file: QuestionFile[FileItem], judged: Sequence[_Judged], audit: Audit, left_out: Mapping[str, JsonValue]
) -> dict[str, JsonValue]:
    flagged: list[JsonValue] = [
        {
            "id": one.item.question_id,
            "rules": list(one.rules),
            "action": one.action,
            "reason": "" if one.override is None else one.override.reason,
            "findings": [finding.text for finding in one.findings],
        }
        for one in judged
        if one.action != "sound"
    ]
    report: dict[str, JsonValue] = {
        "file": file.name,
        "sha256": file.sha256,
        "audit": audit,
        "declared_count": file.declared,
        "found": len(judged),
        "usable": sum(one.action not in {"quarantined", "dropped"} for one in judged),
        "flagged": flagged,
        "not_asked": dict(left_out),
    }
    if file.declared is not None and file.declared != len(judged):
        report["count_differs"] = f"the file declares {file.declared!r} questions and holds {len(judged)}"
    return report
