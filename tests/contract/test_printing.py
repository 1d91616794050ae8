from services.contract.aggregation import aggregate
from services.contract.printing import Printed
from services.contract.results import Section
from tests.support.rows import plan_of, planned, row


def shown(printed: Printed, answer: str) -> str:
    trials = planned("options", Section.OPTIONS_TRADING, tasks=1)
    rows = [row(trials[0], score=1.0).model_copy(update={"answer": answer})]
    return printed.apply(aggregate(plan_of(*trials), rows, metadata={})).results[0].answer


def test_a_long_answer_is_cut_visibly_and_a_short_one_stays() -> None:
    assert shown(Printed(), "x" * 201) == "x" * 200 + " [...]"
    assert shown(Printed(), "x" * 200) == "x" * 200


def test_answers_can_be_kept_whole_or_left_out() -> None:
    assert shown(Printed(truncate=False), "x" * 999) == "x" * 999
    assert shown(Printed(answers=False), "x") == ""
