import pytest

from services.contract.outcomes import Outcome
from services.contract.results import Section, TaskResult
from services.runner.comparison import OVERALL, Compared, compare, pairs_of, pairs_table, table_of
from services.runner.failures import PlanChangedError
from services.runner.journal import RunRecord
from tests.support.rows import plan_of, planned, row

TRIALS = planned("options", Section.OPTIONS_TRADING, tasks=40)


def record(name: str, *, tasks: int = 40) -> RunRecord:
    plan = plan_of(*TRIALS[:tasks])
    return RunRecord(id=name, created="", name="", scenario={}, request={}, plan=plan, provenance={})


def rows(*scores: float | None) -> list[TaskResult]:
    return [
        row(trial, Outcome.INFRA_ERROR) if score is None else row(trial, score=score)
        for trial, score in zip(TRIALS, scores, strict=False)
    ]


def test_a_constant_edge_over_noisy_tasks_is_seen_exactly_but_not_how_far_it_spreads() -> None:
    noisy = [(n * 7 % 10) / 20 for n in range(40)]

    found = compare(record("a"), rows(*(score + 0.25 for score in noisy)), record("b"), rows(*noisy))

    options, overall = found
    assert (options.benchmark, overall.benchmark) == ("options", OVERALL)
    assert options.difference == pytest.approx(25.0)
    assert [options.low, options.high] == [None, None]
    assert (options.better, options.worse, options.tasks, options.left_out) == (40, 0, 40, 0)


def test_equal_agents_differ_by_an_interval_around_zero() -> None:
    one, other = [n % 2 for n in range(40)], [(n + 1) % 2 for n in range(40)]

    (options, _) = compare(record("a"), rows(*one), record("b"), rows(*other))

    assert options.difference == 0.0
    assert options.low is not None
    assert options.high is not None
    assert options.low < 0 < options.high


def test_tasks_one_of_the_two_has_no_score_for_are_left_out_and_counted() -> None:
    (options, _) = compare(record("a"), rows(1, 1, None), record("b"), rows(1, None, 0, 0))

    assert (options.tasks, options.left_out) == (1, 39)
    assert "+0.0" in (table := table_of([options], ("a", "b")))
    assert "Without them the difference may flatter whoever lost them" in table


def test_a_task_that_lost_one_of_its_trials_is_left_out_so_that_losing_the_bad_ones_gains_nothing() -> None:
    trials = planned("options", Section.OPTIONS_TRADING, tasks=2, trials=2)
    runs = [
        RunRecord(id=name, created="", name="", scenario={}, request={}, plan=plan_of(*trials), provenance={})
        for name in "ab"
    ]
    honest = [row(trial, score=0.5) for trial in trials]
    lossy = [
        row(trials[0], score=1),
        row(trials[1], Outcome.INFRA_ERROR),
        row(trials[2], score=0),
        row(trials[3], score=1),
    ]

    (options, _) = compare(runs[0], lossy, runs[1], honest)

    assert (options.tasks, options.left_out, options.difference) == (1, 1, 0.0)


def test_one_common_task_gives_a_difference_without_an_interval() -> None:
    (options, _) = compare(record("a"), rows(1), record("b"), rows(0))

    assert (options.difference, options.low, options.high) == (100.0, None, None)
    assert "unknown" in table_of([options], ("a", "b"))


def test_a_benchmark_without_a_common_task_is_shown_as_left_out() -> None:
    (options, overall) = compare(record("a"), rows(1, None), record("b"), rows(None, 1))

    assert (options.difference, options.tasks, options.left_out) == (None, 0, 40)
    assert " 40" in table_of([options, overall], ("a", "b"))


def test_runs_of_different_plans_are_not_compared() -> None:
    with pytest.raises(PlanChangedError, match="only runs of one plan"):
        compare(record("a"), rows(1), record("b", tasks=39), rows(1))


def test_every_two_runs_are_compared_in_their_order() -> None:
    runs = [
        Compared(name=name, run=record(name), rows=rows(*[score] * 40))
        for name, score in zip("abc", (1, 0.5, 0), strict=True)
    ]

    pairs = pairs_of(runs)

    overall = [(pair.first, pair.second, pair.differences[-1].difference) for pair in pairs]
    assert overall == [("a", "b", 50.0), ("a", "c", 100.0), ("b", "c", 50.0)]


def test_the_table_says_how_many_differences_were_looked_at() -> None:
    runs = [Compared(name=name, run=record(name), rows=rows(*[1] * 40)) for name in "abc"]

    *_, last = pairs_table(pairs_of(runs)).splitlines()
    alone = pairs_table(pairs_of(runs[:2]))

    assert last.startswith("3 differences of 3 pairs were looked at; each interval holds for itself")
    assert last.endswith("of 3 intervals around no difference at all, about 0.15 would miss 0.")
    assert "looked at" not in alone
