"""The words and the artifact of an assessment. The numbers come from `contract.aggregation`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from services.contract.assessment import Plan
from services.contract.outcomes import Outcome
from services.contract.results import AssessmentResult, TaskResult


def without_transcripts(row: TaskResult) -> TaskResult:
    """The row as the artifact holds it."""
    attempts = tuple(attempt.model_copy(update={"transcript": None}) for attempt in row.attempts)
    judgements = tuple(call.model_copy(update={"raw": ""}) for call in row.judgements)
    return row.model_copy(update={"transcript": None, "attempts": attempts, "judgements": judgements})


def summary(result: AssessmentResult) -> str:
    """What a person reads first. Begins `Assay result:` and is never valid JSON."""
    overall = result.overall_score
    headline = (
        f"Assay result: {_points(overall.score)} of 100, coverage {overall.coverage:.1%}, "
        f"bounds [{overall.lower:.1f}, {overall.upper:.1f}]"
    )
    lines = [headline]
    lines += [
        f"- {section.section}: {_points(section.score)}, {section.counted}/{section.planned} counted, "
        f"bounds [{section.lower:.1f}, {section.upper:.1f}]"
        for section in result.sections
    ]
    faults = Counter(f"{row.outcome}/{row.error.kind}" for row in result.results if row.error is not None)
    lines += [f"- {name}: {count}" for name, count in faults.most_common()]
    lines += [f"- judge: {text}" for text in _judging(result)]
    lines += [f"- short: {shortfall['reason']}" for shortfall in result.shortfalls]
    return "\n".join(lines)


def accepted(plan: Plan, *, to_run: int, ignored_keys: Sequence[str]) -> str:
    """The first update: what will be run."""
    text = f"accepted: {to_run} trials of {plan.num_tasks} tasks, plan {plan.digest}"
    if plan.num_shards > 1:
        text += f", shard {plan.shard_index} of {plan.num_shards}"
    if ignored_keys:
        text += f"; ignored keys: {', '.join(ignored_keys)}"
    return "\n".join([text, *(f"short: {shortfall.reason}" for shortfall in plan.shortfalls)])


def progress(rows: Sequence[TaskResult], *, planned: int) -> str:
    """An update for times in which nothing finishes."""
    return f"progress: {len(rows)} of {planned} trials finished, still working"


def nothing_counted(rows: Sequence[TaskResult]) -> bool:
    """True when no trial ended `scored` or `agent_error`."""
    return not any(row.outcome in {Outcome.SCORED, Outcome.AGENT_ERROR} for row in rows)


def _judging(result: AssessmentResult) -> list[str]:
    """One line when a judge was asked."""
    judge = result.evaluation_metadata.get("judge")
    if not isinstance(judge, dict) or not judge.get("calls"):
        return []
    failures = judge["failures"] if isinstance(judge["failures"], dict) else {}
    failed = "".join(f", {count} {kind}" for kind, count in failures.items())
    cost = "cost unknown" if judge["cost_usd"] is None else f"{judge['cost_usd']:.4f} USD"
    return [f"{judge['calls']} calls, {judge['cached']} from the cache{failed}, {cost}"]


def _points(score: float | None) -> str:
    return "not scored" if score is None else f"{score:.1f}"
