"""What `assay evaluate` prints at its end: one line a run, or one JSON object."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from services.contract.results import Measure, Measures
from services.runner.evaluate.flow import Evaluated, Planned
from services.runner.failures import ExitCode
from services.runner.summary import aligned, summary_object

_HEAD = ("benchmark", "strategy", "pass@1", "95 % interval", "pass@k", "oracle", "coverage", "n", "run")


def table_of(done: Sequence[Evaluated]) -> str:
    """Rates in per cent. `oracle` is best of trajectory: what was right on the way, which takes the answer key to know."""
    labels = {
        f"! {banner.title}. {banner.text}"
        for one in done
        if one.outcome is not None and one.outcome.report is not None
        for banner in one.outcome.report.view.banners
    }
    return "\n".join([*sorted(labels), *([""] if labels else []), *aligned([_HEAD, *map(_row, done)])])


def plan_lines(planned: Sequence[Planned]) -> str:
    """What would be run."""
    head = ("benchmark", "strategy", "tasks", "trials", "section", "plan")
    body = [
        (
            one.case.benchmark,
            one.case.strategy,
            str(one.plan.num_tasks),
            str(len(one.plan.trials)),
            str(one.section),
            one.plan.digest[:19],
        )
        for one in planned
    ]
    short = [f"short: {shortfall.reason}" for one in planned for shortfall in one.plan.shortfalls]
    return "\n".join([*aligned([head, *body]), *dict.fromkeys(short)])


def plan_object(planned: Sequence[Planned]) -> dict[str, JsonValue]:
    """The object of `--dry-run --json`."""
    return {
        "plans": [
            {
                "benchmark": one.case.benchmark,
                "strategy": one.case.strategy,
                "tasks": one.plan.num_tasks,
                "trials": len(one.plan.trials),
                "plan_digest": one.plan.digest,
            }
            for one in planned
        ]
    }


def result_object(done: Sequence[Evaluated], code: ExitCode) -> dict[str, JsonValue]:
    """The object of `--json`."""
    return {"exit_code": int(code), "runs": [_object(one) for one in done]}


def _object(one: Evaluated) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {
        "benchmark": one.planned.case.benchmark,
        "strategy": one.planned.case.strategy,
        "rollouts": [str(path) for path in one.rollouts],
        "exit_code": int(one.exit_code),
        "error": None if one.error is None else str(one.error),
    }
    measures = _measures(one)
    told = {} if one.outcome is None else summary_object(one.outcome)
    return {**told, **found, "measures": None if measures is None else measures.model_dump(mode="json")}


def _measures(one: Evaluated) -> Measures | None:
    if one.outcome is None or one.outcome.report is None:
        return None
    score = one.outcome.report.result.dataset_scores.get(one.planned.case.benchmark)
    return None if score is None else score.measures


def _row(one: Evaluated) -> tuple[str, ...]:
    case = one.planned.case
    measures = _measures(one)
    if one.outcome is None or one.outcome.report is None:
        return (case.benchmark, case.strategy, *("-" * 6), "not run" if one.outcome is None else one.outcome.run_id)
    score = one.outcome.report.result.dataset_scores[case.benchmark]
    once = measures.pass_at.get(1) if measures is not None else None
    if once is None:  # single trials without further measures: the share that passed
        once = Measure(value=score.accuracy, n=score.counted, lower=None, upper=None)
    most = max(measures.pass_at, default=1) if measures is not None else 1
    best = f"@{most} {_percent(measures.pass_at[most].value)}" if measures is not None and most > 1 else "-"
    oracle = measures.oracle_best_of_trajectory if measures is not None else None
    return (
        case.benchmark,
        case.strategy,
        _percent(once.value),
        "unknown" if once.lower is None else f"{_percent(once.lower)}..{_percent(once.upper)}",
        best,
        "-" if oracle is None else _percent(oracle.value),
        f"{100 * score.counted / score.planned:.1f} %",
        f"{score.counted}/{score.planned}",
        one.outcome.run_id,
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
