"""BizFinBench.v2 from the conversation to the score."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import Score, ScoringTools
from services.green_agent.benchmarks.bizfinbench import BizFinBench, BizFinBenchTask
from services.green_agent.benchmarks.bizfinbench.kinds import TASK_TYPES
from tests.green_agent.benchmarks.bizfinbench.files import benchmark, row, write
from tests.support.scripted_judge import ScriptedJudge
from tests.support.scripted_session import ScriptedSession

QUANTITY = "financial_quantitative_computation"
EVENTS = "event_logic_reasoning"
TURNS = (("user", "Revenue is 10."), ("user", "Cost is 4."), ("user", "What is the profit?"))
SCRIPTED = (
    ("system", "Be brief."),
    ("user", "Revenue is 10."),
    ("assistant", "Noted."),
    ("user", "Cost is 4. What is the profit?"),
    ("assistant", "It is 6."),
)


def one(
    folder: Path, task_type: str, reference: str, *turns: tuple[str, str], answer_format: str = "as_is"
) -> tuple[BizFinBench, BizFinBenchTask]:
    write(folder, TASK_TYPES[task_type].member("en"), [row(reference, *turns)])
    loaded = benchmark(folder, task_types=[task_type], answer_format=answer_format)
    (task,) = loaded.tasks()
    return loaded, task


async def answered(
    folder: Path, task_type: str, reference: str, reply: str, *, judge: ScriptedJudge | None = None
) -> Score:
    loaded, task = one(folder, task_type, reference)
    session = ScriptedSession(reply)
    await loaded.converse(task, 0, session)
    return await loaded.score(task, 0, session.transcript, ScoringTools(judge=judge))


async def test_every_user_turn_is_sent_in_one_context_and_the_last_reply_is_the_answer(tmp_path: Path) -> None:
    loaded, task = one(tmp_path, QUANTITY, "6", *TURNS)
    session = ScriptedSession("FINAL ANSWER: 10", "FINAL ANSWER: 4", "FINAL ANSWER: 6")

    await loaded.converse(task, 0, session)
    score = await loaded.score(task, 0, session.transcript, ScoringTools())

    assert [turn.question for turn in session.turns] == ["Revenue is 10.", "Cost is 4.", "What is the profit?"]
    assert {turn.branch for turn in session.turns} == {""}
    assert session.notes["conversation"] == "turns"
    assert (task.messages, score.score, score.answer) == (3, 1.0, "6")


async def test_scripted_assistant_turns_are_rendered_into_one_message_without_the_answer(tmp_path: Path) -> None:
    loaded, task = one(tmp_path, QUANTITY, "6", *SCRIPTED)
    session = ScriptedSession("6")

    await loaded.converse(task, 0, session)

    (turn,) = session.turns
    assert turn.question == (
        "The conversation so far:\n\nInstructions: Be brief.\n\nUser: Revenue is 10.\n\nAssistant: Noted.\n\n"
        "Answer the user's last message:\n\nCost is 4. What is the profit?"
    )
    assert (session.notes["conversation"], task.messages) == ("rendered", 1)


async def test_a_chinese_conversation_is_rendered_in_chinese(tmp_path: Path) -> None:
    write(
        tmp_path,
        "cn/event_logic_reasoning_cn.jsonl",
        [row("2,1", ("user", "\u4e00"), ("assistant", "\u4e8c"), ("user", "\u4e09"))],
    )
    loaded = benchmark(tmp_path, task_types=[EVENTS], languages=["zh"], answer_format="final_answer")
    (task,) = loaded.tasks()
    session = ScriptedSession("\u6700\u7ec8\u7b54\u6848\uff1a2\uff0c1")

    await loaded.converse(task, 0, session)
    score = await loaded.score(task, 0, session.transcript, ScoringTools())

    assert "\u7528\u6237: \u4e00\n\n\u52a9\u624b: \u4e8c" in task.prompt
    assert task.prompt.endswith("\u6700\u7ec8\u7b54\u6848\uff1a<\u7b54\u6848>")
    assert (score.score, score.scored_by) == (1.0, "rule:final_answer")


def test_the_last_turn_asks_for_a_final_answer_where_the_suite_wants_one(tmp_path: Path) -> None:
    _, task = one(tmp_path, QUANTITY, "6", *TURNS, answer_format="final_answer")

    assert task.turns[:2] == ("Revenue is 10.", "Cost is 4.")
    assert task.turns[2] == "What is the profit?\n\nClose your reply with one line: FINAL ANSWER: <answer>"


@pytest.mark.parametrize(
    ("task_type", "reference", "reply", "score"),
    [
        (QUANTITY, "1234.5", "about 1234.5 dollars", 1.0),
        (QUANTITY, "12.5", "In 2024 the growth was 12.5", 1.0),
        (QUANTITY, "12.5", "The growth was 12.5 in 2024.", 1.0),
        (QUANTITY, "12.5", "first I tried 7, FINAL ANSWER: 12.5\nthen noise 99", 1.0),
        ("stock_price_predict", "101.0", "answer_boxed{{101.25}}\ninterval_boxed{[100.24,102.26]}", 1.0),
        (QUANTITY, "41.5977", '{"answer": "41.5977%"}', 1.0),
        (QUANTITY, "0.415977", '{"answer": "41.5977%"}', 1.0),
        (QUANTITY, "134661000000", "FY2024 EBITDA was $134.66B", 1.0),
        (QUANTITY, "-1250.75", "loss of ($1,250.75)", 1.0),
        (QUANTITY, "-3.2", "\u22123.2", 1.0),
        (QUANTITY, "0.001", "x = 1e-3", 1.0),
        (QUANTITY, "12.5", "12.5.", 1.0),
        (EVENTS, "2,1,4,3", "Step 1: compare. Step 2: sort.\n2,1,4,3", 1.0),
        (EVENTS, "2,1,4,3", "1,2,3 then 2,1,4,3 and 4,4,4,4", 1.0),
        ("financial_data_description", "[1, 3]", "I think none", 0.0),
        ("user_sentiment_analysis", "banana", "a", 0.0),
        (QUANTITY, "42", "ANSWER: 42.ANSWER: 42.", 1.0),
        (QUANTITY, "37", ", ".join(map(str, range(1, 91))), 0.0),
        (QUANTITY, "42", "<think>42</think> I cannot say", 0.0),
    ],
)
async def test_the_vectors_of_the_specification_hold_without_a_judge(
    tmp_path: Path, task_type: str, reference: str, reply: str, score: float
) -> None:
    result = await answered(tmp_path, task_type, reference, reply)

    assert (result.score, result.passed) == (score, score == 1.0)


async def test_a_reference_that_is_no_id_list_is_judged_or_unscored_and_never_right_by_rule(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        await answered(tmp_path, "financial_data_description", "not an id list", "I think none")

    assert (caught.value.outcome, caught.value.kind) == (Outcome.JUDGE_ERROR, "no_judge")


async def test_an_explicit_wrong_answer_has_no_appeal(tmp_path: Path) -> None:
    judge = ScriptedJudge(agrees=lambda case: True)

    score = await answered(tmp_path, QUANTITY, "6", "By another convention 6, but FINAL ANSWER: 7", judge=judge)

    assert (score.score, score.scored_by, judge.cases) == (0.0, "rule:final_answer", [])


@pytest.mark.parametrize(("verdict", "score"), [(True, 1.0), (False, 0.0)])
async def test_a_tolerant_wrong_answer_goes_to_the_judge(tmp_path: Path, *, verdict: bool, score: float) -> None:
    judge = ScriptedJudge(agrees=lambda case: verdict)

    result = await answered(tmp_path, QUANTITY, "6", "<think>6 or 7</think>Six, that is 10 less 4", judge=judge)

    assert (result.score, result.scored_by, result.metrics["rule_score"]) == (score, "scripted-judge", 0.0)
    (case,) = judge.cases
    assert [(material.role, material.text) for material in case.materials] == [
        ("question", "What is it?"),
        ("reference", "6"),
        ("answer", "Six, that is 10 less 4"),
    ]
    assert "number" in case.instructions
    assert "at most 1 % of the reference" in case.instructions


async def test_a_judge_that_fails_leaves_the_trial_unscored_or_falls_back_aloud(tmp_path: Path) -> None:
    failure = Failure(Outcome.JUDGE_ERROR, "no_verdict", "made by a test")

    with pytest.raises(Failure):
        await answered(tmp_path, QUANTITY, "6", "seven", judge=ScriptedJudge(failure=failure))
    score = await answered(tmp_path, QUANTITY, "6", "seven", judge=ScriptedJudge(failure=failure, fallback="rule"))

    assert (score.score, score.scored_by) == (0.0, "rule_fallback")


async def test_a_partly_right_map_keeps_its_share_and_does_not_pass(tmp_path: Path) -> None:
    reference = '[{"description_id": 1, "answer": [1]}, {"description_id": 2, "answer": [2, 3]}]'
    reply = 'So:\n[{"description_id": 1, "answer": [1]}, {"description_id": 2, "answer": [3]}]'

    score = await answered(tmp_path, "financial_multi_turn_perception", reference, reply)

    assert (score.score, score.passed) == (0.5, False)


async def test_what_was_read_is_kept_with_zone_value_and_unit(tmp_path: Path) -> None:
    score = await answered(tmp_path, QUANTITY, "6", "the answer is 7.5 %")

    assert score.metrics["extraction"] == "cue"
    assert score.details["extraction"] == {"zone": "cue", "value": "7.5", "unit": "%"}
    assert score.explanation == "read 7.5 % from cue: wrong"
