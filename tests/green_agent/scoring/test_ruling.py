"""Who decides on a short answer."""

from __future__ import annotations

import pytest

from services.contract.outcomes import Failure, Outcome
from services.green_agent.judge.asking import Case, Material
from services.green_agent.scoring.extract import IdSetKey, Key, NumberKey, TextKey, mark
from services.green_agent.scoring.numbers import Number
from services.green_agent.scoring.ruling import Ruling, rule
from tests.support.scripted_judge import ScriptedJudge

FIVE: Key = NumberKey(number=Number(value=5.0), tolerance=0.01)
IDS: Key = IdSetKey(ids=frozenset({1, 3}))
TEXT = TextKey(text="Alpha")
BROKEN = Failure(Outcome.JUDGE_ERROR, "no_verdict", "made by a test")


async def decide(reply: str, key: Key, judge: ScriptedJudge | None = None) -> Ruling:
    case = Case(instructions="compare", materials=(Material(name="answer", text=reply, role="answer"),))
    return await rule(mark(reply, key), case=case, judge=judge, benchmark="test")


@pytest.mark.parametrize(
    ("reply", "key", "score"),
    [
        ("FINAL ANSWER: 5", FIVE, 1.0),
        ("FINAL ANSWER: 6", FIVE, 0.0),
        ("it is 5", FIVE, 1.0),
        ("FINAL ANSWER: [2]", IDS, 0.0),
        ("Alpha", TEXT, 1.0),
    ],
)
async def test_what_the_rule_settles_is_never_judged(reply: str, key: Key, score: float) -> None:
    judge = ScriptedJudge(agrees=lambda case: score == 0)

    ruling = await decide(reply, key, judge)

    assert (ruling.score, judge.cases) == (score, [])
    assert ruling.scored_by.startswith("rule:")


@pytest.mark.parametrize("key", [FIVE, IDS, TEXT])
@pytest.mark.parametrize(("verdict", "score"), [(True, 1.0), (False, 0.0)])
async def test_what_the_rule_does_not_settle_the_judge_decides(key: Key, *, verdict: bool, score: float) -> None:
    ruling = await decide("some prose", key, ScriptedJudge(agrees=lambda case: verdict))

    assert ruling == Ruling(score=score, scored_by="scripted-judge", reason="because the script says so")


@pytest.mark.parametrize("reply", ["it is 6", "I cannot say"])
async def test_without_a_judge_an_answer_with_a_rule_is_wrong(reply: str) -> None:
    assert (await decide(reply, FIVE)).score == 0.0


async def test_without_a_judge_a_text_is_unscored() -> None:
    with pytest.raises(Failure) as caught:
        await decide("Beta", TEXT)

    assert (caught.value.outcome, caught.value.kind) == (Outcome.JUDGE_ERROR, "no_judge")


async def test_a_reply_of_blanks_is_wrong_and_costs_no_judgement() -> None:
    judge = ScriptedJudge(agrees=lambda case: True)

    assert [(await decide("  \n", key, judge)).score for key in (FIVE, IDS, TEXT)] == [0.0, 0.0, 0.0]
    assert judge.cases == []


@pytest.mark.parametrize("key", [FIVE, TEXT])
async def test_a_judge_that_fails_leaves_the_answer_unscored(key: Key) -> None:
    with pytest.raises(Failure) as caught:
        await decide("some prose", key, ScriptedJudge(failure=BROKEN))

    assert caught.value is BROKEN


async def test_a_declared_fallback_takes_the_rule_and_says_so() -> None:
    ruling = await decide("it is 6", FIVE, ScriptedJudge(failure=BROKEN, fallback="rule"))

    assert (ruling.score, ruling.scored_by) == (0.0, "rule_fallback")


async def test_a_text_has_no_rule_to_fall_back_on() -> None:
    with pytest.raises(Failure):
        await decide("some prose", TEXT, ScriptedJudge(failure=BROKEN, fallback="rule"))
