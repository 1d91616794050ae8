import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.aggregation import aggregate, grade, judge_summary
from services.contract.judgements import Judgement
from services.contract.outcomes import Outcome
from services.contract.results import AssessmentResult, Section, SubScore
from tests.support.rows import plan_of, planned, row

SYNTHETIC = planned("synthetic", Section.ANALYTICAL_REASONING, tasks=20)
OPTIONS = planned("options", Section.OPTIONS_TRADING, tasks=14)


def fails_33_of_34(outcome: Outcome) -> AssessmentResult:
    first, *others = [*OPTIONS, *SYNTHETIC]
    rows = [row(first, score=1.0), *(row(trial, outcome) for trial in others)]
    return aggregate(plan_of(*SYNTHETIC, *OPTIONS), rows, metadata={})


def test_an_agent_that_fails_33_of_34_tasks_scores_almost_nothing() -> None:
    result = fails_33_of_34(Outcome.AGENT_ERROR)

    assert result.overall_score.score == pytest.approx(3.571429, rel=1e-6)
    assert result.overall_score.coverage == 1.0
    assert result.evaluation_metadata["complete"] is True


def test_infrastructure_faults_leave_the_bounds_open_instead_of_vanishing() -> None:
    result = fails_33_of_34(Outcome.INFRA_ERROR)

    overall = result.overall_score
    assert overall.score == pytest.approx(100.0)
    assert overall.coverage == pytest.approx(1 / 34)
    assert (overall.lower, overall.upper) == pytest.approx((3.571429, 100.0), rel=1e-6)
    assert result.evaluation_metadata["complete"] is False
    reasoning = result.section_scores["analytical_reasoning"]
    assert reasoning is not None
    assert (reasoning.score, reasoning.lower, reasoning.upper) == (None, 0.0, 100.0)


def test_trials_without_a_row_count_as_unscored() -> None:
    result = aggregate(plan_of(*OPTIONS), [row(OPTIONS[0], score=1.0)], metadata={})

    assert result.overall_score.coverage == pytest.approx(1 / 14)
    assert result.overall_score.lower == pytest.approx(100 / 14)
    assert result.evaluation_metadata["outcomes"] == {"missing": 13, "scored": 1}


def test_two_rows_for_one_trial_are_refused() -> None:
    twice = [row(OPTIONS[0], score=1.0)] * 2

    with pytest.raises(ValueError, match=r"two rows for trial 'options\|options-0\|0'"):
        aggregate(plan_of(*OPTIONS), twice, metadata={})


def test_a_row_from_outside_the_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="is not in plan"):
        aggregate(plan_of(*OPTIONS), [row(SYNTHETIC[0], score=1.0)], metadata={})


def test_the_five_agentbusters_sections_are_always_there() -> None:
    result = aggregate(plan_of(*OPTIONS), [], metadata={})

    assert list(result.section_scores) == [
        "knowledge_retrieval",
        "analytical_reasoning",
        "options_trading",
        "crypto_trading",
        "professional_tasks",
    ]
    assert result.section_scores["crypto_trading"] is None


def test_a_section_sub_score_is_the_share_of_all_points_and_null_without_any() -> None:
    plan = plan_of(*OPTIONS[:2], sub_scores={"options": ("pnl_accuracy", "risk_management")})
    points = [SubScore(earned=1, possible=3), SubScore(earned=1, possible=1)]
    rows = [
        row(trial, score=1.0).model_copy(update={"sub_scores": {"pnl_accuracy": share}})
        for trial, share in zip(OPTIONS, points, strict=False)
    ]

    section = aggregate(plan, rows, metadata={}).section_scores["options_trading"]

    assert section is not None
    assert section.sub_scores == {"pnl_accuracy": 50.0, "risk_management": None}


def test_several_trials_of_a_task_count_as_one_task() -> None:
    trials = planned("options", Section.OPTIONS_TRADING, tasks=2, trials=3)
    scores = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    rows = [row(trial, score=score) for trial, score in zip(trials, scores, strict=True)]

    result = aggregate(plan_of(*trials), rows, metadata={})

    assert result.overall_score.score == pytest.approx(100 / 3)
    assert result.section_scores["options_trading"].task_count == 2  # type: ignore[union-attr]  # the section is planned


@given(st.lists(st.sampled_from(list(Outcome)), min_size=14, max_size=14), st.randoms(use_true_random=False))
def test_the_result_does_not_depend_on_row_order_and_bounds_hold_the_score(
    outcomes: list[Outcome], shuffle: random.Random
) -> None:
    plan = plan_of(*OPTIONS)
    rows = [row(trial, outcome, score=0.5) for trial, outcome in zip(OPTIONS, outcomes, strict=True)]
    result = aggregate(plan, rows, metadata={})
    shuffle.shuffle(rows)

    assert aggregate(plan, rows, metadata={}) == result
    overall = result.overall_score
    assert overall.lower <= overall.upper
    assert overall.score is None or overall.lower - 1e-9 <= overall.score <= overall.upper + 1e-9


def test_grades_follow_the_published_steps() -> None:
    assert [grade(score) for score in (97, 96.9, 60, 59.9)] == ["A+", "A", "D", "F"]


def test_a_section_may_be_the_mean_of_its_data_sets() -> None:
    knowledge = Section.KNOWLEDGE_RETRIEVAL
    trials = [*planned("bizfinbench", knowledge, tasks=3), *planned("prbench", knowledge, tasks=1)]
    rows = [row(trial, score=float(trial.benchmark == "prbench")) for trial in trials]
    by_tasks = plan_of(*trials)
    by_datasets = by_tasks.model_copy(update={"section_mean": "datasets"})

    assert aggregate(by_tasks, rows, metadata={}).overall_score.score == pytest.approx(25.0)
    assert aggregate(by_datasets, rows, metadata={}).overall_score.score == pytest.approx(50.0)


