import pytest

from services.contract.aggregation import aggregate
from services.contract.conversation import Usage
from services.contract.judgements import Judgement
from services.contract.outcomes import Outcome
from services.contract.printing import Printed
from services.contract.results import STREAMED_ONLY, AssessmentResult, Section, SubScore, TaskResult
from services.green_agent.reporting import FinishedRows, artifact, summary
from tests.support.rows import plan_of, planned, row

TRIALS = planned("code", Section.CODE, tasks=3, trials=2)


def _rows() -> list[TaskResult]:
    ends = [Outcome.SCORED] * 4 + [Outcome.AGENT_ERROR, Outcome.INFRA_ERROR]
    facts = {
        "metrics": {
            "pass_rate": 0.5,
            "exact_match": False,
            "oracle_passed": True,
            "trajectory_unscored": 0,
            "cpu_s": 1.5,
        },
        "details": {"iterations": [{"passed": True}, {"passed": False}], "other": "x" * 500},
        "sub_scores": {"basic": SubScore(earned=3, possible=7)},
        "question": "q" * 200,
        "usage": Usage(input_tokens=3),
        "judgements": (Judgement(purpose="correct", model="m", input_tokens=5),),
    }
    return [
        row(trial, end, score=float(trial.trial)).model_copy(update=facts)
        for trial, end in zip(TRIALS, ends, strict=True)
    ]


def test_packed_rows_come_back_as_they_were() -> None:
    kept = FinishedRows()
    for one in _rows():
        kept.add(one)

    assert kept.whole() == _rows()
    assert (len(kept), kept.any_counted) == (6, True)


def test_the_numbers_of_a_result_need_only_the_bare_rows() -> None:
    kept = FinishedRows()
    for one in _rows():
        kept.add(one)
    plan = plan_of(*TRIALS, sub_scores={"code": ("basic",)}).model_copy(update={"num_trials": 2})

    whole = aggregate(plan, kept.whole(), metadata={})
    bare = aggregate(plan, kept.for_numbers(), metadata={})

    assert bare.model_dump(exclude={"results"}) == whole.model_dump(exclude={"results"})
    assert summary(bare, kept.for_numbers()) == summary(whole, kept.whole())
    assert bare.dataset_scores["code"].measures is not None
    assert bare.dataset_scores["code"].measures.accuracy_by_iteration


@pytest.mark.parametrize(
    ("streamed_whole", "most_rows", "said"), [(True, 5, 0), (True, 6, 6), (False, 5, 6)], ids=["many", "few", "unheard"]
)
def test_only_rows_that_were_streamed_whole_and_are_many_are_left_out_and_no_number_moves(
    most_rows: int, said: int, *, streamed_whole: bool
) -> None:
    kept = FinishedRows()
    for one in _rows():
        kept.add(one)
    plan = plan_of(*TRIALS, sub_scores={"code": ("basic",)}).model_copy(update={"num_trials": 2})

    text, words = artifact(
        plan, kept, metadata={}, printed=Printed(), streamed_whole=streamed_whole, most_rows=most_rows
    )

    result, whole = AssessmentResult.model_validate_json(text), aggregate(plan, _rows(), metadata={})
    assert (len(result.results), result.evaluation_metadata[STREAMED_ONLY]) == (said, said == 0)
    assert result.dataset_scores == whole.dataset_scores
    assert (result.overall_score, words) == (whole.overall_score, summary(whole, _rows()))


def test_nothing_counts_before_a_trial_that_counts_has_finished() -> None:
    kept = FinishedRows()
    kept.add(row(TRIALS[0], Outcome.INFRA_ERROR))

    assert not kept.any_counted
