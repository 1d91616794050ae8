"""From rows to the result of an assessment: sections, bounds, coverage, overall. Pure.

Green reports with it, the runner reports a resumed or merged run with it, so the same rows always give the same numbers.
Rules: finance specification 10, interop specification 6.

* task score = mean over its counted trials; benchmark, section = 100 x mean over tasks; overall = weighted section mean;
* `agent_error` counts 0; unscored trials are outside the mean but in coverage and bounds (lower: all fail, upper: all succeed);
* a trial of the plan without a row is unscored as well, and a data set that could not be loaded leaves its section's bounds
  open: what is missing is never forgotten.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from typing import Final, Self

from pydantic import JsonValue

from services.contract import agreement, estimators
from services.contract.assessment import Plan, PlannedTrial
from services.contract.measures import EXACT_MATCH, ORACLE, PASS_RATE, measures
from services.contract.outcomes import POLICY
from services.contract.plan_record import PLAN, PlanRecord
from services.contract.results import (
    AGENTBUSTERS_SECTIONS,
    AssessmentResult,
    DatasetScore,
    Measure,
    Measures,
    OverallScore,
    Section,
    SectionScore,
    TaskResult,
)
from services.contract.seeds import derive

GRADES = (
    (97, "A+"), (93, "A"), (90, "A-"), (87, "B+"), (83, "B"), (80, "B-"), (77, "C+"), (73, "C"), (70, "C-"), (60, "D"),
)  # fmt: skip


RULE_FALLBACK: Final = "rule_fallback"
"""How `scored_by` begins when a rule decided in place of a judge that gave no verdict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Counts over a set of planned trials; scores 0..1."""

    planned: int
    counted: int
    passed: int
    score_sum: float
    mean: float | None
    """Mean over tasks of the task score; None when nothing was counted."""
    lower: float
    upper: float
    task_scores: list[float] = field(default_factory=list)
    one_trial_each: bool = True

    @property
    def coverage(self) -> float:
        """Counted / planned; 1 for an empty plan, which owes nothing."""
        return self.counted / self.planned if self.planned else 1.0

    def interval(self, *, seed: int) -> estimators.Interval | None:
        """95 % interval of the mean, 0..1."""
        return estimators.score_interval(self.task_scores, one_trial_each=self.one_trial_each, seed=seed)


def tally(trials: Iterable[PlannedTrial], rows: Mapping[str, TaskResult]) -> Tally:
    """Count planned trials against the rows that exist, by trial key."""
    by_task: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    passed = 0
    for trial in trials:
        row = rows.get(trial.key)
        counts = row is not None and POLICY[row.outcome].counts
        by_task[trial.benchmark, trial.task_id].append(row.score if row is not None and counts else None)
        passed += row is not None and counts and row.passed
    known = [[s for s in scores if s is not None] for scores in by_task.values()]
    task_scores = [sum(scores) / len(scores) for scores in known if scores]
    tasks = max(1, len(by_task))
    low = sum(sum(s or 0.0 for s in scores) / len(scores) for scores in by_task.values()) / tasks
    high = sum(sum(1.0 if s is None else s for s in scores) / len(scores) for scores in by_task.values()) / tasks
    return Tally(
        planned=sum(map(len, by_task.values())),
        counted=sum(map(len, known)),
        passed=passed,
        score_sum=sum(map(sum, known)),
        mean=sum(task_scores) / len(task_scores) if task_scores else None,
        lower=low,
        upper=high,
        task_scores=task_scores,
        one_trial_each=all(len(scores) == 1 for scores in by_task.values()),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Assessed:
    """A plan with the rows that exist, by trial key."""

    plan: Plan
    rows: Mapping[str, TaskResult]
    by_benchmark: Mapping[str, Sequence[PlannedTrial]]
    estimates: bool

    @classmethod
    def of(cls, plan: Plan, rows: Mapping[str, TaskResult], *, estimates: bool) -> Self:
        """Trials grouped once: a plan may have as many data sets as trials."""
        by_benchmark = _grouped(plan.trials, lambda trial: trial.benchmark)
        return cls(plan=plan, rows=rows, by_benchmark=by_benchmark, estimates=estimates)

    def interval(self, count: Tally, *names: str) -> estimators.Interval | None:
        """95 % interval of a mean, 0..1, seeded by the names of what is counted."""
        return count.interval(seed=derive(self.plan.seed, "interval", *names)) if self.estimates else None


def aggregate(
    plan: Plan, rows: Sequence[TaskResult], *, metadata: Mapping[str, JsonValue], estimates: bool = True
) -> AssessmentResult:
    """The result of one assessment from its plan and whatever rows exist.

    Without `estimates` there are no intervals, measures and strata, for who only checks the other numbers: they take most of
    the time. Raises ValueError when two rows claim one trial or a row is not in the plan: such a result would lie.
    """
    by_key = _index(plan, rows)
    told = _Assessed.of(plan, by_key, estimates=estimates)
    sections = [_section(told, section) for section in _active_sections(plan)]
    overall = _overall(sections)
    whole = tally(plan.trials, by_key)
    outcomes = Counter(str(row.outcome) for row in rows)
    outcomes["missing"] = whole.planned - len(rows)
    complete = whole.counted == whole.planned and not any(benchmark.skipped for benchmark in plan.benchmarks)
    facts: dict[str, JsonValue] = {
        "num_tasks": whole.planned,
        "num_planned": whole.planned,
        "num_successful": whole.passed,
        "num_nonzero": sum(bool(row.score) for row in rows),
        "outcomes": {name: count for name, count in sorted(outcomes.items()) if count},
        "complete": complete,
        "coverage": whole.coverage,
        "plan_digest": plan.digest,
        "seed": plan.seed,
        "shard_index": plan.shard_index,
        "num_shards": plan.num_shards,
        "num_trials": plan.num_trials,
        "judge": judge_summary(rows),
        "effective_config": plan.effective_config,
        PLAN: PlanRecord.of(plan).model_dump(mode="json"),
    }
    found = {section.section: section for section in sections}
    keys = [*AGENTBUSTERS_SECTIONS, *(section for section in found if section not in AGENTBUSTERS_SECTIONS)]
    return AssessmentResult(
        version=_release(),
        overall_score=overall,
        section_scores={key: found.get(key) for key in keys},
        sections=[section.model_copy(update={"sub_scores": {}}) for section in sections],
        dataset_scores=_datasets(told),
        evaluation_metadata=facts | dict(metadata),
        config_summary=_summary(plan),
        shortfalls=[shortfall.model_dump() for shortfall in plan.shortfalls],
        results=[row.model_copy(update={"transcript": None}) for row in _in_plan_order(plan, by_key)],
    )


@cache
def _release() -> str:
    """Read once: a file a time costs more than the counting of a small result."""
    return version("assay")


def grade(score: float) -> str:
    """Letter grade of an overall score, 0..100."""
    return next((letter for least, letter in GRADES if score >= least), "F")


def _index(plan: Plan, rows: Sequence[TaskResult]) -> dict[str, TaskResult]:
    planned = {trial.key for trial in plan.trials}
    by_key: dict[str, TaskResult] = {}
    for row in rows:
        if row.key in by_key:
            raise ValueError(f"two rows for trial {row.key!r}")
        if row.key not in planned:
            raise ValueError(f"row {row.key!r} is not in plan {plan.digest}")
        by_key[row.key] = row
    return by_key


def _in_plan_order(plan: Plan, by_key: Mapping[str, TaskResult]) -> list[TaskResult]:
    return [by_key[trial.key] for trial in plan.trials if trial.key in by_key]


def judge_summary(rows: Iterable[TaskResult]) -> dict[str, JsonValue]:
    """What judging took and how it went, over all calls. `cost_usd` is null when one call's price is unknown.

    Cached verdicts cost nothing now; `trials_with_rule_fallback` and `injections_suspected` count trials. `agreement` is null
    unless several judges decided.
    """
    rows = list(rows)
    calls = [call for row in rows for call in row.judgements]
    paid = [call for call in calls if not call.cached]
    costs = [call.cost_usd for call in paid]
    known = [cost for cost in costs if cost is not None]
    agreed = agreement.of_judgements(rows)
    return {
        "models": list[JsonValue](sorted({call.model for call in calls})),
        "calls": len(calls),
        "cached": len(calls) - len(paid),
        "failures": dict(sorted(Counter(call.kind for call in calls if call.kind).items())),
        "input_tokens": sum(call.input_tokens or 0 for call in paid),
        "output_tokens": sum(call.output_tokens or 0 for call in paid),
        "cost_usd": sum(known, 0.0) if len(known) == len(costs) else None,
        "latency_s": sum((call.latency_s for call in paid), 0.0),
        "cut": sum(bool(call.cuts) for call in calls),
        "evidence_missing": sum(call.evidence_missing for call in calls),
        "trials_with_rule_fallback": sum(row.scored_by.startswith(RULE_FALLBACK) for row in rows),
        "injections_suspected": sum(any(call.injection_suspected for call in row.judgements) for row in rows),
        "agreement": None if agreed is None else agreed.model_dump(mode="json"),
    }


def _active_sections(plan: Plan) -> list[Section]:
    """Sections with planned trials, and those of data sets that could not be loaded."""
    planned = {trial.section for trial in plan.trials}
    planned |= {benchmark.section for benchmark in plan.benchmarks if benchmark.skipped}
    return [section for section in Section if section in planned]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mean:
    """A section's score and what it may become, 0..1."""

    score: float | None
    lower: float
    upper: float
    interval: estimators.Interval | None


