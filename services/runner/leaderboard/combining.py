"""Result objects to standings: one as it stands, shards added up by their counts.

One object that is a whole assessment stands as it is. Shards are added up from sums and counts (interop specification 4.3); what
a missing shard was to do counts as not scored. `assay merge` does the same from rows, with intervals.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from services.contract.plan_record import PlanRecord
from services.contract.results import AssessmentResult, Section
from services.runner.leaderboard.entries import Standing


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One result object of a file with the plan it kept."""

    result: AssessmentResult
    plan: PlanRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Combined:
    """The standings of an assessment, and the share of each section in the overall score."""

    overall: Standing
    sections: Mapping[Section, Standing]
    weights: Mapping[Section, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Count:
    """Sums of what one object tells of a section or a data set."""

    score_sum: float
    """Scores 0..100 over counted trials."""
    counted: int
    planned: int
    lower: float
    upper: float


def combined(parts: Sequence[Part]) -> Combined:
    """The standings of one assessment from its objects, which have one plan and different shards."""
    plan = parts[0].plan
    active = [s for s in Section if any(b.section is s and (b.tasks or b.skipped) for b in plan.benchmarks)]
    weights = section_weights(plan, active)
    if plan.num_shards == 1:
        return _as_it_stands(parts[0].result, plan, weights)
    sections = {section: _section(parts, section) for section in active}
    scored = {section: standing.score for section, standing in sections.items() if standing.score is not None}
    weight = sum(weights[section] for section in scored)
    return Combined(
        overall=Standing(
            score=sum(weights[s] * score for s, score in scored.items()) / weight if weight else None,
            lower=sum(weights[s] * standing.lower for s, standing in sections.items()),
            upper=sum(weights[s] * standing.upper for s, standing in sections.items()) if sections else 100.0,
            counted=sum(standing.counted for standing in sections.values()),
            planned=sum(standing.planned for standing in sections.values()),
            left_out=any(standing.left_out for standing in sections.values()),
        ),
        sections=sections,
        weights=weights,
    )


def section_weights(plan: PlanRecord, active: Collection[Section]) -> dict[Section, float]:
    """The share of each section in the overall score; equal where the plan weighs none of them."""
    asked = {entry.section: entry.weight for entry in plan.section_weights}
    total = sum(asked.get(section, 0.0) for section in active)
    return {s: asked.get(s, 0.0) / total if total else 1 / len(active) for s in active}


def _as_it_stands(result: AssessmentResult, plan: PlanRecord, weights: Mapping[Section, float]) -> Combined:
    skipped = {benchmark.section for benchmark in plan.benchmarks if benchmark.skipped}
    sections = {
        section.section: Standing(
            score=section.score,
            lower=section.lower,
            upper=section.upper,
            counted=section.counted,
            planned=section.planned,
            interval_low=section.interval_low,
            interval_high=section.interval_high,
            left_out=section.section in skipped,
        )
        for section in result.sections
    }
    overall = result.overall_score
    return Combined(
        overall=Standing(
            score=overall.score,
            lower=overall.lower,
            upper=overall.upper,
            counted=sum(section.counted for section in result.sections),
            planned=sum(section.planned for section in result.sections),
            interval_low=overall.interval_low,
            interval_high=overall.interval_high,
            left_out=bool(skipped),
        ),
        sections=sections,
        weights=weights,
    )


def _section(parts: Sequence[Part], section: Section) -> Standing:
    """The mean over its tasks, or over the means of its data sets, as the plan says."""
    plan = parts[0].plan
    benchmarks = [b for b in plan.benchmarks if b.section is section and (b.tasks or b.skipped)]
    if plan.section_mean == "datasets":
        groups = [[benchmark] for benchmark in benchmarks]
        told = [_of_dataset(parts, benchmark.name) for benchmark in benchmarks]
    else:
        groups, told = [benchmarks], [_of_section(parts, section)]
    means = []
    for group, counts in zip(groups, told, strict=True):
        planned = plan.num_trials * sum(benchmark.tasks for benchmark in group)
        means.append(_mean(counts, planned, left_out=any(benchmark.skipped for benchmark in group)))
    scores = [mean.score for mean in means if mean.score is not None]
    return Standing(
        score=fmean(scores) if scores else None,
        lower=fmean(mean.lower for mean in means),
        upper=fmean(mean.upper for mean in means),
        counted=sum(mean.counted for mean in means),
        planned=sum(mean.planned for mean in means),
        left_out=any(mean.left_out for mean in means),
    )


def _mean(counts: Sequence[_Count], planned: int, *, left_out: bool) -> Standing:
    counted = sum(count.counted for count in counts)
    unseen = planned - sum(count.planned for count in counts)
    low = sum(count.lower * count.planned for count in counts)
    high = sum(count.upper * count.planned for count in counts) + 100 * unseen
    return Standing(
        score=sum(count.score_sum for count in counts) / counted if counted else None,
        lower=0.0 if left_out or not planned else low / planned,
        upper=100.0 if left_out or not planned else high / planned,
        counted=counted,
        planned=planned,
        left_out=left_out,
    )


def _of_section(parts: Sequence[Part], section: Section) -> list[_Count]:
    return [
        _Count(
            score_sum=100 * told.score_sum,
            counted=told.counted,
            planned=told.planned,
            lower=told.lower,
            upper=told.upper,
        )
        for part in parts
        for told in part.result.sections
        if told.section is section
    ]


def _of_dataset(parts: Sequence[Part], name: str) -> list[_Count]:
    return [
        _Count(
            score_sum=(told.score or 0.0) * told.counted,
            counted=told.counted,
            planned=told.planned,
            lower=told.lower,
            upper=told.upper,
        )
        for part in parts
        for told in [part.result.dataset_scores.get(name)]
        if told is not None
    ]
