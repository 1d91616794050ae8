"""Whether a result object agrees with itself: its plan, its rows, its numbers. Pure.

What the rows make of the plan is counted by `aggregate` alone; what no row can say, an interval, must at least be possible.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from services.contract.aggregation import aggregate
from services.contract.assessment import Plan, PlannedTrial
from services.contract.plan_record import PlanRecord
from services.contract.results import AssessmentResult, DatasetScore, OverallScore, SectionScore
from services.runner.submissions.whole import SHARDS_MISSING, unnamed_faults, whole_faults, whole_plan

LARGEST: Final = 1_000_000
"""Trials of a plan, as green bounds them; as many shards are more than anybody has."""
NUMBERS: Final = frozenset({"overall_score", "sections", "section_scores", "dataset_scores"})
"""What of a result must follow from its plan and rows."""
TOTALS: Final = ("num_tasks", "num_planned", "num_successful", "outcomes", "complete", "coverage")
"""The same of its metadata."""
ESTIMATES: Final = frozenset({"interval_low", "interval_high", "measures", "by_stratum"})
"""Made from the same rows, but another release may estimate in another way."""
FAULTS_TOLD: Final = 5
"""Of the numbers of one object; one changed row moves dozens."""
LONGEST: Final = 100
"""Characters of a value in a sentence."""
SLACK: Final = 1e-9


def contradictions(result: AssessmentResult, record: PlanRecord) -> Iterator[str]:
    """What is wrong with an object alone, each as a sentence; numbers are looked at only where plan and rows agree."""
    wrong = list(_plan_faults(result, record))
    wrong = wrong or list(_row_faults(result, record))
    yield from wrong or _told_few([*_number_faults(result, record), *_interval_faults(result)])


def _plan_faults(result: AssessmentResult, record: PlanRecord) -> Iterator[str]:
    facts = result.evaluation_metadata
    if facts.get("plan_digest") != record.digest:
        yield f"plan_digest is {facts.get('plan_digest')!r}, its plan says {record.digest!r}"
    if not _is_possible(record):
        yield f"a plan of {record.num_tasks} tasks, {record.num_trials} trials each, in {record.num_shards} shards cannot be"
        return
    if not 0 <= record.shard_index < record.num_shards:
        yield f"shard {record.shard_index} of {record.num_shards} does not exist"
        return
    if any(entry.weight < 0 or not math.isfinite(entry.weight) for entry in record.section_weights):
        yield "its plan weighs a section with less than nothing"
    dealt = len(range(record.shard_index, record.num_tasks, record.num_shards)) * record.num_trials
    if len(record.trials) > dealt or (len(record.trials) < dealt and not _is_partial(result, record)):
        yield (
            f"its plan holds {len(record.trials)} trials, shard {record.shard_index} of {record.num_shards} has {dealt}:"
            " an artifact of a resumed request is no whole result; take the results file that the runner wrote"
        )
    if _is_partial(result, record):
        yield from unnamed_faults(record, record.trials)
    yield from list(_trial_faults(record)) or whole_faults(record, record.trials)


def _is_possible(record: PlanRecord) -> bool:
    counts = (record.num_trials, record.num_shards, record.num_tasks * record.num_trials)
    tasks = (record.num_tasks, *(benchmark.tasks for benchmark in record.benchmarks))
    return min((*counts[:2], *record.k)) >= 1 and min(tasks) >= 0 and max(counts) <= LARGEST


def _is_partial(result: AssessmentResult, record: PlanRecord) -> bool:
    """A merged plan cannot name the trials of missing shards, but its data sets count them."""
    return record.num_shards == 1 and bool(result.evaluation_metadata.get(SHARDS_MISSING))


def _trial_faults(record: PlanRecord) -> Iterator[str]:
    sections = {benchmark.name: benchmark.section for benchmark in record.benchmarks}
    keys = Counter(trial.key for trial in record.trials)
    places = Counter(trial.position for trial in record.trials)
    if len(sections) < len(record.benchmarks):
        yield "its plan holds a data set twice"
    for trial in record.trials:
        if sections.get(trial.benchmark) is not trial.section:
            yield f"trial {trial.key!r}: the plan has no benchmark {trial.benchmark!r} in section {trial.section}"
        elif keys[trial.key] > 1:
            yield f"its plan holds trial {trial.key!r} twice"
        elif not _has_place(trial, record) or places[trial.position] > 1:
            yield f"trial {trial.key!r} cannot stand at position {trial.position} of the plan"


def _has_place(trial: PlannedTrial, record: PlanRecord) -> bool:
    """The trials of a task follow each other."""
    whole = record.num_tasks * record.num_trials
    return 0 <= trial.position < whole and trial.position % record.num_trials == trial.trial


def _row_faults(result: AssessmentResult, record: PlanRecord) -> Iterator[str]:
    planned = {trial.key: trial for trial in record.trials}
    benchmarks = {benchmark.name: benchmark for benchmark in record.benchmarks}
    seen: set[str] = set()
    for row in result.results:
        trial = planned.get(row.key)
        if trial is None:
            yield f"row {row.key!r} is not in its plan"
        elif row.key in seen:
            yield f"two rows for trial {row.key!r}"
        elif row.section is not trial.section or row.stratum not in {"", trial.stratum}:
            yield f"row {row.key!r} is of {row.section}/{row.stratum}, planned as {trial.section}/{trial.stratum}"
        elif row.digests.scorer not in {"", benchmarks[row.benchmark].scorer}:
            yield f"row {row.key!r} was scored by {row.digests.scorer}, planned was {benchmarks[row.benchmark].scorer}"
        seen.add(row.key)


def _number_faults(result: AssessmentResult, record: PlanRecord) -> Iterator[str]:
    """Numbers somebody changed, or rows: the one does not follow from the other any more."""
    facts = result.evaluation_metadata
    again = aggregate(_plan(result, record), result.results, metadata={}, estimates=False)
    told, given = (each.model_dump(mode="json", include=set(NUMBERS)) for each in (result, again))
    told |= {name: facts.get(name) for name in TOTALS}
    given |= {name: again.evaluation_metadata[name] for name in TOTALS}
    for place, here, there in _differences(told, given):
        yield f"{place} is {_short(here)}, its rows give {_short(there)}"


def _short(value: JsonValue) -> str:
    """A list of sections may stand where another one does."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} [...]"


