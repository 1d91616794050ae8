from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


def test_the_oracle_does_not_know_a_chain_of_which_solutions_were_left_unscored_for_its_length() -> None:
    trials = planned("code", Section.CODE, tasks=3)
    rows = [_chain(trial, course) for trial, course in zip(trials, ("WW", "WR", "WW"), strict=True)]
    long = [one.model_copy(update={"metrics": one.metrics | {"trajectory_cut": 3}}) for one in rows[:2]]

    found = measures(trials, _by_key([*long, rows[2]]), k=(), seed=1).oracle_best_of_trajectory

    assert found is not None
    assert (found.value, found.n, found.left_out) == (0.5, 2, 1)


def test_a_trial_that_failed_by_the_agents_fault_is_wrong_in_every_iteration() -> None:
    trials = planned("code", Section.CODE, tasks=2, trials=2)
    rows = [
        _chain(trials[0], "WRR"),
        row(trials[1], Outcome.AGENT_ERROR),
        _chain(trials[2], "RRR"),
        row(trials[3], Outcome.INFRA_ERROR),
    ]

    found = measures(trials, _by_key(rows), k=(), seed=1)

    assert [(step.n, step.accuracy) for step in found.accuracy_by_iteration] == [(3, 0.5), (3, 0.75), (3, 0.75)]
    assert found.accuracy_by_iteration[-1].accuracy == found.pass_at[1].value
    assert [(step.to_right, step.to_wrong) for step in found.accuracy_by_iteration] == [(0, 0), (1, 0), (0, 0)]


def test_agent_errors_alone_make_no_iterations() -> None:
    trials = planned("code", Section.CODE, tasks=1)

    assert measures(trials, _by_key([row(trials[0], Outcome.AGENT_ERROR)]), k=(), seed=1).accuracy_by_iteration == []


def test_a_k_that_was_asked_for_is_answered_even_where_no_trial_was_repeated() -> None:
    trials = planned("plain", Section.CODE, tasks=2)
    plan = plan_of(*trials).model_copy(update={"k": (1, 5)})

    found = aggregate(plan, [row(trial, score=1.0) for trial in trials], metadata={}).dataset_scores["plain"].measures

    assert found is not None
    assert (found.pass_at[1].value, found.pass_at[5].value, found.pass_at[5].left_out) == (1.0, None, 2)


@settings(deadline=None, max_examples=60)
@given(
    ends=st.lists(
        st.lists(st.sampled_from(["right", "wrong", "error", "unscored", "missing"]), min_size=1, max_size=6),
        min_size=1,
        max_size=4,
    ),
    k=st.integers(1, 7),
)
def test_pass_at_k_through_rows_is_the_share_of_all_choices_of_k_trials(ends: list[list[str]], k: int) -> None:
    trials = [trial for trial in planned("code", Section.CODE, tasks=4, trials=6) if _end(trial, ends) is not None]
    rows = [made for trial in trials if (made := _row_of(trial, ends)) is not None]

    found = measures(trials, _by_key(rows), k=(k,), seed=1)

    shares, hats = [], []
    for task in ends:
        passes = [end == "right" for end in task if end in {"right", "wrong", "error"}]
        choices = list(combinations(passes, k))
        if choices:
            shares.append(sum(map(any, choices)) / len(choices))
            hats.append(sum(map(all, choices)) / len(choices))
    for measure, expected in ((found.pass_at[k], shares), (found.pass_hat[k], hats)):
        assert (measure.n, measure.left_out) == (len(expected), len(ends) - len(expected))
        assert measure.value == (pytest.approx(sum(expected) / len(expected)) if expected else None)


def _end(trial: PlannedTrial, ends: list[list[str]]) -> str | None:
    task = int(trial.task_id.rpartition("-")[2])
    return ends[task][trial.trial] if task < len(ends) and trial.trial < len(ends[task]) else None


def _row_of(trial: PlannedTrial, ends: list[list[str]]) -> TaskResult | None:
    end = _end(trial, ends)
    outcome = {"error": Outcome.AGENT_ERROR, "unscored": Outcome.JUDGE_ERROR}.get(end or "", Outcome.SCORED)
    return None if end == "missing" else row(trial, outcome, score=float(end == "right"))


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


def test_what_decided_is_counted() -> None:
    trials = planned("code", Section.CODE, tasks=4)
    deciders = ["pairs", "guarded", "pairs", ""]
    rows = [row(trial).model_copy(update={"scored_by": by}) for trial, by in zip(trials, deciders, strict=True)]

    assert aggregate(plan_of(*trials), rows, metadata={}).dataset_scores["code"].scored_by == {"pairs": 2, "guarded": 1}


def test_scores_by_task_type_stand_beside_the_score() -> None:
    trials = planned("code", Section.CODE, tasks=3)
    mixed = [replace(trial, stratum="hard" if trial.task_id == "code-2" else "easy") for trial in trials]
    rows = [row(mixed[0], score=1.0), row(mixed[1], score=0.0), row(mixed[2], Outcome.INFRA_ERROR)]

    found = aggregate(plan_of(*mixed), rows, metadata={}).dataset_scores["code"].by_stratum

    assert {name: (one.value, one.n, one.left_out) for name, one in found.items()} == {
        "easy": (0.5, 2, 0),
        "hard": (None, 0, 1),
    }