def test_bounds_of_a_mean_of_data_sets_weigh_the_data_sets_alike() -> None:
    knowledge = Section.KNOWLEDGE_RETRIEVAL
    trials = [*planned("bizfinbench", knowledge, tasks=4), *planned("prbench", knowledge, tasks=1)]
    rows = [row(trial, score=1.0) for trial in trials[:2]]
    plan = plan_of(*trials).model_copy(update={"section_mean": "datasets"})

    overall = aggregate(plan, rows, metadata={}).overall_score

    assert (overall.score, overall.lower, overall.upper) == (100.0, 25.0, 100.0)


def test_a_skipped_data_set_opens_the_bounds_of_a_section_that_has_a_score() -> None:
    plan = plan_of(*OPTIONS)
    lost = plan.benchmarks[0].model_copy(update={"name": "another", "skipped": "not found", "tasks": 0})
    plan = plan.model_copy(update={"benchmarks": (*plan.benchmarks, lost)})

    result = aggregate(plan, [row(trial, score=0.5) for trial in OPTIONS], metadata={})

    section = result.section_scores["options_trading"]
    assert section is not None
    assert (section.score, section.lower, section.upper, section.coverage) == (50.0, 0.0, 100.0, 1.0)
    assert result.evaluation_metadata["complete"] is False


def call(**fields: object) -> Judgement:
    return Judgement(purpose="correct", model="m").model_copy(update=fields)


def test_the_judge_is_summed_up_over_all_calls_failed_ones_included() -> None:
    first = row(OPTIONS[0], score=1.0).model_copy(
        update={
            "judgements": (
                call(kind="not_json", cost_usd=0.25, input_tokens=100, output_tokens=5),
                call(cost_usd=0.5, input_tokens=100, output_tokens=20, injection_suspected=True),
                call(injection_suspected=True, cached=True, cost_usd=8.0, input_tokens=9),
            )
        }
    )
    second = row(OPTIONS[1], score=1.0).model_copy(
        update={"scored_by": "rule_fallback", "judgements": (call(kind="http_429", cost_usd=0.0),)}
    )

    judge = aggregate(plan_of(*OPTIONS), [first, second], metadata={}).evaluation_metadata["judge"]

    assert judge == {
        "models": ["m"],
        "calls": 4,
        "cached": 1,
        "failures": {"http_429": 1, "not_json": 1},
        "input_tokens": 200,
        "output_tokens": 25,
        "cost_usd": 0.75,
        "latency_s": 0.0,
        "cut": 0,
        "evidence_missing": 0,
        "trials_with_rule_fallback": 1,
        "injections_suspected": 1,
        "agreement": None,
    }


def test_the_agreement_of_a_panel_stands_in_the_summary() -> None:
    """Both say yes 4 times, both no 3 times, only the first twice, only the second once."""
    votes = [(True, True)] * 4 + [(False, False)] * 3 + [(True, False)] * 2 + [(False, True)]
    rows = [
        row(trial, score=1.0).model_copy(
            update={"judgements": tuple(call(member=n, verdicts={"c01": vote}) for n, vote in enumerate(pair))}
        )
        for trial, pair in zip(OPTIONS, votes, strict=False)
    ]

    agreed = judge_summary(rows)["agreement"]

    assert isinstance(agreed, dict)
    assert agreed["members"] == 2
    assert isinstance(agreed["verdicts"], dict)
    assert agreed["verdicts"]["value"] == pytest.approx(0.4)


def test_one_unknown_price_makes_the_bill_unknown_and_no_call_costs_nothing() -> None:
    judged = row(OPTIONS[0], score=1.0).model_copy(update={"judgements": (call(cost_usd=1.0), call())})

    assert judge_summary([judged])["cost_usd"] is None
    assert judge_summary([row(OPTIONS[0], score=1.0)])["cost_usd"] == 0


@pytest.mark.parametrize("section_mean", ["tasks", "datasets"])
def test_without_estimates_every_other_number_is_the_same(section_mean: str) -> None:
    trials = [
        replace(trial, stratum=f"kind {n % 2}") for n, trial in enumerate(planned("a", Section.CODE, tasks=6, trials=2))
    ]
    plan = plan_of(*trials).model_copy(update={"section_mean": section_mean, "num_trials": 2})
    rows = [row(trial, score=n % 3 / 2) for n, trial in enumerate(trials)]

    whole = aggregate(plan, rows, metadata={}).model_dump()
    quick = aggregate(plan, rows, metadata={}, estimates=False).model_dump()

    (data_set,) = whole["dataset_scores"].values()
    assert data_set["measures"] is not None
    assert set(data_set["by_stratum"]) == {"kind 0", "kind 1"}
    code = Section.CODE
    scores = [whole["overall_score"], whole["sections"][0], whole["section_scores"][code], data_set]
    for score in scores:
        assert score["interval_low"] < score["interval_high"]
        score.update(interval_low=None, interval_high=None)
    data_set.update(measures=None, by_stratum={})
    assert quick == whole


def test_the_config_summary_counts_by_data_set_task_type_and_section() -> None:
    assert aggregate(plan_of(*OPTIONS, *SYNTHETIC), [], metadata={}).config_summary == {
        "total": 34,
        "by_dataset": {"options": 14, "synthetic": 20},
        "by_task_type": {"options/options": 14, "synthetic/synthetic": 20},
        "by_category": {"options_trading": 14, "analytical_reasoning": 20},
    }