def _section(told: _Assessed, section: Section) -> SectionScore:
    plan, by_key = told.plan, told.rows
    trials = [trial for trial in plan.trials if trial.section is section]
    count = tally(trials, by_key)
    weights = {name: plan.section_weights.get(name, 0.0) for name in _active_sections(plan)}
    total = sum(weights.values())
    weight = weights[section] / total if total else 1 / len(weights)
    mean = _section_mean(told, section, count)
    score = None if mean.score is None else 100 * mean.score
    benchmarks = [benchmark for benchmark in plan.benchmarks if benchmark.section is section and benchmark.tasks]
    names = [name for benchmark in benchmarks for name in benchmark.sub_scores]
    return SectionScore(
        section=section,
        score=score,
        weight=weight,
        weighted_contribution=weight * (score or 0.0),
        datasets=sorted({trial.benchmark for trial in trials}),
        task_count=len({(trial.benchmark, trial.task_id) for trial in trials}),
        accuracy=count.passed / count.counted if count.counted else None,
        score_sum=count.score_sum,
        counted=count.counted,
        planned=count.planned,
        coverage=count.coverage if trials else 0.0,
        lower=100 * mean.lower,
        upper=100 * mean.upper,
        interval_low=None if mean.interval is None else 100 * mean.interval.low,
        interval_high=None if mean.interval is None else 100 * mean.interval.high,
        sub_scores=_sub_scores(names, [by_key[trial.key] for trial in trials if trial.key in by_key]),
    )


