"""Whether a result object agrees with itself: its plan, its rows, its numbers. What says two things is ranked by neither.

Everything but intervals is counted again from the rows; a bootstrap for each file would cost more than reading it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from pydantic import JsonValue

from services.contract.aggregation import tally
from services.contract.assessment import PlannedBenchmark
from services.contract.outcomes import POLICY
from services.contract.plan_record import PlanRecord
from services.contract.results import DatasetScore, Section, SectionScore, TaskResult
from services.runner.leaderboard.combining import Part, section_weights
from services.runner.submissions.shards import SHARDS_MISSING

_SLACK: Final = 1e-6
"""Of numbers 0..100 that were written and read again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Count:
    """What rows make of a section or a data set; scores 0..100."""

    score: float | None
    lower: float
    upper: float
    counted: int
    planned: int


def contradictions(part: Part) -> Iterator[str]:
    """Each as a sentence; numbers are looked at only where plan and rows agree."""
    found = list(_plan_faults(part)) or list(_row_faults(part))
    yield from found or _number_faults(part)


def _plan_faults(part: Part) -> Iterator[str]:
    plan = part.plan
    if plan.digest != part.result.evaluation_metadata.get("plan_digest"):
        yield "plan_digest is not that of the plan it keeps"
    if not 0 <= plan.shard_index < plan.num_shards:
        yield f"shard {plan.shard_index} of {plan.num_shards}"
    if plan.num_trials < 1 or any(benchmark.tasks < 0 for benchmark in plan.benchmarks):
        yield "its plan counts less than nothing"
    if plan.num_tasks != sum(benchmark.tasks for benchmark in plan.benchmarks):
        yield f"its plan has {plan.num_tasks} tasks, its data sets have another number"
    sections = {benchmark.name: benchmark.section for benchmark in plan.benchmarks}
    if len(sections) < len(plan.benchmarks) or len({trial.key for trial in plan.trials}) < len(plan.trials):
        yield "its plan holds a data set or a trial twice"
    if stray := [trial.key for trial in plan.trials if sections.get(trial.benchmark) is not trial.section]:
        yield f"trial {stray[0]!r} is in no data set of its section"
    if any(entry.weight < 0 or not math.isfinite(entry.weight) for entry in plan.section_weights):
        yield "its plan weighs a section with less than nothing"


def _row_faults(part: Part) -> Iterator[str]:
    planned = {trial.key: trial.section for trial in part.plan.trials}
    rows = part.result.results
    if len({row.key for row in rows}) < len(rows):
        yield "two rows claim one trial"
    if strangers := [row.key for row in rows if row.key not in planned]:
        yield f"row {strangers[0]!r} is not in the plan"
    elif moved := [row for row in rows if row.section is not planned[row.key]]:
        yield f"row {moved[0].key!r} is in section {moved[0].section}, planned in {planned[moved[0].key]}"


def _number_faults(part: Part) -> Iterator[str]:
    plan, result = part.plan, part.result
    rows = {row.key: row for row in result.results}
    planned = _planned(part)
    datasets = {b.name: _count(plan, [b], rows, planned) for b in plan.benchmarks if planned[b.name] or b.skipped}
    sections = {section: _section(plan, section, rows, planned) for section in _active(plan, planned)}
    told = {section.section: section for section in result.sections}
    if len(told) < len(result.sections) or told.keys() != sections.keys():
        yield f"`sections` are {', '.join(sorted(told)) or 'none'}, its plan has {', '.join(sorted(sections)) or 'none'}"
        return
    for name, count in sections.items():
        yield from _differences(f"sections.{name}", told[name], count)
    for benchmark, score in result.dataset_scores.items():
        if benchmark not in datasets:
            yield f"dataset_scores.{benchmark} is not in the plan"
        elif planned[benchmark]:
            yield from _differences(f"dataset_scores.{benchmark}", score, datasets[benchmark])
    if lacking := [name for name in datasets if planned[name] and name not in result.dataset_scores]:
        yield f"dataset_scores.{lacking[0]} is missing"
    yield from _other_form_faults(part, told)
    yield from _overall_faults(part, sections, told)
    yield from _outcome_faults(part, sum(planned.values()))


def _planned(part: Part) -> Counter[str]:
    """Trials by data set. A merged plan cannot name the trials of missing shards, but its data sets count them."""
    if not part.result.evaluation_metadata.get(SHARDS_MISSING):
        return Counter(trial.benchmark for trial in part.plan.trials)
    return Counter({benchmark.name: benchmark.tasks * part.plan.num_trials for benchmark in part.plan.benchmarks})


def _active(plan: PlanRecord, planned: Mapping[str, int]) -> list[Section]:
    there = {benchmark.section for benchmark in plan.benchmarks if planned[benchmark.name] or benchmark.skipped}
    return [section for section in Section if section in there]


