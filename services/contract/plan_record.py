"""The plan as result files keep it: enough to say what a result lacks, to add shards up, and to check the digest again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, JsonValue

from services.contract.assessment import Plan, PlannedBenchmark, PlannedTrial, SectionMean, Shortfall, Strategy
from services.contract.results import Section

PLAN: Final = "plan"
"""Its key in `evaluation_metadata`."""


class SectionWeight(BaseModel):
    """A section's weight. A list of these, since readers of many files need the same fields in each."""

    model_config = ConfigDict(frozen=True)

    section: Section
    weight: float


class PlanRecord(BaseModel):
    """A plan without notes on its loading; `trials` are those of the result's shard, each with its place in the whole plan."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    digest: str
    seed: int
    strategy: Strategy
    suite: str
    num_trials: int
    num_tasks: int
    shard_index: int
    num_shards: int
    section_mean: SectionMean
    k: tuple[int, ...]
    section_weights: tuple[SectionWeight, ...]
    benchmarks: tuple[PlannedBenchmark, ...]
    shortfalls: tuple[Shortfall, ...]
    trials: tuple[PlannedTrial, ...]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        """The record of a plan."""
        same = {name: getattr(plan, name) for name in cls.model_fields if name not in {"section_weights", "benchmarks"}}
        return cls(
            **same,
            section_weights=tuple(SectionWeight(section=s, weight=w) for s, w in plan.section_weights.items()),
            benchmarks=tuple(benchmark.model_copy(update={"notes": {}}) for benchmark in plan.benchmarks),
        )

    def plan(self, effective_config: Mapping[str, JsonValue]) -> Plan:
        """The plan again; `effective_config` stands beside the record in a result."""
        same = {name: getattr(self, name) for name in type(self).model_fields if name != "section_weights"}
        weights = {entry.section: entry.weight for entry in self.section_weights}
        return Plan(**same, section_weights=weights, effective_config=dict(effective_config))
