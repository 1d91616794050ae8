from hypothesis import given
from hypothesis import strategies as st

from services.contract.outcomes import Outcome
from services.runner.statistics import faults, histogram, known_issues, quantiles, usage_total
from tests.runner.support.rows import make_plan, make_row


def test_nearest_rank_quantiles_are_measured_values() -> None:
    found = quantiles([float(n) for n in range(1, 101)])

    assert found is not None
    assert (found.p50, found.p90, found.p99, found.largest) == (50.0, 90.0, 99.0, 100.0)


def test_no_value_has_no_quantile() -> None:
    assert quantiles([]) is None


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50))
def test_quantiles_rise_and_come_from_the_sample(values: list[float]) -> None:
    found = quantiles(values)

    assert found is not None
    assert found.p50 <= found.p90 <= found.p99 <= found.largest
    assert {found.p50, found.p90, found.p99, found.largest} <= set(values)


@given(st.lists(st.floats(0, 1e6), max_size=60), st.integers(1, 40))
def test_a_histogram_counts_every_value_once(values: list[float], bins: int) -> None:
    found = histogram(values, bins=bins)

    assert sum(count for _, _, count in found) == (len(values) if max(values, default=0) > 0 else 0)


def test_failures_are_counted_by_kind_and_scored_trials_are_none() -> None:
    trials = make_plan(tasks=3).trials
    rows = [
        make_row(trials[0]),
        make_row(trials[1], Outcome.INFRA_ERROR),
        make_row(trials[3], Outcome.INFRA_ERROR),
        make_row(trials[2], Outcome.AGENT_ERROR),
    ]

    found = [(fault.benchmark, fault.outcome, fault.kind, fault.count) for fault in faults(rows)]

    assert found == [
        ("beta", Outcome.INFRA_ERROR, "made_up", 2),
        ("alpha", Outcome.AGENT_ERROR, "made_up", 1),
    ]


def test_unknown_usage_stays_unknown_in_a_sum() -> None:
    trials = make_plan(tasks=1).trials

    total = usage_total(make_row(trial) for trial in trials)

    assert (total.input_tokens, total.output_tokens, total.cost_usd) == (240, 80, None)


def test_known_faults_of_the_data_are_counted_by_task() -> None:
    trials = make_plan(tasks=2, trials=2).trials
    rows = [
        make_row(trial).model_copy(update={"metrics": {"known_issues": "vacuous_asserts,self_comparison"}})
        for trial in trials[:2]
    ]
    rows += [make_row(trial).model_copy(update={"metrics": {"known_issues": ""}}) for trial in trials[2:]]

    found = known_issues(rows)

    assert {(issue.benchmark, issue.kind, issue.tasks) for issue in found} == {
        (trials[0].benchmark, "self_comparison", 1),
        (trials[0].benchmark, "vacuous_asserts", 1),
    }