def _plan(result: AssessmentResult, record: PlanRecord) -> Plan:
    return whole_plan(record, record.trials, {}) if _is_partial(result, record) else record.plan({})


def _differences(told: JsonValue, given: JsonValue, place: str = "") -> Iterator[tuple[str, JsonValue, JsonValue]]:
    """Where two values differ: place, the one, the other. Estimates are left out."""
    if isinstance(given, dict) and isinstance(told, dict):
        for name in (name for name in given if name not in ESTIMATES):
            yield from _differences(told.get(name), given[name], f"{place}.{name}".lstrip("."))
        yield from ((f"{place}.{name}", told[name], None) for name in told.keys() - given.keys() if told[name])
    elif isinstance(given, list) and isinstance(told, list) and len(given) == len(told):
        for number, (here, there) in enumerate(zip(told, given, strict=True)):
            yield from _differences(here, there, f"{place}[{number}]")
    elif not _same(told, given):
        yield place, told, given


def _same(first: JsonValue, second: JsonValue) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return math.isclose(first, second, rel_tol=SLACK, abs_tol=SLACK)
    return first == second


def _interval_faults(result: AssessmentResult) -> Iterator[str]:
    """Intervals that cannot be, and the two forms of a section that tell different ones."""
    scores: dict[str, OverallScore | SectionScore | DatasetScore] = {"overall_score": result.overall_score}
    scores |= {f"sections.{score.section}": score for score in result.sections}
    scores |= {f"dataset_scores.{name}": score for name, score in result.dataset_scores.items()}
    for place, score in scores.items():
        low, high = score.interval_low, score.interval_high
        if low is None and high is None:
            continue
        if low is None or high is None or not -SLACK <= low <= high <= 100 + SLACK:
            yield f"{place}: 95 % interval {low!r} to {high!r}"
    for score in result.sections:
        other = result.section_scores.get(score.section)
        if other and (other.interval_low, other.interval_high) != (score.interval_low, score.interval_high):
            yield f"section_scores.{score.section} is not what `sections` says"


def _told_few(faults: list[str]) -> Iterator[str]:
    yield from faults[:FAULTS_TOLD]
    if len(faults) > FAULTS_TOLD:
        yield f"{len(faults) - FAULTS_TOLD} more numbers do not follow from its rows"
