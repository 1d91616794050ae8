"""An option question with its key, whether our generator made it or a question file brought it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.green_agent.benchmarks.base import Task
from services.green_agent.benchmarks.options.template import Asked, Dimension
from services.green_agent.scoring.answers import Quantity, Value


@dataclass(frozen=True, kw_only=True, slots=True)
class Criterion:
    """One part of the answer that only a judge can decide."""

    text: str
    weight: float
    """Share among the criteria of its task; they sum to 1."""
    dimension: Dimension


@dataclass(frozen=True, kw_only=True, slots=True)
class OptionsTask(Task):
    """What is asked and what is right."""

    template: str
    """Name of the generator's template; `file` for an item of a file."""
    asked: tuple[Asked, ...]
    """The required quantities; empty for an item without any."""
    keys: Mapping[str, Value]
    """The truth, by key of `asked`."""
    criteria: tuple[Criterion, ...] = ()
    """The qualitative part; empty for generated questions and where it is switched off."""
    question: str = ""
    """What the judge reads as the question; empty without criteria."""
    qualitative_weight: float = 0.0
    """w: the score is (1 - w) x quantitative + w x qualitative."""
    truth: str = ""
    """The facts an answer is judged by; empty without criteria."""
    flags: tuple[str, ...] = ()
    """Quantities whose published key the recomputation contradicts."""

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        """The required quantities."""
        return tuple(asked.quantity for asked in self.asked)
