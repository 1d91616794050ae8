"""Plans dealt to shards, from the request to the trials of each (interop specification 4.2)."""

from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.contract.assessment import Plan, RequestError, parse_config, plan_digest
from services.contract.plan_record import PlanRecord
from services.green_agent.precedence import settle
from services.green_agent.preparation import prepare
from services.green_agent.suite import Suite, load_suite

DEFAULT = Path(__file__).parents[2] / "config" / "evals" / "offline.yaml"


@cache
def suite() -> Suite:
    return load_suite(DEFAULT)


def plan(**config: object) -> Plan:
    asked = {"datasets": ["synthetic", "options"]} | config
    return prepare(settle(parse_config(asked), suite(), variables={})).plan


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 80), st.integers(1, 3), st.integers(1, 20))
def test_the_shards_of_a_request_are_its_plan_with_all_trials_of_a_task_together(
    tasks: int, trials: int, count: int
) -> None:
    whole = plan(num_tasks=tasks, num_trials=trials)

    shards = [plan(num_tasks=tasks, num_trials=trials, num_shards=count, shard_index=n) for n in range(count)]

    assert {shard.digest for shard in shards} == {whole.digest}
    assert {shard.num_tasks for shard in shards} == {whole.num_tasks}
    union = sorted((trial for shard in shards for trial in shard.trials), key=lambda trial: trial.position)
    assert union == list(whole.trials)
    assert plan_digest(seed=whole.seed, trials=union, benchmarks=whole.benchmarks) == whole.digest
    for shard in shards:
        assert len(shard.trials) == trials * len({trial.task_id for trial in shard.trials})
        assert PlanRecord.of(shard).plan(shard.effective_config).trials == shard.trials


def test_num_instances_is_the_total_over_all_shards_and_replaces_num_tasks() -> None:
    shards = [plan(num_tasks="99", num_instances="25", num_shards="10", shard_index=str(index)) for index in range(10)]

    assert [len(shard.trials) for shard in shards] == [3, 3, 3, 3, 3, 2, 2, 2, 2, 2]
    assert {shard.num_tasks for shard in shards} == {25}


def test_a_shard_more_than_there_are_tasks_has_the_plans_digest_and_no_trial() -> None:
    surplus = plan(num_tasks=5, num_shards=6, shard_index=5)

    assert surplus.trials == ()
    assert surplus.digest == plan(num_tasks=5).digest


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"shard_index": "10", "num_shards": "10"}, "shard_index 10 is not below num_shards 10"),
        ({"shard_index": 1}, "shard_index 1 is not below num_shards 1"),
        ({"shard_index": -1, "num_shards": 2}, "shard_index"),
        ({"num_shards": 0}, "num_shards"),
        ({"num_shards": "three"}, "num_shards"),
    ],
)
def test_a_shard_that_cannot_be_is_refused(config: dict[str, object], reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        plan(**config)