def _section_mean(told: _Assessed, section: Section, count: Tally) -> _Mean:
    """The mean over tasks, or over the means of data sets. A skipped data set may hold anything: it opens the bounds."""
    if told.plan.section_mean == "datasets":
        return _mean_of_datasets(told, section)
    skipped = any(b.section is section and b.skipped for b in told.plan.benchmarks)
    return _Mean(
        score=count.mean,
        lower=0.0 if skipped else count.lower,
        upper=1.0 if skipped else count.upper,
        interval=told.interval(count, section),
    )


def _mean_of_datasets(told: _Assessed, section: Section) -> _Mean:
    lower, upper, scores = [], [], []
    estimates: list[estimators.Estimate] = []
    for benchmark in (b for b in told.plan.benchmarks if b.section is section):
        count = tally(told.by_benchmark.get(benchmark.name, ()), told.rows)
        if not count.planned and not benchmark.skipped:
            continue
        lower.append(0.0 if benchmark.skipped else count.lower)
        upper.append(1.0 if benchmark.skipped else count.upper)
        if count.mean is not None:
            scores.append(count.mean)
            interval = told.interval(count, benchmark.name)
            estimates += (
                [] if interval is None else [estimators.Estimate(weight=1.0, mean=count.mean, interval=interval)]
            )
    known = scores and len(estimates) == len(scores)
    return _Mean(
        score=sum(scores) / len(scores) if scores else None,
        lower=sum(lower) / len(lower),
        upper=sum(upper) / len(upper),
        interval=estimators.weighted_interval(estimates) if known else None,
    )


def _sub_scores(names: Sequence[str], rows: Sequence[TaskResult]) -> dict[str, float | None]:
    earned: dict[str, float] = defaultdict(float)
    possible: dict[str, float] = defaultdict(float)
    for row in rows:
        for name, share in row.sub_scores.items():
            earned[name] += share.earned
            possible[name] += share.possible
    return {name: 100 * earned[name] / possible[name] if possible.get(name) else None for name in names}


