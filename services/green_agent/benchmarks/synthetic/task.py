"""A synthetic question with its key, whether our generator made it or a question file brought it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from services.green_agent.benchmarks.base import Task
from services.green_agent.scoring.answers import Quantity, Value

Source = Literal["generated", "file"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SyntheticTask(Task):
    """What is asked, what is right, and where the question came from."""

    template: str
    """Name of the generator's template; the category of an item of a file."""
    quantities: tuple[Quantity, ...]
    """The required quantities; empty for a question whose key is prose."""
    keys: Mapping[str, Value]
    """The truth, by key of `quantities`."""
    source: Source
    prose_reference: str = ""
    """The key of a question that asks for prose, for the judge; empty otherwise."""
    rubric: tuple[str, ...] = ()
    """What the judge looks for in an answer in prose, one criterion each."""
    weights: tuple[float, ...] = ()
    """Share of each criterion of `rubric`; they sum to 1."""
    flags: tuple[str, ...] = ()
    """Audit rules that the item of a file breaks, such as `A5`, for its row; empty for a sound item."""

    @property
    def is_prose(self) -> bool:
        """True when only a judge can score the answer."""
        return bool(self.prose_reference)
