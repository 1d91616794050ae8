"""Result files for tests: made by the contract's own aggregation from plans and rows, and small ones in AgentBusters' form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.contract.aggregation import aggregate
from services.contract.assessment import Plan, PlannedBenchmark, PlannedTrial, plan_digest
from services.contract.outcomes import Outcome
from services.contract.printing import Printed
from services.contract.results import Section
from tests.runner.support.rows import make_row

FINANCE = {
    "bizfinbench": (Section.KNOWLEDGE_RETRIEVAL, ()),
    "synthetic": (Section.ANALYTICAL_REASONING, ()),
    "options": (Section.OPTIONS_TRADING, ("pnl_accuracy", "greeks_accuracy", "strategy_quality", "risk_management")),
    "crypto": (Section.CRYPTO_TRADING, ("baseline", "noisy", "adversarial", "meta")),
    "gdpval": (Section.PROFESSIONAL_TASKS, ("completion", "accuracy", "format", "professionalism")),
}
CODE = {"humaneval": (Section.CODE, ()), "imobench": (Section.MATH, ())}
BOTH = {"bizfinbench": FINANCE["bizfinbench"], "public_csv": FINANCE["bizfinbench"], **CODE}
Told = Mapping[str, float | Outcome]
"""By trial key: its score, or how else it ended. A trial that is not named scores 1."""


def plan_of(
    benchmarks: Mapping[str, tuple[Section, tuple[str, ...]]],
    *,
    tasks: int = 2,
    trials: int = 1,
    seed: int = 7,
    weights: Mapping[Section, float] | None = None,
    section_mean: Any = "tasks",
    skipped: Sequence[str] = (),
) -> Plan:
    asked = [name for name in benchmarks if name not in skipped]
    keys = [(number, name, trial) for number in range(tasks) for name in asked for trial in range(trials)]
    planned = tuple(
        PlannedTrial(
            benchmark=name, section=benchmarks[name][0], stratum=name, task_id=f"{name}-{number}",
            task_digest=f"sha256:{name}{number}", trial=trial, position=position,
        )
        for position, (number, name, trial) in enumerate(keys)
    )  # fmt: skip
    taken = tuple(
        PlannedBenchmark(
            name=name, section=section, dataset_digest="sha256:d", scorer="1", sub_scores=sub_scores,
            tasks=tasks if name in asked else 0, skipped="" if name in asked else "no such file",
        )
        for name, (section, sub_scores) in benchmarks.items()
    )  # fmt: skip
    return Plan(
        digest=plan_digest(seed=seed, trials=planned, benchmarks=taken), seed=seed, strategy="stratified", suite="made up",
        num_trials=trials, num_tasks=tasks * len(asked), benchmarks=taken, section_mean=section_mean,
        section_weights=dict(weights or dict.fromkeys((section for section, _ in benchmarks.values()), 0.2)),
        trials=planned,
    )  # fmt: skip


def shard(plan: Plan, index: int, of: int) -> Plan:
    """The tasks of a plan dealt in turn."""
    tasks = list(dict.fromkeys((trial.benchmark, trial.task_id) for trial in plan.trials))
    mine = set(tasks[index::of])
    trials = tuple(trial for trial in plan.trials if (trial.benchmark, trial.task_id) in mine)
    return plan.model_copy(update={"shard_index": index, "num_shards": of, "trials": trials})


def result_of(plan: Plan, told: Told | None = None, *, missing: Sequence[str] = (), **metadata: Any) -> dict[str, Any]:
    told = told or {}
    rows = []
    for trial in plan.trials:
        end = told.get(trial.key, 1.0)
        if trial.key not in missing:
            made = make_row(trial, end) if isinstance(end, Outcome) else make_row(trial, score=end)
            rows.append(made.model_copy(update={"transcript": None}))
    facts = {"purple_agent": {"name": "Scripted purple", "version": "1", "dialect": "1.0"}} | metadata
    return Printed().apply(aggregate(plan, rows, metadata=facts)).model_dump(mode="json")


def document_of(*results: Mapping[str, Any], agent: str = "agent-1", role: str = "purple_agent") -> dict[str, Any]:
    return {"status": "completed", "participants": {role: agent}, "results": [*results]}


def old_result(score: float, rows: Sequence[Mapping[str, Any]] = (), **sections: float) -> dict[str, Any]:
    """One evaluation in the form of schema 2.0."""
    names = {"options_trading": ("pnl_accuracy",), "crypto_trading": ("baseline", "noisy", "adversarial", "meta")}
    names["professional_tasks"] = ("completion", "accuracy", "format", "professionalism")
    return {
        "schema_version": "2.0",
        "benchmark": "An older benchmark",
        "version": "2.0.0",
        "overall_score": {"score": score, "max_score": 100.0},
        "section_scores": {
            section: {
                "score": value, "weight": 0.2, "weighted_contribution": value / 5, "datasets": ["some"], "task_count": 2,
                "accuracy": 0.5, "sub_scores": dict.fromkeys(names.get(section, ()), value),
            }
            for section, value in sections.items()
        },
        "evaluation_metadata": {
            "purple_agent": "http://purple_agent:9009/", "num_tasks": len(rows), "num_successful": 1, "conduct_debate": False,
        },
        "detailed_results": [],
        "config_summary": {"total": len(rows)},
        "results": [*rows],
    }  # fmt: skip


def old_row(number: int, dataset: str = "synthetic", **more: Any) -> dict[str, Any]:
    return {"example_id": f"e-{number}", "dataset_type": dataset, "predicted": "42", "is_correct": True} | more


def write(folder: Path, **documents: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document, indent=1))
    return folder
