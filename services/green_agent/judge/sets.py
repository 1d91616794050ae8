"""Data sets of people's verdicts that a judge can be measured with, one line each.

Named by text, because the judge knows no benchmark: a set is read when the command asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from services.green_agent.judge.labels import GradedSet

SETS: Final = {
    "imobench_grading": "services.green_agent.benchmarks.imobench.grading:by_points",
    "imobench_grading_levels": "services.green_agent.benchmarks.imobench.grading:by_levels",
}


def graded_set(name: str, *, limit: int | None, disjoint: bool) -> GradedSet:
    """The set of this name, of SETS. Raises LabelsError when its data are not here or not what they should be.

    `limit`: so many answers, drawn by seed. `disjoint`: without answers to problems that are tasks of the benchmark.
    """
    module, _, attribute = SETS[name].partition(":")
    read: Callable[..., GradedSet] = getattr(import_module(module), attribute)
    return read(limit=limit, disjoint=disjoint)
