"""From a stored run to rollout files, one a benchmark. Pure; writing is in `writing`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pydantic import JsonValue, TypeAdapter

from services.contract.conversation import Trace, Transcript, Usage
from services.contract.measures import ITERATIONS, mean_over_tasks, measures
from services.contract.outcomes import POLICY
from services.contract.results import Measure, Section, TaskResult
from services.contract.seeds import derive
from services.runner.journal import RunRecord
from services.runner.rollouts.layout import (
    Bounds,
    FinalSolution,
    Metrics,
    RolloutFile,
    Step,
    StepMetadata,
    Timing,
    Tokens,
    TrialError,
    TrialRollout,
    TrialTiming,
)

CC_BY: Final = frozenset({"imobench", "mbpp", "codecontests"})
"""Data sets whose licence lets their statements and answers be passed on."""
EVALUATED: Final = "x_evaluate"
"""Key of a run's config in which `assay evaluate` keeps model, strategy and sampling."""
BASELINE: Final = "baseline"
SINGLE: Final = frozenset({BASELINE, "direct"})
"""Strategies whose solutions are independent samples, not the steps of a chain."""
_USAGE: Final = TypeAdapter(dict[str, Usage])


def rollout_file(
    run: RunRecord, rows: Sequence[TaskResult], transcripts: Mapping[str, Transcript], *, benchmark: str
) -> RolloutFile:
    """The rollouts of one benchmark of a run; `transcripts` by trial key, as far as there are any."""
    trials = [trial for trial in run.plan.trials if trial.benchmark == benchmark]
    by_key = {row.key: row for row in rows if row.benchmark == benchmark}
    own = [by_key[trial.key] for trial in trials if trial.key in by_key]
    counted = sum(POLICY[row.outcome].counts for row in own)
    planned = next(found for found in run.plan.benchmarks if found.name == benchmark)
    config = run.scenario.get("config")
    strategy = strategy_of(run, transcripts.values())
    return RolloutFile(
        config=dict(config) if isinstance(config, dict) else {},
        benchmark=benchmark,
        strategy=strategy,
        run_id=run.id,
        plan_digest=run.plan.digest,
        digests={"dataset": planned.dataset_digest, "scorer": planned.scorer},
        models=list(dict.fromkeys(row.model for row in own if row.model is not None)),
        start_time=run.created,
        end_time=run.finished,
        complete=counted == len(trials),
        coverage=counted / len(trials) if trials else 1.0,
        metrics=_metrics(run, by_key, benchmark=benchmark),
        tokens=_tokens(own),
        timing=Timing(
            total_s=sum(row.latency.total_s for row in own),
            model_s=sum(row.latency.agent_s for row in own),
            scoring_s=sum(row.latency.judge_s for row in own),
        ),
        results=[_rollout(row, transcripts.get(row.key), strategy) for row in own],
    )


def strategy_of(run: RunRecord, transcripts: Iterable[Transcript]) -> str:
    """As `assay evaluate` set it, else as the agent's traces tell it; an agent that tells nothing gave one answer a trial."""
    config = run.scenario.get("config")
    asked = config.get(EVALUATED) if isinstance(config, dict) else None
    if isinstance(asked, dict) and isinstance(name := asked.get("strategy"), str):
        return name
    traces = (trace_of(transcript) for transcript in transcripts)
    return next((trace.strategy for trace in traces if trace is not None), BASELINE)


def trace_of(transcript: Transcript | None) -> Trace | None:
    """How the agent came to its one answer, where it tells; a conversation of several replies has no single answer."""
    replies = [turn.reply for turn in transcript.turns if turn.reply is not None] if transcript is not None else []
    return replies[0].trace if len(replies) == 1 else None


def _metrics(run: RunRecord, by_key: Mapping[str, TaskResult], *, benchmark: str) -> Metrics:
    trials = [trial for trial in run.plan.trials if trial.benchmark == benchmark]
    seed = derive(run.plan.seed, "interval", benchmark)
    found = measures(trials, by_key, k=run.plan.k, seed=seed)
    strata = sorted({trial.stratum for trial in trials})
    once = {
        stratum: measures(
            [trial for trial in trials if trial.stratum == stratum], by_key, k=(1,), seed=derive(seed, stratum)
        ).pass_at[1]
        for stratum in strata
    }
    tasks: dict[str, list[TaskResult | None]] = defaultdict(list)
    for trial in trials:
        tasks[trial.task_id].append(by_key.get(trial.key))
    return Metrics(
        pass_at_1=found.pass_at[1] if 1 in found.pass_at else measures(trials, by_key, k=(1,), seed=seed).pass_at[1],
        pass_at=found.pass_at,
        pass_hat=found.pass_hat,
        score=_score(list(tasks.values()), seed=seed),
        average_pass_rate=found.average_pass_rate,
        exact_match=found.exact_match,
        oracle_best_of_trajectory=found.oracle_best_of_trajectory,
        accuracy_by_iteration=found.accuracy_by_iteration,
        by_difficulty=once,
        bounds=Bounds(lower=_bound(tasks.values(), unscored=0.0), upper=_bound(tasks.values(), unscored=1.0)),
    )


