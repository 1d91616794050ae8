"""Items of an option question file of AgentBusters as tasks: recomputed, corrected, with the form of the answer appended.

The numbers of a key are the required quantities, under their names in the file; the rest of key and rubric is the qualitative
part. What people settled about single items stands in `overrides.yaml`. Source: finance specification 6.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, JsonValue

from services.green_agent.benchmarks.base import DatasetError, digest
from services.green_agent.benchmarks.options.category import CategoryName
from services.green_agent.benchmarks.options.qualitative import INSTRUCTIONS
from services.green_agent.benchmarks.options.recompute import Disagreement, decimals_of, disagreements, recomputed
from services.green_agent.benchmarks.options.task import Criterion, OptionsTask
from services.green_agent.benchmarks.options.template import Asked, Category, Dimension
from services.green_agent.data.errors import DataError
from services.green_agent.data.overrides import Override, read_overrides
from services.green_agent.data.questions import LongText, QuestionFile, Read, ShortText, read_questions
from services.green_agent.scoring.answers import Measure, Quantity, answer_form

Audit = Literal["quarantine", "report", "off"]
Kind = Literal["amount", "greek", "breakeven", "var", "count"]

TOLERANCES: Final[Mapping[Kind, float]] = {
    "amount": 0.005,
    "greek": 0.01,
    "breakeven": 0.001,
    "var": 0.01,
    "count": 0.0,
}
"""Share of the key. Finance specification 6.3."""
TEMPLATE: Final = "file"
"""What stands as `template` in the tasks of a file."""
UNSETTLED_TOLERANCE: Final = 0.01
"""For items nobody has looked at: their keys may be rounded."""
UNSETTLED_WEIGHT: Final = 0.3
"""Weight of the qualitative part of such items."""

_DIMENSIONS: Final[Mapping[Category, Dimension]] = {
    Category.OPTIONS_PRICING: Dimension.PNL,
    Category.GREEKS_ANALYSIS: Dimension.GREEKS,
    Category.STRATEGY_CONSTRUCTION: Dimension.STRATEGY,
    Category.VOLATILITY_TRADING: Dimension.GREEKS,
    Category.PNL_ATTRIBUTION: Dimension.PNL,
    Category.RISK_MANAGEMENT: Dimension.RISK,
    Category.COPY_TRADING: Dimension.PNL,
    Category.RACE_TO_10M: Dimension.PNL,
    Category.STRATEGY_DEFENSE: Dimension.RISK,
}


class Component(BaseModel):
    """One part of an item's rubric."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: ShortText
    description: ShortText
    weight: FiniteFloat = Field(gt=0, strict=True)


class Rubric(BaseModel):
    """What an answer earns points for."""

    model_config = ConfigDict(frozen=True, extra="allow")

    components: tuple[Component, ...] = Field(max_length=50)


class FileItem(BaseModel):
    """A question with its key. Its loose parameters are kept for the recomputation."""

    model_config = ConfigDict(frozen=True, extra="allow")

    question_id: ShortText
    category: CategoryName
    difficulty: ShortText
    question: LongText
    ground_truth: Annotated[dict[ShortText, JsonValue], Field(min_length=1, max_length=50)]
    rubric: Rubric

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers of the key by name, those of nested objects as `outer_inner`. Lists are descriptions, not numbers."""
        return dict(_numbers(self.ground_truth, ""))


class SettledQuantity(BaseModel):
    """What an override says of one quantity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    dimension: Dimension
    unit: str
    meaning: str
    value: FiniteFloat | None = None
    """In place of the published number, or of a text that holds it."""
    decimals: int | None = None


