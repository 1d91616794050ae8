"""Result objects to standings: whether the numbers of an object agree with each other, and shards added up by their counts.

One object that is a whole assessment stands as it is. Shards are added up from sums and counts (interop specification 4.3); what
a missing shard was to do counts as not scored. `assay merge` does the same from rows, with intervals.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from services.contract.outcomes import POLICY
from services.contract.plan_record import PlanRecord
from services.contract.results import STREAMED_ONLY, AssessmentResult, Section, SectionScore
from services.runner.leaderboard.entries import Standing

_SLACK: Final = 1e-6
"""Of numbers 0..100 that were written and read again."""


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


def contradictions(result: AssessmentResult) -> Iterator[str]:
    """Where the numbers of an object do not follow from each other. A file that says two things is not ranked by either."""
    for section in result.sections:
        yield from _section_faults(section)
        other = result.section_scores.get(section.section)
        if other is None or not _same(other.score, section.score):
            yield f"section_scores.{section.section} is not what `sections` says"
    if len({section.section for section in result.sections}) < len(result.sections):
        yield "a section stands twice in `sections`"
    scored = [section for section in result.sections if section.score is not None]
    weight = sum(section.weight for section in scored)
    score = sum(s.weight * (s.score or 0.0) for s in scored) / weight if weight > 0 else None
    overall = result.overall_score
    if not _same(overall.score, score):
        yield f"overall_score.score is {overall.score!r}, its sections make {score!r}"
    if result.sections and not _same(overall.lower, sum(s.weight * s.lower for s in result.sections)):
        yield f"overall_score.lower is {overall.lower!r}, not what its sections make"
    if not result.evaluation_metadata.get(STREAMED_ONLY):
        yield from _row_faults(result)


def combined(parts: Sequence[Part]) -> Combined:
    """The standings of one assessment from its objects, which have one plan and different shards."""
    plan = parts[0].plan
    active = [s for s in Section if any(b.section is s and (b.tasks or b.skipped) for b in plan.benchmarks)]
    asked = {entry.section: entry.weight for entry in plan.section_weights}
    total = sum(asked.get(section, 0.0) for section in active)
    weights = {s: asked.get(s, 0.0) / total if total else 1 / len(active) for s in active}
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


def _section_faults(section: SectionScore) -> Iterator[str]:
    name = f"sections.{section.section}"
    if not 0 <= section.counted <= section.planned:
        yield f"{name}: {section.counted} of {section.planned} trials counted"
    if (section.score is None) != (section.counted == 0):
        yield f"{name}: score {section.score!r} with {section.counted} counted trials"
    middle = section.lower if section.score is None else section.score
    if not -_SLACK <= section.lower <= middle + _SLACK <= section.upper + 2 * _SLACK <= 100 + 3 * _SLACK:
        yield f"{name}: score {section.score!r} with bounds {section.lower!r} to {section.upper!r}"
    if not 0 <= section.weight <= 1 + _SLACK:
        yield f"{name}: weight {section.weight!r}"


def _row_faults(result: AssessmentResult) -> Iterator[str]:
    """The sums of the sections against the rows they were made of."""
    scores: dict[Section, list[float]] = defaultdict(list)
    for row in result.results:
        if POLICY[row.outcome].counts:
            scores[row.section].append(row.score or 0.0)
    if len({row.key for row in result.results}) < len(result.results):
        yield "two rows claim one trial"
    for section in result.sections:
        found = scores[section.section]
        if len(found) != section.counted or not _same(math.fsum(found), section.score_sum):
            yield (
                f"sections.{section.section} counts {section.counted} trials that sum up to {section.score_sum!r},"
                f" its rows are {len(found)} with {math.fsum(found)!r}"
            )


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_SLACK, abs_tol=_SLACK)