def _score(tasks: Sequence[Sequence[TaskResult | None]], *, seed: int) -> Measure:
    scores = [[row.score for row in rows if row is not None and row.score is not None] for rows in tasks]
    means = [sum(found) / len(found) if found else None for found in scores]
    return mean_over_tasks(means, one_trial_each=all(len(rows) == 1 for rows in tasks), seed=seed)


def _bound(tasks: Iterable[Sequence[TaskResult | None]], *, unscored: float) -> float:
    """pass@1 with `unscored` in place of every trial that does not count."""

    def worth(row: TaskResult | None) -> float:
        return float(row.passed) if row is not None and POLICY[row.outcome].counts else unscored

    means = [sum(map(worth, rows)) / len(rows) for rows in tasks]
    return sum(means) / len(means) if means else unscored


def _tokens(rows: Sequence[TaskResult]) -> Tokens:
    total = sum((row.usage for row in rows), Usage())
    by_role: dict[str, Usage] = {}
    by_iteration: list[Usage] = []
    for row in rows:
        for number, step in enumerate(_told(row)):
            used = _usage(step)
            by_iteration += [Usage()] if number == len(by_iteration) else []
            for role, usage in used.items():
                by_role[role] = by_role.get(role, Usage()) + usage
                by_iteration[number] += usage
    return Tokens(input=total.input_tokens, output=total.output_tokens, by_role=by_role, by_iteration=by_iteration)


def _told(row: TaskResult) -> list[Mapping[str, JsonValue]]:
    """What green tells of the iterations of a trial (`green_agent/trajectory.py`)."""
    told = row.details.get(ITERATIONS)
    return [step for step in told if isinstance(step, dict)] if isinstance(told, list) else []


def _usage(step: Mapping[str, JsonValue]) -> dict[str, Usage]:
    return _USAGE.validate_python(step.get("usage") or {})


def _rollout(row: TaskResult, transcript: Transcript | None, strategy: str) -> TrialRollout:
    open_data = row.benchmark in CC_BY
    counts = POLICY[row.outcome].counts
    known = [count for count in (row.usage.input_tokens, row.usage.output_tokens) if count is not None]
    final = FinalSolution(
        content="" if transcript is None else transcript.answer,
        code=row.answer if row.section is Section.CODE else None,
        answer=None if row.section is Section.CODE else row.answer,
        is_correct=row.passed if counts else None,
        score=row.score,
        feedback=row.explanation,
        scored_by=row.scored_by,
    )
    return TrialRollout(
        problem_id=row.task_id,
        trial=row.trial,
        problem=(row.question or None) if open_data else None,
        ground_truth=(row.expected or None) if open_data else None,
        difficulty=row.stratum,
        outcome=str(row.outcome),
        timing=TrialTiming(total_s=row.latency.total_s, model_s=row.latency.agent_s, scoring_s=row.latency.judge_s),
        total_tokens=sum(known) if known else None,
        metrics=row.metrics,
        error=None if row.error is None else TrialError(kind=row.error.kind, message=row.error.message),
        final_solution=final,
        all_solutions=_steps(row, final, trace_of(transcript), strategy),
    )


def _steps(row: TaskResult, final: FinalSolution, trace: Trace | None, strategy: str) -> list[Step]:
    """A chain that told no steps has none here: one made up from its answer would be scored as a step later."""
    if trace is None:
        return [_only(row, final)] if final.content and strategy in SINGLE else []
    told = _told(row)
    return [
        _step(number, solution, told[number] if number < len(told) else {}, trace)
        for number, solution in enumerate(trace.solutions)
    ]


def _only(row: TaskResult, final: FinalSolution) -> Step:
    return Step(
        iteration=0,
        solution_content=final.content,
        is_correct=final.is_correct,
        score=final.score,
        feedback=final.feedback,
        metadata=StepMetadata(usage={} if row.usage == Usage() else {"generate": row.usage}),
    )


def _step(number: int, solution: str, told: Mapping[str, JsonValue], trace: Trace) -> Step:
    held = trace.iterations[number]
    passed, score = told.get("passed"), told.get("score")
    return Step(
        iteration=number,
        solution_content=solution,
        is_correct=passed if isinstance(passed, bool) else None,
        score=float(score) if isinstance(score, int | float) else None,
        feedback=str(told.get("feedback") or ""),
        metadata=StepMetadata(
            was_refined=number > 0 and held.solution is not None,
            carried=held.solution is None,
            skipped=held.skipped,
            verdict=held.verdict,
            usage={role: used for role, used in held.usage.items()},  # noqa: C416 - widens the type of the keys
        ),
    )
