import pytest
from pydantic import JsonValue

from services.contract.aggregation import aggregate
from services.contract.assessment import PlannedTrial
from services.contract.measures import measures
from services.contract.outcomes import Outcome
from services.contract.results import Section, TaskResult
from tests.support.rows import plan_of, planned, row


def _told(trial: PlannedTrial, *, passed: bool, **metrics: float | bool) -> TaskResult:
    return row(trial, score=float(passed)).model_copy(update={"metrics": metrics})


def _by_key(rows: list[TaskResult]) -> dict[str, TaskResult]:
    return {one.key: one for one in rows}


def _three_tasks(passes: tuple[int, ...] = (3, 0, 10)) -> tuple[list[PlannedTrial], dict[str, TaskResult]]:
    trials = planned("code", Section.CODE, tasks=3, trials=10)
    return trials, _by_key(
        [_told(trial, passed=trial.trial < passes[int(trial.task_id.rpartition("-")[2])]) for trial in trials]
    )


def test_three_tasks_of_ten_trials_give_the_published_values() -> None:
    trials, rows = _three_tasks()

    found = measures(trials, rows, k=(1, 2, 5), seed=1)

    assert found.pass_at[1].value == pytest.approx(0.433333, abs=1e-6)
    assert found.pass_at[5].value == pytest.approx(0.638889, abs=1e-6)
    assert found.pass_hat[2].value == pytest.approx(0.355556, abs=1e-6)
    assert found.pass_at[1].lower is not None
    assert found.average_pass_rate is None


def test_the_order_of_trials_does_not_matter() -> None:
    trials, rows = _three_tasks()

    assert measures(trials, rows, k=(5,), seed=1) == measures(trials[::-1], rows, k=(5,), seed=1)


def test_without_a_wish_the_usual_k_up_to_the_number_of_trials_are_given() -> None:
    trials, rows = _three_tasks()

    found = measures(trials, rows, k=(), seed=1)

    assert (list(found.pass_at), list(found.pass_hat)) == ([1, 5, 10], [1, 5, 10])


def test_an_agent_error_is_a_failure_and_an_unscored_trial_is_none() -> None:
    trials = planned("code", Section.CODE, tasks=1, trials=4)
    ends = [Outcome.SCORED, Outcome.AGENT_ERROR, Outcome.INFRA_ERROR, Outcome.SCORED]
    rows = [row(trial, end, score=1.0) for trial, end in zip(trials, ends, strict=True)]

    found = measures(trials, _by_key(rows), k=(1, 3, 4), seed=1)

    assert found.pass_at[1].value == pytest.approx(2 / 3)
    assert found.pass_at[3].value == 1.0
    assert (found.pass_at[4].value, found.pass_at[4].n, found.pass_at[4].left_out) == (None, 0, 1)


def test_pass_rate_and_exact_match_are_means_over_tasks_and_agent_errors_count_0() -> None:
    trials = planned("code", Section.CODE, tasks=3)
    rows = [
        _told(trials[0], passed=True, pass_rate=1.0, exact_match=True),
        _told(trials[1], passed=False, pass_rate=0.5, exact_match=False),
        row(trials[2], Outcome.AGENT_ERROR),
    ]

    found = measures(trials, _by_key(rows), k=(), seed=1)

    assert found.average_pass_rate is not None
    assert found.average_pass_rate.value == pytest.approx(0.5)
    assert found.exact_match is not None
    assert found.exact_match.value == pytest.approx(1 / 3)
    assert found.pass_hat == {}


def _chain(trial: PlannedTrial, course: str, verdict: str = "no") -> TaskResult:
    """`course`: R, W or ? for each iteration: right, wrong, could not be scored."""
    passes = [{"R": True, "W": False, "?": None}[mark] for mark in course]
    steps: list[JsonValue] = [
        {"passed": passed, "was_refined": number > 0, "verdict": verdict if number else None}
        for number, passed in enumerate(passes)
    ]
    final = passes[-1] is True
    metrics = {"oracle_passed": True in passes, "trajectory_unscored": passes.count(None)}
    return row(trial, score=float(final)).model_copy(update={"metrics": metrics, "details": {"iterations": steps}})


def test_a_wrong_intermediate_followed_by_a_right_one_moves_the_oracle_and_not_pass_at_1() -> None:
    trials = planned("code", Section.CODE, tasks=2)
    lost = measures(trials, _by_key([_chain(trials[0], "RW"), _chain(trials[1], "WW")]), k=(), seed=1)
    never = measures(trials, _by_key([_chain(trials[0], "WW"), _chain(trials[1], "WW")]), k=(), seed=1)

    assert (lost.pass_at[1].value, never.pass_at[1].value) == (0.0, 0.0)
    assert lost.oracle_best_of_trajectory is not None
    assert never.oracle_best_of_trajectory is not None
    assert (lost.oracle_best_of_trajectory.value, never.oracle_best_of_trajectory.value) == (0.5, 0.0)


def test_the_oracle_does_not_know_a_chain_whose_only_hope_could_not_be_scored() -> None:
    trials = planned("code", Section.CODE, tasks=2)

    found = measures(trials, _by_key([_chain(trials[0], "?W"), _chain(trials[1], "RR")]), k=(), seed=1)

    assert found.oracle_best_of_trajectory is not None
    assert (found.oracle_best_of_trajectory.value, found.oracle_best_of_trajectory.n) == (1.0, 1)
    assert found.oracle_best_of_trajectory.left_out == 1


def test_accuracy_by_iteration_counts_what_turned_and_keeps_chains_that_ended_early() -> None:
    trials = planned("code", Section.CODE, tasks=3)
    rows = [
        _chain(trials[0], "WRR"),
        _chain(trials[1], "R", verdict="yes"),
        _chain(trials[2], "RW?", verdict="undecided"),
    ]

    found = measures(trials, _by_key(rows), k=(), seed=1).accuracy_by_iteration

    assert [(step.n, step.accuracy) for step in found] == [
        (3, pytest.approx(2 / 3)),
        (3, pytest.approx(2 / 3)),
        (2, 1.0),
    ]
    assert [(step.to_right, step.to_wrong) for step in found] == [(0, 0), (1, 1), (0, 0)]
    assert [(step.refined, step.undecided) for step in found] == [(0, 0), (2, 1), (2, 1)]


def test_a_result_carries_measures_for_repeated_trials_and_for_facts_beyond_the_score() -> None:
    single = planned("plain", Section.CODE, tasks=2)
    facts = planned("code", Section.CODE, tasks=2)
    rows = [
        *(row(trial, score=1.0) for trial in single),
        *(_told(trial, passed=True, pass_rate=1.0) for trial in facts),
    ]

    scores = aggregate(plan_of(*single, *facts), rows, metadata={}).dataset_scores

    assert scores["plain"].measures is None
    assert scores["code"].measures is not None
    assert list(scores["code"].measures.pass_at) == [1]


def test_scores_by_task_type_stand_beside_the_score() -> None:
    trials = planned("code", Section.CODE, tasks=3)
    mixed = [trial.model_copy(update={"stratum": "hard" if trial.task_id == "code-2" else "easy"}) for trial in trials]
    rows = [row(mixed[0], score=1.0), row(mixed[1], score=0.0), row(mixed[2], Outcome.INFRA_ERROR)]

    found = aggregate(plan_of(*mixed), rows, metadata={}).dataset_scores["code"].by_stratum

    assert {name: (one.value, one.n, one.left_out) for name, one in found.items()} == {
        "easy": (0.5, 2, 0),
        "hard": (None, 0, 1),
    }
