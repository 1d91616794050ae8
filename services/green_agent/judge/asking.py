"""What a scorer asks a judge and what it gets back. Prompts, fences, repair and panels are the judge's own business."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

SHORT_REASON: Final = 200
"""Characters of a reason that follows its verdict."""
Role = Literal["question", "reference", "answer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Material:
    """One untrusted text the judge reads between fences."""

    name: str
    """Shown to the judge, for example `question`, `reference 2`, `answer`."""
    text: str
    role: Role
    """What may be cut when the context is short: references first, then the middle of the answer, the question never."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is judged."""

    instructions: str
    """Trusted: how to judge this kind of answer, in the benchmark's words."""
    materials: tuple[Material, ...]
    round: int = 0
    """0-based. A further round asks the same once more: it has verdicts of its own in the cache and a seed of its own."""
    calibration: str = ""
    """Data set of people's verdicts on such cases, of which a report tells how far the judge agrees. Empty: a user's labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """One property rated with an integer."""

    name: str
    lowest: int
    highest: int
    anchors: str
    """What low, middle and high values mean."""
    permitted: tuple[int, ...] = ()
    """The only values there are, ascending and within the bounds; empty: every whole number from lowest to highest."""
    reason_chars: int = SHORT_REASON
    """Characters of the reason. One that is longer than SHORT_REASON comes before the value, which follows from it."""

    def __post_init__(self) -> None:
        """Refuse values that could never be given."""
        ordered = sorted({value for value in self.permitted if self.lowest <= value <= self.highest})
        if list(self.permitted) != ordered:
            told = f"expected ascending values from {self.lowest} to {self.highest}"
            raise ValueError(f"{self.name}: {told}, got {self.permitted}")

    @property
    def words(self) -> str:
        """The values there are: `0 to 7`, or `0, 1, 6 or 7`."""
        if not self.permitted:
            return f"{self.lowest} to {self.highest}"
        *most, last = map(str, self.permitted)
        return f"{', '.join(most)} or {last}" if most else last

    def holds(self, value: int) -> bool:
        """Whether this value can be given."""
        return value in self.permitted if self.permitted else self.lowest <= value <= self.highest


@dataclass(frozen=True, kw_only=True, slots=True)
class CriteriaVerdict:
    """One verdict a criterion, in the order asked."""

    met: tuple[bool, ...]
    reasons: tuple[str, ...]
    injection_suspected: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ScalesVerdict:
    """One integer a scale."""

    scores: dict[str, float]
    """The median of the panel, so a half is possible."""
    reasons: dict[str, str] = field(default_factory=dict)
    injection_suspected: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class BinaryVerdict:
    """Right or wrong."""

    correct: bool
    reason: str = ""
    injection_suspected: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """Which of two answers is better, in the order they were shown."""

    verdict: Literal["first", "second", "tie"]
    reason: str = ""
    injection_suspected: bool = False


class Judge(Protocol):
    """What a scorer may ask, for one trial. Without a valid verdict every method raises Failure(judge_error, kind, ...)."""

    @property
    def name(self) -> str:
        """Model and prompt version, for `scored_by`."""
        ...

    @property
    def fallback(self) -> Literal["none", "rule"]:
        """`rule`: after a failure the scorer may decide by its rule, where it has one, marked `rule_fallback`."""
        ...

    async def criteria(self, case: Case, criteria: Sequence[str]) -> CriteriaVerdict:
        """Judge every criterion, in batches. All or nothing: no partial verdict is ever returned."""
        ...

    async def scales(self, case: Case, scales: Sequence[Scale]) -> ScalesVerdict:
        """Rate the answer on every scale in one call."""
        ...

    async def correct(self, case: Case) -> BinaryVerdict:
        """Decide whether the answer agrees with the reference."""
        ...

    async def compare(self, case: Case, first: str, second: str, *, swapped: bool) -> Preference:
        """Compare two answers in one call; call again with them exchanged and `swapped`, for the record."""
        ...
