"""A stored run in the guide's layout, and a file of that layout as trials again."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.contract.conversation import Iteration, Reply, Trace, Transcript, Turn, Usage
from services.contract.outcomes import Outcome
from services.contract.results import TaskResult
from services.runner.failures import ScenarioError
from services.runner.journal import Journal, RunStatus
from services.runner.progress import Silent
from services.runner.rollouts.export import rollout_file
from services.runner.rollouts.reading import read_rollouts
from services.runner.rollouts.writing import kept_fresh, write_rollouts
from tests.runner.support.processes import await_true
from tests.runner.support.rows import make_plan, make_row, make_run

PLAN = make_plan(tasks=2, trials=2)
BETA = [trial for trial in PLAN.trials if trial.benchmark == "beta"]
SPENT = Usage(input_tokens=10, output_tokens=5, calls=1)
CHAIN = Trace(
    strategy="self_eval_sequential",
    iterations=(
        Iteration(solution="wrong", usage={"generate": SPENT}),
        Iteration(solution="right", verdict="no", usage={"verify": SPENT, "decide": SPENT, "refine": SPENT}),
        Iteration(solution=None, skipped="too_long"),
    ),
)


def chained(row: TaskResult) -> TaskResult:
    """The row of a chain that was wrong, was mended and stayed so."""
    verdicts = (False, True, True)
    told = [
        {"iteration": number, "passed": right, "score": float(right), "feedback": "seen", "usage": usage}
        for number, (right, usage) in enumerate(
            zip(
                verdicts, [{r: u.model_dump() for r, u in step.usage.items()} for step in CHAIN.iterations], strict=True
            )
        )
    ]
    turn = Turn(question="How much?", reply=Reply(text="right", trace=CHAIN))
    return row.model_copy(
        update={
            "details": {"iterations": told},
            "metrics": {"oracle_passed": True, "pass_rate": 1.0},
            "transcript": Transcript(turns=(turn,)),
        }
    )


def stored(folder: Path, rows: list[TaskResult]) -> str:
    with closing(Journal.open(folder)) as journal:
        journal.create_run(make_run(PLAN))
        journal.record_all(make_run(PLAN).id, rows)
        journal.finish(make_run(PLAN).id, RunStatus.INCOMPLETE)
    return make_run(PLAN).id


def written(folder: Path, rows: list[TaskResult]) -> dict[str, Any]:
    paths = write_rollouts(folder, stored(folder, rows))
    (path,) = [path for path in paths if path.parent.name == "beta_rollouts"]
    return json.loads(path.read_text())  # type: ignore[no-any-return] # read as a test reads it


def test_the_file_lies_where_the_guide_says_and_holds_the_layout(tmp_path: Path) -> None:
    rows = [chained(make_row(BETA[0])), make_row(BETA[1], score=0.0), make_row(BETA[2], Outcome.AGENT_ERROR)]

    file = written(tmp_path, rows)

    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.glob("*_rollouts/*"))] == [
        "alpha_rollouts/self_eval_sequential_alpha_20260101_000000.json",
        "beta_rollouts/self_eval_sequential_beta_20260101_000000.json",
    ]
    assert (file["benchmark"], file["complete"], file["coverage"]) == ("beta", False, 0.75)
    assert file["digests"] == {"dataset": "sha256:d", "scorer": "1"}
    metrics = file["metrics"]
    assert (metrics["pass@1"]["value"], metrics["pass@1"]["n"]) == (0.25, 2)
    assert (metrics["pass@k"]["2"]["value"], metrics["pass@k"]["2"]["left_out"]) == (1.0, 1)
    assert metrics["pass^k"]["2"]["value"] == 0.0
    assert metrics["bounds"] == {"lower": 0.25, "upper": 0.5}
    assert metrics["by_difficulty"]["beta-kind"]["value"] == 0.25
    assert [step["accuracy"] for step in metrics["accuracy_by_iteration"]] == [0.0, 0.5, 0.5]
    assert file["tokens"]["by_role"]["generate"] == {
        "input_tokens": 10,
        "output_tokens": 5,
        "calls": 1,
        "cost_usd": None,
    }
    assert [used["input_tokens"] for used in file["tokens"]["by_iteration"]] == [10, 30, None]


def test_a_strategy_that_an_agent_made_up_cannot_name_a_file_outside_the_folder(tmp_path: Path) -> None:
    told = chained(make_row(BETA[0]))
    turn = Turn(
        question="?", reply=Reply(text="right", trace=Trace(strategy="../../../evil /x", iterations=CHAIN.iterations))
    )
    hostile = told.model_copy(update={"transcript": Transcript(turns=(turn,))})

    paths = write_rollouts(tmp_path / "results", stored(tmp_path / "results", [hostile]))

    assert [path.name.split("_beta_")[0] for path in paths if path.parent.name == "beta_rollouts"] == ["_evil_x"]
    assert all(path.is_relative_to(tmp_path / "results") and ".." not in path.parts for path in paths)


def test_every_solution_of_a_chain_is_told_with_its_verdict(tmp_path: Path) -> None:
    trial = written(tmp_path, [chained(make_row(BETA[0]))])["results"][0]

    assert trial["final_solution"]["content"] == "right"
    assert trial["final_solution"]["code"] == "42"
    steps = trial["all_solutions"]
    assert [(step["solution_content"], step["is_correct"]) for step in steps] == [
        ("wrong", False),
        ("right", True),
        ("right", True),
    ]
    assert [step["metadata"]["was_refined"] for step in steps] == [False, True, False]
    assert [step["metadata"]["carried"] for step in steps] == [False, False, True]
    assert (steps[1]["metadata"]["verdict"], steps[2]["metadata"]["skipped"]) == ("no", "too_long")


def test_statements_and_answers_go_out_only_where_the_licence_lets_them() -> None:
    planned = [replace(trial, benchmark="imobench") for trial in BETA[:1]]
    bench = PLAN.benchmarks[1].model_copy(update={"name": "imobench"})
    plan = PLAN.model_copy(update={"trials": (*planned, BETA[1]), "benchmarks": (bench, PLAN.benchmarks[1])})
    rows = [make_row(trial).model_copy(update={"question": "How much?", "expected": "7"}) for trial in plan.trials]

    told = [rollout_file(make_run(plan), rows, {}, benchmark=name).results[0] for name in ("imobench", "beta")]

    assert [(trial.problem, trial.ground_truth) for trial in told] == [("How much?", "7"), (None, None)]


def test_what_was_said_survives_the_way_through_a_file(tmp_path: Path) -> None:
    rows = [chained(make_row(BETA[0])), make_row(BETA[1], Outcome.INFRA_ERROR), make_row(BETA[2], Outcome.AGENT_ERROR)]
    paths = write_rollouts(tmp_path, stored(tmp_path, rows))

    file = read_rollouts(next(path for path in paths if path.parent.name == "beta_rollouts"))

    assert (file.benchmark, file.strategy, file.problem_ids, file.num_trials) == (
        "beta",
        "self_eval_sequential",
        ("beta-0", "beta-1"),
        2,
    )
    chain = file.trials[0]
    assert chain.transcript is not None
    reply = chain.transcript.turns[0].reply
    assert reply is not None
    assert reply.trace is not None
    assert (reply.text, reply.trace.solutions) == ("right", CHAIN.solutions)
    assert [step.verdict for step in reply.trace.iterations] == [None, "no", None]
    assert (chain.usage.input_tokens, chain.usage.output_tokens) == (40, 20)
    assert (
        (chain.latency.total_s, chain.latency.agent_s) == (rows[0].latency.total_s, rows[0].latency.agent_s) != (0, 0)
    )
    assert [(trial.outcome, trial.fault) for trial in file.trials[1:]] == [
        (Outcome.INFRA_ERROR, "made_up: made by a test"),
        (Outcome.AGENT_ERROR, "made_up: made by a test"),
    ]


def old_file(
    folder: Path, results: object, *, name: str = "baseline_imobench_20250101_000000.json", **more: Any
) -> Path:
    path = folder / "imobench_rollouts" / name
    path.parent.mkdir()
    path.write_text(json.dumps({"results": results, **more}))
    return path


def test_a_file_of_older_scripts_is_read_by_its_folder_and_name_with_unknown_tokens(tmp_path: Path) -> None:
    results = [
        {"problem_id": 7, "final_solution": {"content": "\\boxed{1}", "is_correct": True}, "total_tokens": None},
        {"problem_id": 7, "final_solution": "\\boxed{2}"},
        {"problem_id": 8, "all_solutions": [{"iteration": 0, "solution_content": "\\boxed{3}"}]},
        {"problem_id": 9, "final_solution": {"content": " "}},
    ]

    file = read_rollouts(old_file(tmp_path, results))

    assert (file.benchmark, file.strategy, file.run_id) == ("imobench", "baseline", None)
    said = [
        (one.problem_id, one.trial, one.transcript.answer if one.transcript is not None else None)
        for one in file.trials
    ]
    assert said == [("7", 0, "\\boxed{1}"), ("7", 1, "\\boxed{2}"), ("8", 0, "\\boxed{3}"), ("9", 0, None)]
    assert {one.outcome for one in file.trials} == {None}
    assert {one.usage for one in file.trials} == {Usage()}


def test_samples_that_older_scripts_put_into_one_result_are_trials_of_their_own(tmp_path: Path) -> None:
    samples = [{"iteration": number, "solution_content": text} for number, text in enumerate("ab")]
    results = [{"problem_id": "p", "final_solution": {"content": "b"}, "all_solutions": samples}]

    file = read_rollouts(old_file(tmp_path, results))

    assert [one.transcript.answer for one in file.trials if one.transcript is not None] == ["a", "b"]


def test_steps_of_an_older_chain_stay_one_trial(tmp_path: Path) -> None:
    steps = [{"iteration": number, "solution_content": text} for number, text in enumerate("ab")]
    results = [{"problem_id": "p", "all_solutions": steps}]

    file = read_rollouts(old_file(tmp_path, results, strategy="self_eval_sequential"))

    (trial,) = file.trials
    assert trial.transcript is not None
    reply = trial.transcript.turns[0].reply
    assert reply is not None
    assert reply.trace is not None
    assert (reply.text, reply.trace.solutions) == ("b", ("a", "b"))


def test_steps_of_an_older_chain_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    steps = [{"iteration": number, "solution_content": str(number)} for number in (2, 0, 1)]
    results = [{"problem_id": "p", "final_solution": None, "all_solutions": steps}]

    (trial,) = read_rollouts(old_file(tmp_path, results, strategy="self_eval_sequential")).trials

    assert trial.transcript is not None
    reply = trial.transcript.turns[0].reply
    assert reply is not None
    assert reply.trace is not None
    assert (reply.text, reply.trace.solutions) == ("2", ("0", "1", "2"))


def test_what_an_older_file_leaves_empty_or_counts_in_another_way_is_unknown(tmp_path: Path) -> None:
    step = {"solution_content": "a", "metadata": {"usage": {"total": 5}, "skipped": None, "verdict": None}}
    results = [
        {"problem_id": "p", "problem": None, "error": None, "all_solutions": [step]},
        {"problem_id": "q", "final_solution": "b", "all_solutions": None, "timing": "3 s"},
        {"problem_id": "r", "all_solutions": [{"solution_content": "c", "metadata": None}]},
    ]

    file = read_rollouts(old_file(tmp_path, results, config=None, models=None))

    assert [one.transcript.answer for one in file.trials if one.transcript is not None] == ["a", "b", "c"]
    assert {one.usage for one in file.trials} == {Usage()}


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], "holds no result"),
        ([{"problem_id": "p", "trial": 10**9, "final_solution": "x"}], r"results\.0\.trial: .* less than 10000"),
        ("none", "is no rollout file: results"),
        ([{"final_solution": "x"}], r"results\.0\.problem_id"),
        ([{"problem_id": "p", "trial": 1}, {"problem_id": "p", "trial": 1}], "'p' has two results for trial 1"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, results: object, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        read_rollouts(old_file(tmp_path, results))


def test_a_file_that_does_not_say_its_benchmark_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_text(json.dumps({"results": [{"problem_id": "p", "final_solution": "x"}]}))

    with pytest.raises(ScenarioError, match="put it into a folder <benchmark>_rollouts"):
        read_rollouts(path)


def test_runs_that_began_in_the_same_second_do_not_take_each_others_file(tmp_path: Path) -> None:
    first = make_run(PLAN)
    second = first.model_copy(update={"id": "other-9f3a", "created": first.created.replace("+00:00", ".500000+00:00")})
    with closing(Journal.open(tmp_path)) as journal:
        for run in (first, second):
            journal.create_run(run)
            journal.record_all(run.id, [make_row(BETA[0])])

    names = [[path.name for path in write_rollouts(tmp_path, run.id)] for run in (second, first)]

    assert names == [
        ["baseline_alpha_20260101_000000_9f3a.json", "baseline_beta_20260101_000000_9f3a.json"],
        ["baseline_alpha_20260101_000000.json", "baseline_beta_20260101_000000.json"],
    ]


def run_ids(folder: Path) -> set[str]:
    return {json.loads(path.read_text())["run_id"] for path in folder.glob("*_rollouts/*.json")}


async def test_files_are_there_while_the_run_goes_on(tmp_path: Path) -> None:
    run = make_run(PLAN)
    stored(tmp_path, [make_row(BETA[0])])

    async with kept_fresh(tmp_path, Silent(), every_s=0.01) as listener:
        listener.began(run, [])
        await asyncio.to_thread(
            await_true, lambda: len(list(tmp_path.glob("*_rollouts/*.json"))) == 2, what="both files"
        )

    assert await asyncio.to_thread(run_ids, tmp_path) == {run.id}
