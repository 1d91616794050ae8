import json

import pytest
from pydantic import JsonValue

from services.contract.aggregation import aggregate
from services.contract.judgements import Judgement
from services.contract.outcomes import Outcome
from services.contract.printing import Printed, Shown
from services.contract.results import AssessmentResult, Section, TaskResult
from tests.support.rows import plan_of, planned, row


def printed(found: TaskResult, how: Printed | None = None) -> dict[str, JsonValue]:
    """The row as a reader of the result file gets it."""
    trials = planned(found.benchmark, found.section, tasks=1)
    result = (how or Printed()).apply(aggregate(plan_of(*trials), [found], metadata={}))
    again = AssessmentResult.model_validate_json(result.model_dump_json())
    shown: dict[str, JsonValue] = json.loads(again.results[0].model_dump_json())
    return shown


def a_row(benchmark: str = "options", outcome: Outcome = Outcome.SCORED, **fields: object) -> TaskResult:
    trial = planned(benchmark, Section.OPTIONS_TRADING, tasks=1)[0]
    return row(trial, outcome, score=0.8).model_copy(update=fields)


def test_long_texts_are_cut_visibly_and_short_ones_stay() -> None:
    shown = printed(a_row(answer="a" * 201, question="q" * 201, expected="e" * 101))

    assert shown["answer"] == shown["predicted"] == "a" * 200 + " [...]"
    assert shown["question"] == "q" * 200 + " [...]"
    assert shown["expected"] == "e" * 100 + " [...]"
    assert printed(a_row(answer="a" * 200, expected="e" * 100))["answer"] == "a" * 200


def test_texts_can_be_kept_whole_or_left_out() -> None:
    how = Printed(
        predicted=Shown(max_chars=5, truncate=False),
        question=Shown(max_chars=5, store=False),
        expected=Shown(max_chars=0),
    )

    shown = printed(a_row(answer="a" * 999, question="q", expected="key"), how)

    assert (shown["answer"], shown["question"], shown["expected"]) == ("a" * 999, "", " [...]")


def test_a_row_carries_the_names_of_agentbusters_too() -> None:
    call = Judgement(purpose="criteria 1-10", model="m", raw="what the model said")
    shown = printed(a_row(explanation="3 of 4", answer="x", judgements=(call,)))

    assert {name: shown[name] for name in ("example_id", "dataset_type", "predicted", "is_correct", "feedback")} == {
        "example_id": "options-0",
        "dataset_type": "options",
        "predicted": "x",
        "is_correct": True,
        "feedback": "3 of 4",
    }
    assert shown["llm_used"] is True
    assert "what the model said" not in json.dumps(shown)


@pytest.mark.parametrize(("benchmark", "native"), [("options", 80.0), ("crypto", 80.0), ("prbench", 0.8)])
def test_options_and_crypto_print_their_own_scale(benchmark: str, native: float) -> None:
    assert printed(a_row(benchmark))["score_native"] == native


def test_what_was_not_scored_has_no_native_score_either() -> None:
    assert printed(a_row(outcome=Outcome.INFRA_ERROR))["score_native"] is None
    assert printed(a_row(outcome=Outcome.AGENT_ERROR))["score_native"] == 0.0


def test_details_stand_at_top_level_unless_a_field_has_their_name() -> None:
    details: dict[str, JsonValue] = {"baseline_score": 61.5, "metrics": {"fees": 1}, "events": [{"bar": 3}]}
    shown = printed(a_row("crypto", details=details, metrics={"trades": 2}))

    assert (shown["baseline_score"], shown["events"]) == (61.5, [{"bar": 3}])
    assert shown["metrics"] == {"trades": 2}
    assert shown["details"] == details
