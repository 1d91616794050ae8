"""The file that leaderboards read: its words, and fields of one type."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.contract.outcomes import Outcome
from services.contract.results import AGENTBUSTERS_SECTIONS
from services.runner.journal import RunRecord, RunStatus
from services.runner.report.results_file import result_of, results_document
from tests.runner.support.rows import make_plan, make_row, make_run
from tests.runner.support.shards import shard_of, whole_plan


def document(run: RunRecord, outcome: Outcome = Outcome.SCORED) -> Any:
    rows = [make_row(trial, outcome) for trial in run.plan.trials]
    return json.loads(json.dumps(results_document(run, result_of(run, rows, []))))


def facts(run: RunRecord) -> Any:
    return document(run)["results"][0]["evaluation_metadata"]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (RunStatus.COMPLETE, "completed"),
        (RunStatus.INCOMPLETE, "completed"),
        (RunStatus.INTERRUPTED, "canceled"),
        (RunStatus.LOST, "failed"),
        (RunStatus.RUNNING, "failed"),
    ],
)
def test_the_status_is_said_in_the_words_of_the_gateway(status: RunStatus, word: str) -> None:
    run = make_run(make_plan()).model_copy(update={"status": status})

    assert document(run)["status"] == word


@pytest.mark.parametrize(("count", "word"), [(1, "failed"), (4, "completed")])
def test_only_a_whole_assessment_without_any_score_has_failed(count: int, word: str) -> None:
    run = make_run(shard_of(whole_plan(), 0, count)).model_copy(update={"status": RunStatus.INCOMPLETE})

    assert document(run, Outcome.INFRA_ERROR)["status"] == word


def test_sections_that_are_not_planned_are_there_and_null() -> None:
    sections = document(make_run(make_plan()))["results"][0]["section_scores"]

    assert {name for name, score in sections.items() if score is None} == {
        str(name) for name in AGENTBUSTERS_SECTIONS if name != "options_trading"
    }


def test_a_participant_goes_by_its_platform_id_or_else_by_its_name() -> None:
    run = make_run(make_plan())
    agents: Any = [{"role": "a", "agentbeats_id": "019b"}, {"role": "b"}]

    told = document(run.model_copy(update={"scenario": run.scenario | {"participants": agents}}))["participants"]

    assert told == {"a": "019b", "b": "b"}


def test_a_config_of_texts_is_told_like_one_of_numbers() -> None:
    run = make_run(make_plan())
    told = [
        facts(run.model_copy(update={"provenance": run.provenance | {"config": config}}))["provenance"]["config"]
        for config in ({"num_tasks": "10", "conduct_debate": "true"}, {"num_tasks": 10, "conduct_debate": True})
    ]

    assert told == [{"num_tasks": 10, "conduct_debate": True}] * 2


def test_what_green_did_not_live_to_say_is_filled_in_from_what_the_runner_knows() -> None:
    told = facts(make_run(make_plan()))

    assert told["purple_agent"] == {"name": "Scripted purple", "version": "1"}
    assert (told["conduct_debate"], told["ignored_keys"]) == (False, [])