def _section(plan: PlanRecord, section: Section, rows: Mapping[str, TaskResult], planned: Mapping[str, int]) -> _Count:
    benchmarks = [b for b in plan.benchmarks if b.section is section and (planned[b.name] or b.skipped)]
    if plan.section_mean != "datasets":
        return _count(plan, benchmarks, rows, planned)
    counts = [_count(plan, [benchmark], rows, planned) for benchmark in benchmarks]
    scores = [count.score for count in counts if count.score is not None]
    return _Count(
        score=fmean(scores) if scores else None,
        lower=fmean(count.lower for count in counts),
        upper=fmean(count.upper for count in counts),
        counted=sum(count.counted for count in counts),
        planned=sum(count.planned for count in counts),
    )


def _count(
    plan: PlanRecord,
    benchmarks: Sequence[PlannedBenchmark],
    rows: Mapping[str, TaskResult],
    planned: Mapping[str, int],
) -> _Count:
    names = {benchmark.name for benchmark in benchmarks}
    count = tally((trial for trial in plan.trials if trial.benchmark in names), rows)
    owed = sum(planned[name] for name in names)
    known = count.planned / owed if owed else 0.0
    opened = any(benchmark.skipped for benchmark in benchmarks)
    return _Count(
        score=None if count.mean is None else 100 * count.mean,
        lower=0.0 if opened else 100 * known * count.lower,
        upper=100.0 if opened else 100 * (1 - known + known * count.upper),
        counted=count.counted,
        planned=owed,
    )


def _differences(name: str, told: SectionScore | DatasetScore, count: _Count) -> Iterator[str]:
    for field in ("score", "lower", "upper", "counted", "planned"):
        said, made = getattr(told, field), getattr(count, field)
        if not _same(said, made):
            yield f"{name}.{field} is {said!r}, its rows make {made!r}"
    yield from _interval_faults(name, told.interval_low, told.interval_high)


def _other_form_faults(part: Part, told: Mapping[Section, SectionScore]) -> Iterator[str]:
    """`section_scores` and `score_sum`, which queries read, and the shares of the sections."""
    by_name = {name: score for name, score in part.result.section_scores.items() if score is not None}
    if by_name.keys() != {str(section) for section in told}:
        yield "`section_scores` and `sections` are not the same sections"
        return
    weights = section_weights(part.plan, told)
    sums: dict[Section, float] = dict.fromkeys(told, 0.0)
    for row in part.result.results:
        sums[row.section] += row.score or 0.0
    for section, score in told.items():
        if by_name[section].model_copy(update={"sub_scores": {}}) != score.model_copy(update={"sub_scores": {}}):
            yield f"section_scores.{section} is not what `sections` says"
        if not _same(score.weight, weights[section]):
            yield f"sections.{section}.weight is {score.weight!r}, its plan makes {weights[section]!r}"
        if not _same(score.score_sum, sums[section]):
            yield f"sections.{section}.score_sum is {score.score_sum!r}, its rows make {sums[section]!r}"


def _overall_faults(
    part: Part, sections: Mapping[Section, _Count], told: Mapping[Section, SectionScore]
) -> Iterator[str]:
    scored = {section: count.score for section, count in sections.items() if count.score is not None}
    weight = sum(told[section].weight for section in scored)
    made = {
        "score": sum(told[s].weight * score for s, score in scored.items()) / weight if weight else None,
        "lower": sum(told[s].weight * count.lower for s, count in sections.items()),
        "upper": sum(told[s].weight * count.upper for s, count in sections.items()) if sections else 100.0,
    }
    overall = part.result.overall_score
    for field, value in made.items():
        if not _same(getattr(overall, field), value):
            yield f"overall_score.{field} is {getattr(overall, field)!r}, its sections make {value!r}"
    yield from _interval_faults("overall_score", overall.interval_low, overall.interval_high)


def _outcome_faults(part: Part, planned: int) -> Iterator[str]:
    rows, metadata = part.result.results, part.result.evaluation_metadata
    ends = Counter(str(row.outcome) for row in rows) + Counter({"missing": planned - len(rows)})
    passed = sum(row.passed and POLICY[row.outcome].counts for row in rows)
    expected: dict[str, JsonValue] = {"outcomes": {**ends}, "num_successful": passed, "num_tasks": planned}
    for name, value in expected.items():
        if metadata.get(name) != value:
            yield f"evaluation_metadata.{name} is not what its rows make"


def _interval_faults(name: str, low: float | None, high: float | None) -> Iterator[str]:
    if low is None and high is None:
        return
    if low is None or high is None or not -_SLACK <= low <= high <= 100 + _SLACK:
        yield f"{name}: 95 % interval {low!r} to {high!r}"


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_SLACK, abs_tol=_SLACK)
