"""Plans dealt to shards, and the results files of their runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services.contract.assessment import Plan
from services.contract.outcomes import Outcome
from services.contract.results import TaskResult
from services.runner.journal import RunStatus
from services.runner.report.results_file import result_of, results_document
from tests.runner.support.rows import make_plan, make_row, make_run

LONG = "a long answer " * 50
Document = dict[str, Any]


def whole_plan(*, tasks: int = 4, trials: int = 1, seed: int = 7) -> Plan:
    """Two benchmarks of `tasks` tasks each, with task types."""
    plan = make_plan(tasks=tasks, trials=trials, seed=seed)
    placed = tuple(
        replace(trial, position=place, stratum=f"kind-{int(trial.task_id.split('-')[1]) % 2}")
        for place, trial in enumerate(plan.trials)
    )
    config: Any = {"seed": {"value": seed, "source": "request"}, "suite": {"value": "made up", "source": "suite 1"}}
    return plan.model_copy(update={"trials": placed, "effective_config": config})


def shard_of(plan: Plan, index: int, count: int) -> Plan:
    tasks = list(dict.fromkeys((trial.benchmark, trial.task_id) for trial in plan.trials))
    mine = set(tasks[index::count])
    trials = tuple(trial for trial in plan.trials if (trial.benchmark, trial.task_id) in mine)
    return plan.model_copy(update={"trials": trials, "shard_index": index, "num_shards": count})


def rows_of(plan: Plan, outcomes: Mapping[str, Outcome | None] | None = None) -> list[TaskResult]:
    """A row for each trial; `outcomes` by key, None for a trial that has no row."""
    ends = {trial.key: Outcome.SCORED for trial in plan.trials} | dict(outcomes or {})
    return [
        make_row(trial, outcome, score=(trial.position % 7) / 6, said=LONG)
        for trial in plan.trials
        if (outcome := ends[trial.key]) is not None
    ]


def document(plan: Plan, rows: list[TaskResult] | None = None) -> Document:
    """The results file of a run of a shard."""
    made = make_run(plan, run_id=f"run-{plan.shard_index}")
    provenance = made.provenance | {"timestamp": f"2026-01-01T00:00:{plan.shard_index:02}+00:00"}
    run = made.model_copy(update={"status": RunStatus.COMPLETE, "provenance": provenance})
    found = rows_of(plan) if rows is None else rows
    return json.loads(json.dumps(results_document(run, result_of(run, found, []))))  # type: ignore[no-any-return] # JSON
