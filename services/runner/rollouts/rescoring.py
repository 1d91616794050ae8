"""A rollout file as something to score again: its problems become the plan, its solutions the transcripts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from services.contract.assessment import ENTRY_KEYS, Plan
from services.contract.outcomes import POLICY, Outcome
from services.contract.results import ErrorInfo, Section, TaskResult, trial_key
from services.runner.evaluate.agents import NOBODY, green_here
from services.runner.failures import ScenarioError
from services.runner.journal import StoredTranscript
from services.runner.rescore import SCORED_AGAIN, Source
from services.runner.rollouts.export import EVALUATED
from services.runner.rollouts.reading import OldTrial, Rollouts, read_rollouts
from services.runner.scenario import Scenario

SECTIONS: Final = frozenset({Section.CODE, Section.MATH})
"""One question, one answer: the only conversations that this layout holds whole."""
KEPT: Final = ENTRY_KEYS | {"judge", "k", "model_id", "seed", EVALUATED}
"""Keys of the file's request that are asked again; which problems and how many trials the results say."""


def source_of_file(path: Path) -> Source:
    """What a rollout file holds, to be scored again. Raises ScenarioError for a file that is none.

    A problem that green does not know is rejected by green, by name.
    """
    file = read_rollouts(path)
    scenario = Scenario(name=f"{file.strategy or 'rollouts'} {file.benchmark}", green=green_here(), participants=())
    scenario = scenario.with_config(**_config(file))
    return Source(
        name=scenario.name,
        reference=str(path),
        scenario=scenario,
        participants=dict(NOBODY),
        asked=None,
        rows=lambda plan: _rows(file, plan),
        transcripts=lambda: _transcripts(file),
        provenance={
            "rollout_file": {
                "path": str(path),
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                "run_id": file.run_id,
                "strategy": file.strategy,
            }
        },
        reported={},
        stored=scenario.storable(),
        remarks=lambda plan: _remarks(file, plan),
    )


def _config(file: Rollouts) -> dict[str, JsonValue]:
    kept = {name: value for name, value in file.config.items() if name in KEPT}
    ids: list[JsonValue] = [*file.problem_ids]
    return {
        "seed": 0,
        EVALUATED: {"strategy": file.strategy},
        **kept,
        "datasets": [file.benchmark],
        "task_ids": ids,
        "num_trials": file.num_trials,
    }


def _transcripts(file: Rollouts) -> Iterator[tuple[str, StoredTranscript]]:
    for trial in file.trials:
        if trial.transcript is not None:
            key = trial_key(file.benchmark, trial.problem_id, trial.trial)
            yield key, StoredTranscript(transcript=trial.transcript)


def _rows(file: Rollouts, plan: Plan) -> list[TaskResult]:
    """A row for each trial that is to be scored, or that the file says why it was not."""
    section = plan.trials[0].section
    if section not in SECTIONS:
        raise ScenarioError(
            f"{file.path}: {file.benchmark} is of section {section}; its conversations are not in such a file"
        )
    strata = {trial.task_id: trial.stratum for trial in plan.trials}
    rows: list[TaskResult] = []
    for trial in file.trials:
        outcome = trial.outcome or (Outcome.SCORED if trial.transcript is not None else None)
        if outcome is None or (outcome in SCORED_AGAIN and trial.transcript is None):
            continue
        rows.append(_row(file, section, strata[trial.problem_id], trial, outcome))
    return rows


def _row(file: Rollouts, section: Section, stratum: str, trial: OldTrial, outcome: Outcome) -> TaskResult:
    """What is kept of the trial: its verdict, if it was one, is made anew and stands here as 0."""
    kind, _, message = trial.fault.partition(": ")
    return TaskResult(
        task_id=trial.problem_id,
        benchmark=file.benchmark,
        section=section,
        stratum=stratum,
        trial=trial.trial,
        outcome=outcome,
        score=0.0 if POLICY[outcome].counts else None,
        usage=trial.usage,
        latency=trial.latency,
        model=file.model,
        error=ErrorInfo(kind=kind, message=message) if trial.fault else None,
    )


def _remarks(file: Rollouts, plan: Plan) -> Sequence[str]:
    now = next(found.dataset_digest for found in plan.benchmarks if found.name == file.benchmark)
    if file.dataset_digest and now != file.dataset_digest:
        return [f"{file.benchmark} has changed since the file was written: {file.dataset_digest} then, {now} now"]
    return []