def _overall(sections: Sequence[SectionScore]) -> OverallScore:
    """Sections without a score keep their weight in the bounds and leave the mean."""
    scored = [section for section in sections if section.score is not None]
    weight = sum(section.weight for section in scored)
    score = sum(s.weight * (s.score or 0.0) for s in scored) / weight if weight else None
    planned, counted = sum(s.planned for s in sections), sum(s.counted for s in sections)
    interval = _overall_interval(scored)
    return OverallScore(
        score=score,
        lower=sum(section.weight * section.lower for section in sections),
        upper=sum(section.weight * section.upper for section in sections) if sections else 100.0,
        coverage=counted / planned if planned else 1.0,
        grade=None if score is None else grade(score),
        interval_low=None if interval is None else interval.low,
        interval_high=None if interval is None else interval.high,
    )


def _overall_interval(scored: Sequence[SectionScore]) -> estimators.Interval | None:
    """None as long as the spread of any section that weighs is unknown."""
    estimates = []
    for section in scored:
        if section.score is None or section.weight == 0:
            continue
        if section.interval_low is None or section.interval_high is None:
            return None
        interval = estimators.Interval(low=section.interval_low, high=section.interval_high)
        estimates.append(estimators.Estimate(weight=section.weight, mean=section.score, interval=interval))
    return estimators.weighted_interval(estimates) if estimates else None


def _grouped(trials: Iterable[PlannedTrial], name: Callable[[PlannedTrial], str]) -> dict[str, list[PlannedTrial]]:
    groups: dict[str, list[PlannedTrial]] = defaultdict(list)
    for trial in trials:
        groups[name(trial)].append(trial)
    return dict(groups)


def _datasets(told: _Assessed) -> dict[str, DatasetScore]:
    scores: dict[str, DatasetScore] = {}
    for benchmark in told.plan.benchmarks:
        trials = told.by_benchmark.get(benchmark.name, ())
        if not trials:
            continue
        count = tally(trials, told.rows)
        interval = told.interval(count, benchmark.name)
        scores[benchmark.name] = DatasetScore(
            section=benchmark.section,
            score=None if count.mean is None else 100 * count.mean,
            accuracy=count.passed / count.counted if count.counted else None,
            counted=count.counted,
            planned=count.planned,
            lower=100 * count.lower,
            upper=100 * count.upper,
            interval_low=None if interval is None else 100 * interval.low,
            interval_high=None if interval is None else 100 * interval.high,
            measures=_measures(told.plan, benchmark.name, trials, told.rows) if told.estimates else None,
            by_stratum=_by_stratum(told, benchmark.name, trials) if told.estimates else {},
            scored_by=_scored_by(trials, told.rows),
        )
    return scores


def _scored_by(trials: Sequence[PlannedTrial], by_key: Mapping[str, TaskResult]) -> dict[str, int]:
    """Most frequent first."""
    rows = [by_key[trial.key] for trial in trials if trial.key in by_key]
    return dict(Counter(row.scored_by for row in rows if row.scored_by).most_common())


def _measures(
    plan: Plan, name: str, trials: Sequence[PlannedTrial], by_key: Mapping[str, TaskResult]
) -> Measures | None:
    """None for single trials that tell nothing beside their score, unless some k was asked for."""
    told = {fact for trial in trials if trial.key in by_key for fact in by_key[trial.key].metrics}
    if plan.num_trials == 1 and not plan.k and not told & {PASS_RATE, EXACT_MATCH, ORACLE}:
        return None
    return measures(trials, by_key, k=plan.k, seed=derive(plan.seed, "measures", name))


def _by_stratum(told: _Assessed, name: str, trials: Sequence[PlannedTrial]) -> dict[str, Measure]:
    strata = _grouped(trials, lambda trial: trial.stratum)
    if len(strata) < 2:
        return {}
    found = {}
    for stratum in sorted(strata):
        count = tally(strata[stratum], told.rows)
        interval = told.interval(count, name, stratum)
        tasks = len({trial.task_id for trial in strata[stratum]})
        found[stratum] = Measure(
            value=count.mean,
            n=len(count.task_scores),
            left_out=tasks - len(count.task_scores),
            lower=None if interval is None else interval.low,
            upper=None if interval is None else interval.high,
        )
    return found


def _summary(plan: Plan) -> dict[str, JsonValue]:
    by_dataset = Counter(trial.benchmark for trial in plan.trials)
    by_stratum = Counter(f"{trial.benchmark}/{trial.stratum}" for trial in plan.trials)
    by_category = Counter(str(trial.section) for trial in plan.trials)
    return {
        "total": len(plan.trials),
        "by_dataset": dict(by_dataset),
        "by_task_type": dict(by_stratum),
        "by_category": dict(by_category),
    }
