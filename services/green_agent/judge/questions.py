"""One question to one judge: what is asked about which texts, before it is put into words. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Literal

from services.contract.judgements import Form
from services.green_agent.judge.asking import SHORT_REASON, Case, Material, Scale

__all__ = [
    "Criterion",
    "Form",
    "Kind",
    "Question",
    "Wording",
    "about",
    "comparison",
    "of_criteria",
    "of_scales",
    "right_or_wrong",
    "worded",
]

Kind = Literal["criteria", "scales", "correct", "compare"]
Wording = Literal["plain", "paraphrased", "swapped"]
"""How it is said; the last two exist to measure how much a verdict depends on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """One criterion with the id it goes by in the prompt."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What one call asks."""

    kind: Kind
    purpose: str
    """For the record."""
    case: Case
    criteria: tuple[Criterion, ...] = ()
    scales: tuple[Scale, ...] = ()
    wording: Wording = "plain"

    @property
    def size(self) -> int:
        """Verdicts it asks for."""
        return max(1, len(self.criteria), len(self.scales))

    @property
    def reasons_first(self) -> bool:
        """Whether the judge writes its reasons down before it decides."""
        return any(scale.reason_chars > SHORT_REASON for scale in self.scales)

    @property
    def extra_chars(self) -> int:
        """Characters that its reasons may take beyond short ones."""
        return sum(max(0, scale.reason_chars - SHORT_REASON) for scale in self.scales)

    @property
    def ids(self) -> tuple[str, ...]:
        """Names of the verdicts."""
        match self.kind:
            case "criteria":
                return tuple(criterion.id for criterion in self.criteria)
            case "scales":
                return tuple(scale.name for scale in self.scales)
            case "correct":
                return ("correct",)
            case "compare":
                return ("verdict",)

    @property
    def answers(self) -> tuple[str, ...]:
        """The texts that are judged."""
        return tuple(material.text for material in self.case.materials if material.role == "answer")

    def in_parts(self, size: int) -> tuple[Question, ...]:
        """The same question in parts of at most so many verdicts."""
        if size >= self.size:
            return (self,)
        return tuple(self._part(start, size) for start in range(0, self.size, size))

    def _part(self, start: int, size: int) -> Question:
        criteria, scales = self.criteria[start : start + size], self.scales[start : start + size]
        purpose = self.purpose.replace(_range(self.criteria), _range(criteria)) if criteria else self.purpose
        return replace(self, criteria=criteria, scales=scales, purpose=purpose)


def of_criteria(case: Case, texts: tuple[str, ...], *, first: int) -> Question:
    """Criteria numbered from `first` on, 1-based."""
    criteria = tuple(Criterion(id=f"c{first + index:02d}", text=text) for index, text in enumerate(texts))
    return Question(kind="criteria", purpose=_range(criteria), case=case, criteria=criteria)


def of_scales(case: Case, scales: tuple[Scale, ...]) -> Question:
    """All scales at once."""
    return Question(kind="scales", purpose="scales", case=case, scales=scales)


def right_or_wrong(case: Case) -> Question:
    """Does the answer agree with the reference?"""
    return Question(kind="correct", purpose="correct", case=case)


def comparison(case: Case, first: str, second: str, *, swapped: bool) -> Question:
    """Which of two answers is better?"""
    pair = (
        Material(name="answer 1", text=first, role="answer"),
        Material(name="answer 2", text=second, role="answer"),
    )
    others = tuple(material for material in case.materials if material.role != "answer")
    both = replace(case, materials=(*others, *pair))
    return Question(kind="compare", purpose="compare swapped" if swapped else "compare", case=both)


def worded(question: Question, wording: Wording) -> Question:
    """The question in its round and in this wording; the record says so where either is not the usual one."""
    again = [f"round {question.case.round + 1}"] if question.case.round else []
    other = [wording] if wording != "plain" else []
    return replace(question, wording=wording, purpose=" ".join([question.purpose, *again, *other]))


def about(question: Question) -> str:
    """Digest of what is judged, the same for every batch, member and try."""
    case = question.case
    material = [question.kind, case.instructions, [[one.name, one.role, one.text] for one in case.materials]]
    text = json.dumps(material, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _range(criteria: tuple[Criterion, ...]) -> str:
    first, last = criteria[0].id.removeprefix("c").lstrip("0"), criteria[-1].id.removeprefix("c").lstrip("0")
    return f"criteria {first}-{last}" if first != last else f"criteria {first}"
