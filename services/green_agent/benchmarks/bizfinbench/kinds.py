"""The task types of BizFinBench.v2: where their rows lie and how their answers are compared (finance specification 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from services.green_agent.scoring.extract import (
    LONGEST_LABEL,
    Centre,
    Key,
    Kind,
    TextKey,
    id_set_key,
    label_key,
    map_key,
    number_key,
    plain,
    sequence_key,
)

Language = Literal["en", "cn"]

MOST_LABELS: Final = 20
"""Different short references up to which a file is taken to use a closed set of labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskType:
    """One task type."""

    name: str
    kinds: tuple[Kind, ...]
    """What a reference may be, tried in order. A reference that is none of them is a text."""
    tolerance: float | None = None
    """A share, for numbers."""
    centre: Centre = Centre.REFERENCE
    languages: tuple[Language, ...] = ("en", "cn")
    file: str = "{language}/{name}_{language}.jsonl"
    """Where the rows lie inside the data set."""

    def member(self, language: Language) -> str:
        """The file of this type in a language."""
        return self.file.format(name=self.name, language=language)


_ALL: Final = (
    TaskType(name="anomaly_information_tracing", kinds=(Kind.ID_SET, Kind.SEQUENCE, Kind.LABEL)),
    TaskType(name="conterfactual", kinds=(Kind.NUMBER,), tolerance=0.01),
    TaskType(name="event_logic_reasoning", kinds=(Kind.SEQUENCE,)),
    TaskType(name="financial_data_description", kinds=(Kind.ID_SET,)),
    TaskType(
        name="financial_multi_turn_perception",
        kinds=(Kind.MAP, Kind.ID_SET),
        file="{language}/financial_multi-turn_perception_{language}.jsonl",
    ),
    TaskType(name="financial_quantitative_computation", kinds=(Kind.NUMBER,), tolerance=0.01),
    TaskType(
        name="financial_report_analysis",
        kinds=(),
        languages=("cn",),
        file="{language}/financial_report_analysis.jsonl",
    ),
    TaskType(name="stock_price_predict", kinds=(Kind.NUMBER,), tolerance=0.01, centre=Centre.PREDICTION),
    TaskType(name="user_sentiment_analysis", kinds=(Kind.NUMBER, Kind.LABEL), tolerance=0.10, centre=Centre.PREDICTION),
)
TASK_TYPES: Final[Mapping[str, TaskType]] = MappingProxyType({task_type.name: task_type for task_type in _ALL})
ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {"counterfactual": "conterfactual", "financial_multi-turn_perception": "financial_multi_turn_perception"}
)
"""`conterfactual` is how the data set spells it."""


def key_for(task_type: TaskType, reference: str, *, tolerance: float | None, labels: Iterable[str]) -> Key:
    """What answers to this reference are compared with; a text where it is of none of the type's kinds."""
    for kind in task_type.kinds:
        if (key := _key(kind, reference, task_type, tolerance, labels)) is not None:
            return key
    return TextKey(text=reference)


def closed_labels(task_type: TaskType, references: Iterable[str]) -> tuple[str, ...]:
    """The labels a file uses: its short references that are nothing else; none when they are too many for a closed set."""
    if Kind.LABEL not in task_type.kinds:
        return ()
    others = [reference for reference in references if _is_short(reference)]
    labels = {
        plain(reference)
        for reference in others
        if isinstance(key_for(task_type, reference, tolerance=None, labels=()), TextKey)
    } - {""}
    return tuple(sorted(labels)) if len(labels) <= MOST_LABELS else ()


def _is_short(reference: str) -> bool:
    return len(reference) <= LONGEST_LABEL and "\n" not in reference.strip()


def _key(kind: Kind, reference: str, task_type: TaskType, tolerance: float | None, labels: Iterable[str]) -> Key | None:
    match kind:
        case Kind.NUMBER:
            allowed = tolerance if tolerance is not None else task_type.tolerance or 0.0
            return number_key(reference, tolerance=allowed, centre=task_type.centre)
        case Kind.SEQUENCE:
            return sequence_key(reference)
        case Kind.ID_SET:
            return id_set_key(reference)
        case Kind.MAP:
            return map_key(reference)
        case Kind.LABEL:
            return label_key(reference, labels)
        case Kind.TEXT:
            return TextKey(text=reference)
