"""What contradicts itself, or does not belong together, is left out of a leaderboard with its reason."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.runner.leaderboard.reading import Found, read_folders
from tests.runner.leaderboard.files import CODE, Told, document_of, plan_of, result_of, shard, write

PLAN = plan_of(CODE, tasks=5)
KEYS = [trial.key for trial in PLAN.trials]


def read(folder: Path, **documents: object) -> Found:
    return read_folders([write(folder, **documents)])


def reasons(found: Found) -> list[str]:
    return [skipped.reason for skipped in found.skipped]


def ended(count: int, end: float) -> Told:
    """The first `count` trials end so, the others with 0.8."""
    return dict.fromkeys(KEYS, 0.8) | dict.fromkeys(KEYS[:count], end)


def changed(result: dict[str, Any], *path: str | int, value: object) -> dict[str, Any]:
    copy = json.loads(json.dumps(result))
    place = copy
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return document_of(copy)


RESULT = result_of(PLAN, ended(2, 0.3))


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("overall_score", "score"), 99.0, "contradicts itself: overall_score.score is 99.0, its rows give 70.0"),
        (("overall_score", "lower"), 69.0, "overall_score.lower is 69.0, its rows give 70.0"),
        (("sections", 0, "score"), 99.0, "sections[0].score is 99.0, its rows give 70.0"),
        (("section_scores", "code", "score"), 90.0, "section_scores.code.score is 90.0, its rows give 70.0"),
        (("section_scores", "code", "interval_low"), 0.5, "section_scores.code is not what `sections` says"),
        (("sections", 0, "score_sum"), 5.0, "sections[0].score_sum is 5.0, its rows give 3.5"),
        (("results", 0, "score"), 1.0, "overall_score.score is 70.0, its rows give 77.0"),
        (("results", 0, "outcome"), "infra_error", "broken: results.0: Value error"),
        (("results", 0, "task_id"), "easier", "row 'humaneval|easier|0' is not in its plan"),
        (("sections", 0, "counted"), 6, "sections[0].counted is 6, its rows give 5"),
        (("evaluation_metadata", "plan_digest"), "sha256:other", "plan_digest is 'sha256:other', its plan says 'sha256:"),
        (("evaluation_metadata", "plan", "seed"), 1, "the trials give plan sha256:"),
        (("evaluation_metadata", "plan", "trials"), [], "its plan holds 0 trials, shard 0 of 1 has 10"),
        (("evaluation_metadata", "plan", "benchmarks"), 3, "broken: evaluation_metadata.plan.benchmarks: "),
        (("schema_version",), "3.0", "schema_version 3.0 is newer than this `assay` reads"),
        (("schema_version",), "2.1", "written before results kept their plan"),
        (("schema_version",), "old", "schema_version 'old' is none of ours"),
        (("sections",), None, "broken: sections: Input should be a valid list"),
    ],
)  # fmt: skip
def test_a_result_that_says_two_things_is_left_out_aloud(
    tmp_path: Path, path: tuple[str | int, ...], value: object, reason: str
) -> None:
    found = read(tmp_path, one=changed(RESULT, *path, value=value), other=document_of(RESULT))

    assert len(found.entries) == 1
    assert [skipped.file for skipped in found.skipped] == ["one.json"]
    assert reason in reasons(found)[0]


def edited(edit: Callable[[dict[str, Any]], object], result: dict[str, Any] = RESULT) -> dict[str, Any]:
    copy = json.loads(json.dumps(result))
    edit(copy)
    return document_of(copy, agent="edited")


def plan_in(result: dict[str, Any]) -> Any:
    return result["evaluation_metadata"]["plan"]


def praised(result: dict[str, Any]) -> None:
    """All numbers but those of the rows."""
    for score in (*result["sections"], *filter(None, result["section_scores"].values())):
        score.update(score=99.0, lower=99.0, upper=99.0)
    result["overall_score"].update(score=99.0, lower=99.0, upper=99.0)


def weighed(result: dict[str, Any]) -> None:
    for score in (*result["sections"], *filter(None, result["section_scores"].values())):
        score["weight"] = float(score["section"] == "math")
    result["overall_score"].update(score=80.0, lower=80.0, upper=80.0)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (praised, "overall_score.score is 99.0, its rows give 64.0"),
        (weighed, "overall_score.score is 80.0, its rows give 64.0"),
        (lambda r: r["overall_score"].update(upper=math.nan), "overall_score.upper is nan"),
        (lambda r: r["overall_score"].update(interval_low=-math.inf), "overall_score: 95 % interval -inf"),
        (lambda r: r["evaluation_metadata"]["outcomes"].update(scored=99), "outcomes.scored is 99, its rows give 10"),
        (lambda r: r["evaluation_metadata"].update(num_successful=99), "num_successful is 99, its rows give 6"),
        (lambda r: r["results"][0].update(section="math"), "is of math/humaneval, planned as code/humaneval"),
        (lambda r: r["dataset_scores"]["imobench"].update(score=99.0), "dataset_scores.imobench.score is 99.0"),
        (
            lambda r: r["evaluation_metadata"]["plan"].update(num_tasks=1),
            "its plan holds 10 trials, shard 0 of 1 has 1",
        ),
        (lambda r: plan_in(r)["benchmarks"][0].update(tasks=6), "benchmarks have 11 trials, the plan itself 10"),
        (
            lambda r: plan_in(r)["benchmarks"][0].update(tasks=-1),
            "a plan of 10 tasks, 1 trials each, in 1 shards cannot",
        ),
        (lambda r: plan_in(r).update(k=[0]), "a plan of 10 tasks, 1 trials each, in 1 shards cannot"),
        (lambda r: plan_in(r)["benchmarks"].append(plan_in(r)["benchmarks"][0]), "its plan holds a data set twice"),
        (lambda r: plan_in(r)["trials"].__setitem__(1, plan_in(r)["trials"][0]), "its plan holds trial"),
        (lambda r: plan_in(r)["section_weights"][0].update(weight=-1.0), "weighs a section with less than nothing"),
        (lambda r: r["evaluation_metadata"].update(num_tasks=9), "num_tasks is 9, its rows give 10"),
        (lambda r: r["sections"].append(r["sections"][0]), "sections is [{"),
        (
            lambda r: r["dataset_scores"]["imobench"].update(interval_high=101.0),
            "dataset_scores.imobench: 95 % interval",
        ),
        (lambda r: r["dataset_scores"].update(more=r["dataset_scores"]["imobench"]), "dataset_scores.more is {"),
        (lambda r: r["evaluation_metadata"].update(results_streamed_only=True), "holds no rows, they were streamed"),
    ],
)
def test_numbers_that_do_not_follow_from_the_rows_are_not_ranked(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], reason: str
) -> None:
    found = read(tmp_path, one=edited(edit, result_of(PLAN, ended(4, 0.4))))

    assert found.entries == []
    assert reason in reasons(found)[0]


def test_shards_that_all_hold_the_easy_tasks_are_left_out_aloud(tmp_path: Path) -> None:
    first = shard(PLAN, 0, 4)
    easy = [trial for trial in PLAN.trials if trial.benchmark == "humaneval"]
    many = [
        PLAN.model_copy(
            update={
                "trials": tuple(replace(trial, task_id=f"{trial.task_id} {index}") for trial in easy),
                "shard_index": index,
                "num_shards": 4,
            }
        )
        for index in range(2)
    ]

    found = read(
        tmp_path,
        same=document_of(result_of(first), result_of(first.model_copy(update={"shard_index": 1}))),
        stuffed=document_of(*map(result_of, many)),
    )

    assert found.entries == []
    assert [re.split(": an artifact|; ", reason)[0] for reason in reasons(found)] == [
        "its shards cannot be added up: results[1]: trial 'humaneval|humaneval-0|0' is in results[0] already",
        "contradicts itself: its plan holds 5 trials, shard 0 of 4 has 3",
        "contradicts itself: its plan holds 5 trials, shard 1 of 4 has 3",
    ]


@pytest.mark.parametrize("update", [{"num_shards": 500_000}, {"shards_missing": [1]}])
def test_a_small_file_does_not_claim_a_plan_of_a_million_trials(tmp_path: Path, update: dict[str, Any]) -> None:
    counts = tuple(b.model_copy(update={"tasks": 500_000}) for b in PLAN.benchmarks)
    huge = PLAN.model_copy(update={"num_tasks": 1_000_000, "benchmarks": counts})
    dealt = huge.model_copy(update={"num_shards": 500_000, "trials": PLAN.trials[:2]})
    result = result_of(dealt) if "num_shards" in update else result_of(huge, **update)

    found = read(tmp_path, small=document_of(result))

    assert found.entries == []
    assert "of the 1000000 trials of the plan are there, too few to say anything of it" in reasons(found)[0]


def test_shards_of_different_agents_are_not_added_up(tmp_path: Path) -> None:
    mine, other = (result_of(shard(PLAN, n, 2), purple_agent={"name": f"agent {n}", "version": "1"}) for n in (0, 1))

    found = read(tmp_path, both=document_of(mine, other))

    assert found.entries == []
    assert reasons(found) == [
        "its shards cannot be added up: results[1]: agent 'agent 1 1', results[0] has 'agent 0 1'"
    ]


def test_shards_that_do_not_belong_together_are_left_out_aloud(tmp_path: Path) -> None:
    one, two = (result_of(shard(PLAN, index, 2)) for index in range(2))
    heavier = json.loads(json.dumps(two))
    heavier["evaluation_metadata"]["plan"]["section_weights"][0]["weight"] = 0.9

    found = read(tmp_path, twice=document_of(one, one, two), weights=document_of(one, heavier))

    assert found.entries == []
    assert [re.split("; |$", reason)[0][:70] for reason in reasons(found)] == [
        "its shards cannot be added up: results[1]: shard 0 is in results[0] already"[:70],
        "its shards cannot be added up: results[1]: plan.section_weights is [{'se"[:70],
    ]
