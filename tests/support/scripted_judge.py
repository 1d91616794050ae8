"""A judge that says what a script says, for tests of scorers; the real judge has tests of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from services.contract.outcomes import Failure
from services.green_agent.judge.asking import (
    BinaryVerdict,
    Case,
    CriteriaVerdict,
    Preference,
    Scale,
    ScalesVerdict,
)


def _refuse_comparison(first: str, second: str) -> Preference:
    raise AssertionError(f"no comparison was expected of {first!r} and {second!r}")


@dataclass(kw_only=True, slots=True)
class ScriptedJudge:
    """Satisfies `judge.asking.Judge`; `cases` keeps what it was shown."""

    meets: Callable[[str], bool] = lambda criterion: False
    """Verdict on a criterion."""
    agrees: Callable[[Case], bool] = lambda case: False
    """Verdict on an answer."""
    rates: Callable[[Scale], float] = lambda scale: float(scale.lowest)
    prefers: Callable[[str, str], Preference] = _refuse_comparison
    failure: Failure | None = None
    """Raised instead of any verdict."""
    fallback: Literal["none", "rule"] = "none"
    name: str = "scripted-judge"
    cases: list[Case] = field(default_factory=list)
    criteria_asked: list[str] = field(default_factory=list)

    async def criteria(self, case: Case, criteria: Sequence[str]) -> CriteriaVerdict:
        """A verdict on each."""
        self._see(case)
        self.criteria_asked += criteria
        return CriteriaVerdict(
            met=tuple(map(self.meets, criteria)), reasons=tuple(f"reason {number}" for number, _ in enumerate(criteria))
        )

    async def scales(self, case: Case, scales: Sequence[Scale]) -> ScalesVerdict:
        """A value on each."""
        self._see(case)
        return ScalesVerdict(scores={scale.name: self.rates(scale) for scale in scales})

    async def correct(self, case: Case) -> BinaryVerdict:
        """Right or wrong."""
        self._see(case)
        return BinaryVerdict(correct=self.agrees(case), reason="because the script says so")

    async def compare(self, case: Case, first: str, second: str, *, swapped: bool) -> Preference:
        """Which is better."""
        self._see(case)
        return self.prefers(first, second)

    def _see(self, case: Case) -> None:
        self.cases.append(case)
        if self.failure is not None:
            raise self.failure
