"""What the pages of a report show: the result, its honest labels, and every trial. Pure; formatting is the templates'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import JsonValue

from services.contract.conversation import ModelFacts, Usage
from services.contract.outcomes import POLICY, Outcome
from services.contract.results import AssessmentResult, DatasetScore, OverallScore, SectionScore, TaskResult
from services.runner import fitness, statistics
from services.runner.journal import RunRecord, RunStatus, StoredTranscript
from services.runner.report.measures import MeasureLine, lines_of

REFERENCE_FINGERPRINT: Final = "reference-engine"
"""How the `system_fingerprint` of the engine without a model begins (inference specification 8)."""
POOR_KAPPA: Final = 0.6
"""Agreement below which a judge's verdicts deserve a warning (finance specification 12)."""
MISSING: Final = "missing"
OUTCOME_ORDER: Final = ("passed", "scored", *(str(o) for o in Outcome if o is not Outcome.SCORED), MISSING)
"""Of the bars: `passed` and `scored` (below the pass mark) are both outcome `scored`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Banner:
    """Something a reader must know before the number."""

    level: str
    """`warning` or `notice`."""
    title: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkView:
    """One benchmark of a section."""

    name: str
    score: DatasetScore
    outcomes: list[tuple[str, int]]
    agent_s: statistics.Quantiles | None
    usage: Usage


@dataclass(frozen=True, kw_only=True, slots=True)
class SectionView:
    """One section and its benchmarks."""

    score: SectionScore
    benchmarks: list[BenchmarkView]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialView:
    """One planned trial: its row, unless it is missing, and what was said."""

    number: int
    key: str
    benchmark: str
    task_id: str
    trial: int
    stratum: str
    label: str
    """`passed`, an outcome, or `missing`."""
    row: TaskResult | None
    said: StoredTranscript


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportView:
    """Everything of a report."""

    run: RunRecord
    result: AssessmentResult
    overall: OverallScore
    headline_purple: str
    banners: list[Banner]
    sections: list[SectionView]
    outcomes: list[tuple[str, int]]
    faults: list[statistics.Fault]
    agent_s: statistics.Quantiles | None
    latency_bins: list[tuple[float, float, int]]
    usage: Usage
    measures: list[MeasureLine]
    known_issues: list[statistics.KnownIssue]
    retried: int
    duration_s: float | None
    trials: list[TrialView]
    models: list[ModelFacts]
    facts: list[tuple[str, str]]
    """The run record, flat."""


def build_view(
    run: RunRecord,
    result: AssessmentResult,
    rows: Sequence[TaskResult],
    transcripts: Mapping[str, StoredTranscript],
) -> ReportView:
    """Arrange a run for reading."""
    by_key = {row.key: row for row in rows}
    models = models_that_answered(transcripts.values())
    trials = [
        TrialView(
            number=number,
            key=planned.key,
            benchmark=planned.benchmark,
            task_id=planned.task_id,
            trial=planned.trial,
            stratum=planned.stratum,
            label=label_of(by_key.get(planned.key)),
            row=by_key.get(planned.key),
            said=transcripts.get(planned.key, StoredTranscript()),
        )
        for number, planned in enumerate(run.plan.trials, 1)
    ]
    spoken = [row.latency.agent_s for row in rows if row.latency.agent_s > 0]
    return ReportView(
        run=run,
        result=result,
        overall=result.overall_score,
        headline_purple=_purple(run),
        banners=banners(run, result, models),
        sections=_sections(result, trials),
        outcomes=_outcomes(trials),
        faults=statistics.faults(rows),
        agent_s=statistics.quantiles(spoken),
        latency_bins=statistics.histogram(spoken, bins=24),
        usage=statistics.usage_total(rows),
        measures=lines_of(result.dataset_scores),
        known_issues=statistics.known_issues(rows),
        retried=sum(bool(row.attempts) for row in rows),
        duration_s=_duration_s(run),
        trials=trials,
        models=models,
        facts=[
            *_model_facts(models),
            *_switched_calls(rows),
            *fitness.facts(run.provenance),
            *_flattened("", _without_fitness(run.provenance)),
        ],
    )


def label_of(row: TaskResult | None) -> str:
    """How a trial is shown in one word."""
    if row is None:
        return MISSING
    return "passed" if row.passed and POLICY[row.outcome].counts else str(row.outcome)


def models_that_answered(transcripts: Iterable[StoredTranscript]) -> list[ModelFacts]:
    """Each model that the agent says it used, once."""
    said = {
        turn.reply.model.model_dump_json(): turn.reply.model
        for stored in transcripts
        if stored.transcript is not None
        for turn in stored.transcript.turns
        if turn.reply is not None and turn.reply.model is not None
    }
    return [said[key] for key in sorted(said)]


def banners(run: RunRecord, result: AssessmentResult, models: Sequence[ModelFacts]) -> list[Banner]:
    """What qualifies the number, gravest first."""
    return [*_incomplete(run, result), *labels(run, result, models)]


def labels(run: RunRecord, result: AssessmentResult, models: Sequence[ModelFacts]) -> list[Banner]:
    """What qualifies the number even when nothing is missing; it goes wherever the number goes."""
    found = [*_reference(run, models), *_sandbox(run), *_unfit(run), *_judge(run, result)]
    found += [
        Banner(level="notice", title=f"Left out: {shortfall.stratum}", text=shortfall.reason)
        for shortfall in run.plan.shortfalls
    ]
    return found


def _incomplete(run: RunRecord, result: AssessmentResult) -> list[Banner]:
    overall = result.overall_score
    counted = sum(section.counted for section in result.sections)
    planned = sum(section.planned for section in result.sections)
    if counted == planned:
        return []
    why = {
        RunStatus.INTERRUPTED: " The run was interrupted.",
        RunStatus.LOST: " An agent was lost during the run.",
        RunStatus.RUNNING: " The runner is still at work, or was killed.",
    }.get(run.status, "")
    return [
        Banner(
            level="warning",
            title=f"Incomplete: {planned - counted} of {planned} trials are not scored",
            text=f"With them the score could lie anywhere from {overall.lower:.1f} to {overall.upper:.1f}.{why}"
            + (" To run only what is missing: " if run.rescored_from is None else " To score again: ")
            + run.remedy,
        )
    ]


def _reference(run: RunRecord, models: Sequence[ModelFacts]) -> list[Banner]:
    answered = any((model.fingerprint or "").startswith(REFERENCE_FINGERPRINT) for model in models)
    if not answered and not run.provenance.get("reference_engine"):
        return []
    return [
        Banner(
            level="warning",
            title="Reference engine, no language model",
            text="The answers come from a program without weights. The numbers show that the machinery works; they say"
            " nothing about any model.",
        )
    ]


def _sandbox(run: RunRecord) -> list[Banner]:
    sandbox = run.reported.get("sandbox")
    if not isinstance(sandbox, dict) or sandbox.get("isolated") is not False:
        return []
    return [
        Banner(
            level="warning",
            title="Unsafe sandbox",
            text=f"Programs written by the agent ran without isolation (backend {sandbox.get('backend')}): they could"
            " read the tests and change the evaluator. Do not compare these numbers.",
        )
    ]


def _unfit(run: RunRecord) -> list[Banner]:
    """Checks of the model endpoint that failed before the run, one line each."""
    return [
        Banner(
            level="warning",
            title=f"Endpoint of {role} failed {finding.id}: {finding.title}",
            text=f"{endpoint.url}: {finding.seen} Cure: {finding.cure}",
        )
        for role, endpoint, finding in fitness.failures(run.provenance)
    ]


def _judge(run: RunRecord, result: AssessmentResult) -> list[Banner]:
    """Which judge decided and how far it can be trusted."""
    told, summary = run.reported.get("judge_config"), result.evaluation_metadata.get("judge")
    if not isinstance(summary, dict) or not summary.get("calls"):
        return []
    # Green says how it is calibrated at the end of a run; until then it counts as not calibrated.
    known = told if isinstance(told, dict) else {}
    kappa, headline = known.get("kappa"), known.get("headline", "judge: uncalibrated")
    poor = not isinstance(kappa, int | float) or kappa < POOR_KAPPA
    models = ", ".join(map(str, summary["models"])) if isinstance(summary["models"], list) else ""
    failures = summary.get("failures")
    failed = sum(n for n in failures.values() if isinstance(n, int)) if isinstance(failures, dict) else 0
    text = f"{summary['calls']} calls, {summary['cached']} from the cache, {failed} without a verdict."
    if fallen := summary.get("trials_with_rule_fallback"):
        text += f" In {fallen} trials the rule decided in its place."
    if suspected := summary.get("injections_suspected"):
        text += f" In {suspected} trials the answer tried to instruct it."
    return [Banner(level="warning" if poor else "notice", title=f"{headline} ({models})", text=text)]


def _purple(run: RunRecord) -> str:
    agents = run.provenance.get("agents")
    scenario = run.scenario.get("participants")
    first = scenario[0] if isinstance(scenario, list) and scenario else {}
    config = run.request.get("config")
    wanted = config.get("purple_role") if isinstance(config, dict) else None
    role = wanted or (first.get("role") if isinstance(first, dict) else None) or "purple"
    card = agents.get(str(role)) if isinstance(agents, dict) else None
    if not isinstance(card, dict) or not card.get("name"):
        return str(role)
    return f"{card['name']} {card.get('version', '')}".strip()


def _sections(result: AssessmentResult, trials: Sequence[TrialView]) -> list[SectionView]:
    views: list[SectionView] = []
    for section in result.sections:
        full = result.section_scores.get(section.section) or section
        names = [name for name, score in result.dataset_scores.items() if score.section is section.section]
        views.append(
            SectionView(
                score=full, benchmarks=[_benchmark(name, result.dataset_scores[name], trials) for name in names]
            )
        )
    return views


def _benchmark(name: str, score: DatasetScore, trials: Sequence[TrialView]) -> BenchmarkView:
    own = [trial for trial in trials if trial.benchmark == name]
    rows = [trial.row for trial in own if trial.row is not None]
    return BenchmarkView(
        name=name,
        score=score,
        outcomes=_outcomes(own),
        agent_s=statistics.quantiles([row.latency.agent_s for row in rows if row.latency.agent_s > 0]),
        usage=statistics.usage_total(rows),
    )


def _outcomes(trials: Iterable[TrialView]) -> list[tuple[str, int]]:
    counts = Counter(trial.label for trial in trials)
    return [(label, counts[label]) for label in OUTCOME_ORDER if counts[label]]


def _duration_s(run: RunRecord) -> float | None:
    """Of a run in one go; a resumed run has idle time in between."""
    if run.finished is None or "earlier_executions" in run.provenance:
        return None
    return (datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.created)).total_seconds()


def _model_facts(models: Sequence[ModelFacts]) -> list[tuple[str, str]]:
    return [
        ("model that answered", ", ".join(filter(None, (model.provider, model.model, model.fingerprint))))
        for model in models
    ]


def _switched_calls(rows: Sequence[TaskResult]) -> list[tuple[str, str]]:
    switched = sum(row.model_calls.switched for row in rows if row.model_calls is not None)
    return [("model calls that another server took over", str(switched))] if switched else []


def _without_fitness(value: JsonValue) -> JsonValue:
    """Told in lines of its own; the journal and results.json have it whole."""
    if isinstance(value, dict):
        return {name: _without_fitness(item) for name, item in value.items() if name != fitness.KEY}
    return [_without_fitness(item) for item in value] if isinstance(value, list) else value


def _flattened(prefix: str, value: JsonValue) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _flattened(f"{prefix}.{key}" if prefix else key, item)
    elif isinstance(value, list):
        if value:
            yield prefix, ", ".join(str(item) for item in value)
    elif value not in {None, ""}:
        yield prefix, str(value)