class OptionsOverride(Override):
    """How an item was settled."""

    corrected: bool = False
    """True when a published number is wrong."""
    note: str = ""
    """Conventions the question leaves open; appended to it."""
    given: tuple[str, ...] = ()
    quantities: Mapping[str, SettledQuantity] = {}
    measured: tuple[str, ...] = ()
    judged: Mapping[str, Dimension] = {}


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedFile:
    """The usable items of a file and what was found while loading."""

    tasks: tuple[OptionsTask, ...]
    report: Mapping[str, JsonValue]
    """`file`, `sha256`, `audit`, `qualitative`, `found`, `usable`, `recomputed`, `flagged` [{id, action, reason, findings}],
    `purely_qualitative` (ids that left the plan), `given` (numbers not asked for)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Judged:
    """An item with what the recomputation and people say of it."""

    item: FileItem
    sha256: str
    checked: bool
    """True when at least one key could be recomputed."""
    findings: tuple[Disagreement, ...]
    override: OptionsOverride | None
    action: Literal["sound", "corrected", "dropped", "kept"]


def load(path: Path, *, audit: Audit = "quarantine", qualitative: bool) -> LoadedFile:
    """The items of a file in its order; without `qualitative` those that hold no quantity are left out and listed.

    `quarantine` drops items whose key their parameters contradict, unless they are corrected; `report` keeps them with the
    flag. `off` recomputes nothing and takes every number as it is published. Raises DatasetError naming the file and its faults.
    """
    try:
        file = read_questions(path, FileItem)
    except DataError as error:
        raise DatasetError(f"options: {error}") from error
    judged = [_judge(read, audit) for read in file.items]
    kept = [one for one in judged if one.action != "dropped"]
    tasks = [_task(one, audit=audit, qualitative=qualitative) for one in kept]
    usable = tuple(task for task in tasks if task.asked or task.criteria)
    if not usable:
        raise DatasetError(
            f"options: {file.name}: none of {len(judged)} items can be asked; see `audit` and `qualitative`"
        )
    left_out = [task.id for task in tasks if not (task.asked or task.criteria)]
    return LoadedFile(tasks=usable, report=_report(file, judged, left_out, audit=audit, qualitative=qualitative))


@cache
def _overrides() -> Mapping[str, OptionsOverride]:
    return read_overrides(__package__, OptionsOverride)


def _numbers(tree: Mapping[str, JsonValue], prefix: str) -> Iterator[tuple[str, float]]:
    for name, leaf in tree.items():
        if isinstance(leaf, dict):
            yield from _numbers(leaf, f"{prefix}{name}_")
        elif isinstance(leaf, float | int) and not isinstance(leaf, bool):
            yield f"{prefix}{name}", float(leaf)


def _judge(read: Read[FileItem], audit: Audit) -> _Judged:
    item = read.item
    values = {} if audit == "off" else recomputed(item.model_dump(mode="json"))
    found = tuple(disagreements(item.numbers, values))
    override = _overrides().get(read.sha256)
    corrected = audit != "off" and override is not None and override.corrected
    return _Judged(
        item=item,
        sha256=read.sha256,
        checked=bool(values.keys() & item.numbers.keys()),
        findings=found,
        override=override,
        action="corrected" if corrected else "sound" if not found else "kept" if audit == "report" else "dropped",
    )


def _task(judged: _Judged, *, audit: Audit, qualitative: bool) -> OptionsTask:
    item, settled = judged.item, judged.override or OptionsOverride(id=judged.item.question_id, sha256=judged.sha256)
    asked, keys = _asked(item, settled, as_published=audit == "off")
    is_unsettled = judged.override is None
    criteria = _criteria(item, settled, is_unsettled=is_unsettled) if qualitative else ()
    weight = _weight(item, settled, asked, is_unsettled=is_unsettled) if criteria else 0.0
    question = f"{item.question} {settled.note}".strip()
    prompt = f"{question}\n\n{answer_form([one.quantity for one in asked])}" if asked else question
    form = [(one.quantity.key, one.quantity.measure, one.quantity.tolerance, one.quantity.decimals) for one in asked]
    truth = _truth(item, keys) if criteria else ""
    judging = [INSTRUCTIONS, truth, weight, [(one.text, one.weight) for one in criteria]] if criteria else []
    return OptionsTask(
        id=item.question_id,
        stratum=item.category.value,
        prompt=prompt,
        digest=digest("file", judged.sha256, prompt, form, keys, judging),
        messages=2 if asked else 1,
        expected=", ".join(f"{name} = {key:.10g}" for name, key in keys.items()) or _truth(item, keys),
        template=TEMPLATE,
        asked=asked,
        keys=keys,
        criteria=criteria,
        question=question if criteria else "",
        qualitative_weight=weight,
        truth=truth,
        flags=tuple(finding.key for finding in judged.findings),
    )


def _asked(
    item: FileItem, settled: OptionsOverride, *, as_published: bool
) -> tuple[tuple[Asked, ...], dict[str, float]]:
    published = item.numbers
    names = dict.fromkeys([*published, *settled.quantities])
    asked: list[Asked] = []
    keys: dict[str, float] = {}
    for name in names:
        change = settled.quantities.get(name)
        own = change.value if change is not None else None
        if as_published and (name in published or settled.corrected):
            own = None  # a number read out of a text is no correction and stays
        key = published.get(name) if own is None else own
        if name in settled.given or key is None:
            continue
        keys[name] = key
        asked.append(_quantity(item, name, key, change))
    return tuple(asked), keys


def _quantity(item: FileItem, name: str, key: float, settled: SettledQuantity | None) -> Asked:
    if settled is None:
        quantity = Quantity(
            key=name,
            meaning=name.replace("_", " "),
            unit="%" if name.endswith("_pct") else "",
            measure=Measure.RELATIVE if key else Measure.ABSOLUTE,
            tolerance=UNSETTLED_TOLERANCE,
            decimals=max(2, decimals_of(key)),
        )
        return Asked(quantity=quantity, dimension=_DIMENSIONS[item.category])
    is_count = settled.kind == "count"
    quantity = Quantity(
        key=name,
        meaning=settled.meaning,
        unit=settled.unit,
        measure=Measure.COUNT if is_count else Measure.RELATIVE,
        tolerance=TOLERANCES[settled.kind],
        decimals=0 if is_count else max(2, decimals_of(key)) if settled.decimals is None else settled.decimals,
    )
    return Asked(quantity=quantity, dimension=settled.dimension)


def _criteria(item: FileItem, settled: OptionsOverride, *, is_unsettled: bool) -> tuple[Criterion, ...]:
    components = [one for one in item.rubric.components if is_unsettled or one.name in settled.judged]
    total = sum(one.weight for one in components)
    return tuple(
        Criterion(
            text=one.description,
            weight=one.weight / total,
            dimension=settled.judged.get(one.name, Dimension.STRATEGY),
        )
        for one in components
    )


def _weight(item: FileItem, settled: OptionsOverride, asked: Sequence[Asked], *, is_unsettled: bool) -> float:
    """w: the share of the rubric that only a judge can decide."""
    if not asked:
        return 1.0
    if is_unsettled:
        return UNSETTLED_WEIGHT
    weights = {one.name: one.weight for one in item.rubric.components}
    judged = sum(weight for name, weight in weights.items() if name in settled.judged)
    return judged / sum(weights.values())


def _truth(item: FileItem, keys: Mapping[str, float]) -> str:
    """The key as lines of text, corrected where it was."""
    leaves: dict[str, JsonValue] = {**item.ground_truth, **keys}
    return "\n".join(
        f"{name.replace('_', ' ')}: {leaf if isinstance(leaf, str) else json.dumps(leaf, ensure_ascii=False)}"
        for name, leaf in leaves.items()
    )


def _report(
    file: QuestionFile[FileItem],
    judged: Sequence[_Judged],
    left_out: Sequence[str],
    *,
    audit: Audit,
    qualitative: bool,
) -> dict[str, JsonValue]:
    flagged: list[JsonValue] = [
        {
            "id": one.item.question_id,
            "action": one.action,
            "reason": "" if one.override is None else one.override.reason,
            "findings": [f"{f.key} is {f.published:.10g}, recomputed {f.recomputed:.10g}" for f in one.findings],
        }
        for one in judged
        if one.action != "sound"
    ]
    given: dict[str, JsonValue] = {
        one.item.question_id: list(one.override.given)
        for one in judged
        if one.override is not None and one.override.given
    }
    report: dict[str, JsonValue] = {
        "file": file.name,
        "sha256": file.sha256,
        "audit": audit,
        "qualitative": qualitative,
        "declared_count": file.declared,
        "found": len(judged),
        "usable": len(judged) - len(left_out) - sum(one.action == "dropped" for one in judged),
        "recomputed": [one.item.question_id for one in judged if one.checked],
        "flagged": flagged,
        "purely_qualitative": list(left_out),
        "given": given,
    }
    if file.declared is not None and file.declared != len(judged):
        report["count_differs"] = f"the file declares {file.declared!r} questions and holds {len(judged)}"
    return report
