"""The whole plan of an assessment from the trials of its shards, some of which may be missing. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic import JsonValue

from services.contract.assessment import Plan, PlannedBenchmark, PlannedTrial, plan_digest
from services.contract.plan_record import PlanRecord

SHARDS: Final = "shards"
SHARDS_MISSING: Final = "shards_missing"
"""Facts of a merged result: what it was made of, and the numbers of the shards that were not there."""
FREELY_UNNAMED: Final = 10_000
UNNAMED_EACH: Final = 100
"""Trials without a name that a plan may have in any case, and more for each that has one."""
NOT_KNOWN: Final = "(missing shard)"
"""Task type of the trials that only a missing shard could name."""


def whole_plan(record: PlanRecord, trials: Sequence[PlannedTrial], config: Mapping[str, JsonValue]) -> Plan:
    """What only missing shards could name stands in it as trials without a name, so that it stays planned."""
    found = Counter(trial.benchmark for trial in trials)
    nameless = [
        trial
        for benchmark in record.benchmarks
        for trial in _nameless(
            benchmark, benchmark.tasks - found[benchmark.name] // record.num_trials, record.num_trials
        )
    ]
    update = {"shard_index": 0, "num_shards": 1, "trials": (*trials, *nameless)}
    return record.plan(config).model_copy(update=update)


def unnamed_faults(record: PlanRecord, trials: Sequence[PlannedTrial]) -> Iterator[str]:
    """A small file must not claim a huge plan, of which each trial would be made up here."""
    planned = record.num_tasks * record.num_trials
    if planned > FREELY_UNNAMED + UNNAMED_EACH * len(trials):
        yield f"only {len(trials)} of the {planned} trials of the plan are there, too few to say anything of it"


def whole_faults(record: PlanRecord, trials: Sequence[PlannedTrial]) -> Iterator[str]:
    """Why trials are not those of the plan that the record tells of, or a part of them."""
    found = Counter(trial.benchmark for trial in trials)
    owed = {benchmark.name: benchmark.tasks * record.num_trials for benchmark in record.benchmarks}
    planned = record.num_tasks * record.num_trials
    for name in sorted(name for name in owed if found[name] > owed[name]):
        yield f"{found[name]} trials of {name}, the plan has {owed[name]}"
    if sum(owed.values()) != planned:
        yield f"the plan's benchmarks have {sum(owed.values())} trials, the plan itself {planned}"
    if len(trials) < planned:
        return
    again = plan_digest(seed=record.seed, trials=trials, benchmarks=record.benchmarks)
    if again != record.digest:
        yield f"the trials give plan {again}, not {record.digest}: a file was changed after it was written"


def _nameless(benchmark: PlannedBenchmark, tasks: int, num_trials: int) -> Iterator[PlannedTrial]:
    for number in range(tasks):
        for trial in range(num_trials):
            yield PlannedTrial(
                benchmark=benchmark.name,
                section=benchmark.section,
                stratum=NOT_KNOWN,
                task_id=f"{NOT_KNOWN} {number}",
                task_digest="",
                trial=trial,
            )
