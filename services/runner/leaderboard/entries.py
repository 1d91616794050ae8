"""What a leaderboard knows of one evaluation: of ours with its bounds, of an older one what its file claims."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.contract.results import Section
from services.runner.old_results import OldResult


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """A score 0..100 and what unscored trials leave open."""

    score: float | None
    lower: float
    upper: float
    counted: int
    planned: int
    interval_low: float | None = None
    interval_high: float | None = None
    """95 % interval; None where the spread is unknown."""
    left_out: bool = False
    """True when a data set of the plan could not be loaded."""

    @property
    def complete(self) -> bool:
        """Every planned trial counts."""
        return self.counted == self.planned and not self.left_out

    @property
    def coverage(self) -> float:
        """Counted / planned; 1 for an empty plan, which owes nothing."""
        return self.counted / self.planned if self.planned else 1.0

    @property
    def placed_by(self) -> float:
        """The score of what is complete, else the lower bound: to claim faults gains nothing."""
        return self.score if self.complete and self.score is not None else self.lower


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Comparable:
    """What two entries of one table share: the same tasks, judged the same way, weighed the same way."""

    plan_digest: str
    section_mean: str
    weights: tuple[tuple[str, float], ...]
    """Share of each section in the overall score."""
    datasets: tuple[tuple[str, str, int, bool], ...]
    """Name, section, tasks, and whether it was left out: no digest covers them, and they bound what an entry lacks."""
    trials: int
    """Of each task."""
    selected_on_scoring_tests: bool
    """True when the agent could choose among its answers by the very tests that scored them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One evaluation of ours, its shards added up."""

    model: str
    agent: str
    """Name on its card."""
    id: str
    """Who the file says it is: the AgentBeats id, or the configured name."""
    file: str
    identity: str
    """Run id, or a digest of the numbers."""
    comparable: Comparable
    suite: str
    tasks: int
    trials: int
    """Of each task."""
    seed: int
    overall: Standing
    sections: Mapping[Section, Standing]
    passed: int
    outcomes: Mapping[str, int]
    judges: tuple[str, ...]
    marks: tuple[str, ...]
    """What qualifies the number, gravest first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldEntry:
    """One evaluation of an older format."""

    file: str
    identity: str
    result: OldResult

    @property
    def placed_by(self) -> float | None:
        """With every error at 0, by one formula for all files; None where the file has no rows to tell from."""
        return self.result.recomputed

    @property
    def marks(self) -> tuple[str, ...]:
        """What qualifies the stored score."""
        old = self.result
        if not old.rows:
            return ("coverage unknown: no rows",)
        dropped = old.errors - old.graded_errors
        told = [
            f"{dropped} {_errors(dropped)} left out of the score" if dropped else "",
            f"{old.graded_errors} {_errors(old.graded_errors)} graded as answers" if old.graded_errors else "",
        ]
        return tuple(text for text in told if text)


def _errors(count: int) -> str:
    return "error" if count == 1 else "errors"
