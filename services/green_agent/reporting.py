"""The words and the artifact of an assessment. The numbers come from `contract.aggregation`."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from services.contract.aggregation import aggregate
from services.contract.assessment import Plan
from services.contract.conversation import Usage
from services.contract.measures import CUT, EXACT_MATCH, ITERATIONS, ORACLE, PASS_RATE, UNSCORED
from services.contract.outcomes import POLICY
from services.contract.plan_record import PLAN
from services.contract.printing import Printed
from services.contract.results import STREAMED_ONLY, AssessmentResult, Digests, Latency, TaskResult

MOST_ROWS: Final = 5_000
"""Rows of one artifact. A larger assessment that streamed its rows whole does not say them a second time."""
_NO_USAGE, _NO_LATENCY, _NO_DIGESTS = Usage(), Latency(), Digests()


class FinishedRows:
    """The rows of an assessment as they finish: packed, because a run of many trials has many of them."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self.any_counted = False

    def __len__(self) -> int:
        return len(self._packed)

    def add(self, row: TaskResult) -> None:
        """Keep a row."""
        self._packed.append(zlib.compress(row.model_dump_json().encode(), level=1))
        self.any_counted = self.any_counted or POLICY[row.outcome].counts

    def whole(self) -> list[TaskResult]:
        """All rows as they were."""
        return [self._row(packed) for packed in self._packed]

    def for_numbers(self) -> list[TaskResult]:
        """All rows with only what the numbers of a result are made from; a small fraction of their size."""
        return [_bare(self._row(packed)) for packed in self._packed]

    def _row(self, packed: bytes) -> TaskResult:
        return TaskResult.model_validate_json(zlib.decompress(packed))


def _bare(row: TaskResult) -> TaskResult:
    wanted = (PASS_RATE, EXACT_MATCH, ORACLE, UNSCORED, CUT)
    steps = row.details.get(ITERATIONS)
    facts = {
        "metrics": {name: row.metrics[name] for name in wanted if name in row.metrics},
        "details": {} if steps is None else {ITERATIONS: steps},
        "usage": _NO_USAGE,
        "latency": _NO_LATENCY,
        "digests": _NO_DIGESTS,
        "attempts": (),
        "model": None,
    }
    texts = dict.fromkeys(("question", "expected", "answer", "explanation", "transcript_id"), "")
    return row.model_copy(update=facts | texts)


def artifact(
    plan: Plan,
    finished: FinishedRows,
    *,
    metadata: Mapping[str, JsonValue],
    printed: Printed,
    streamed_whole: bool,
    most_rows: int = MOST_ROWS,
) -> tuple[str, str]:
    """The artifact's two texts: the result as JSON, and the summary."""
    bare = streamed_whole and len(finished) > most_rows
    rows = finished.for_numbers() if bare else finished.whole()
    result = aggregate(plan, rows, metadata={**metadata, STREAMED_ONLY: bare})
    if bare:  # who took the rows as they came asked for the plan before
        facts = {name: value for name, value in result.evaluation_metadata.items() if name != PLAN}
        shown = result.model_copy(update={"results": [], "evaluation_metadata": facts})
    else:
        shown = printed.apply(result)
    return shown.model_dump_json(), summary(result, rows)


def without_transcripts(row: TaskResult) -> TaskResult:
    """The row as the artifact holds it."""
    attempts = tuple(attempt.model_copy(update={"transcript": None}) for attempt in row.attempts)
    judgements = tuple(call.model_copy(update={"raw": ""}) for call in row.judgements)
    return row.model_copy(update={"transcript": None, "attempts": attempts, "judgements": judgements})


def summary(result: AssessmentResult, rows: Sequence[TaskResult]) -> str:
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
    faults = Counter(f"{row.outcome}/{row.error.kind}" for row in rows if row.error is not None)
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


def progress(finished: int, *, planned: int) -> str:
    """An update for times in which nothing finishes."""
    return f"progress: {finished} of {planned} trials finished, still working"


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
