"""Baselines by name: what they say, what they refuse, and that they say it again."""

from __future__ import annotations

import json

import pytest

from services.contract.outcomes import Outcome, is_error_text
from services.purple_agent.answer import Answer, NoAnswer
from services.purple_agent.baselines.registry import BASELINES, BaselineError, baseline

QUESTIONS = tuple(f"What is {number} + {number}?" for number in range(1_000))


async def said(spec: str, question: str = "What is 2 + 2?") -> str:
    given = await baseline(spec).answer(question)
    assert isinstance(given, Answer)
    return given.text


async def test_constant_says_what_it_was_given_and_else_that_it_does_not_know() -> None:
    assert await said("constant:FINAL ANSWER: 7") == "FINAL ANSWER: 7"
    assert await said("constant") == "I do not know."


async def test_echo_returns_the_question() -> None:
    assert await said("echo", "Price the call.") == "Price the call."


async def test_hold_is_a_valid_decision_that_does_nothing() -> None:
    decision = json.loads(await said("hold"))

    assert (decision["action"], decision["size"], decision["stop_loss"], decision["take_profit"]) == (
        "HOLD",
        0,
        None,
        None,
    )


async def test_keyword_soup_has_the_words_of_options_trading_and_no_number() -> None:
    text = await said("keyword-soup")

    assert {"delta", "gamma", "theta", "vega", "rho", "breakeven", "hedging"} <= set(
        text.lower().replace(",", "").split()
    )
    assert not any(character.isdigit() for character in text)


async def test_number_list_counts_to_ninety() -> None:
    assert [int(number) for number in (await said("number-list")).split(",")] == list(range(1, 91))


async def test_error_text_completes_with_what_green_knows_for_an_error() -> None:
    assert is_error_text(await said("error-text"))


@pytest.mark.parametrize(("name", "outcome"), [("crash-rate", "agent_error"), ("selective-failure", "infra_error")])
async def test_a_share_of_the_messages_fails_and_always_the_same_ones(name: str, outcome: str) -> None:
    first, second = [[await baseline(f"{name}:0.3").answer(question) for question in QUESTIONS] for _ in range(2)]

    failures = [given for given in first if isinstance(given, NoAnswer)]
    assert first == second
    assert 240 <= len(failures) <= 360
    assert {failure.outcome for failure in failures} == {Outcome(outcome)}


@pytest.mark.parametrize(("share", "failing"), [("0", 0), ("1", 1_000)])
async def test_the_ends_of_the_share_are_none_and_all(share: str, failing: int) -> None:
    given = [await baseline(f"crash-rate:{share}").answer(question) for question in QUESTIONS]

    assert sum(isinstance(one, NoAnswer) for one in given) == failing


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("keyword-soop", "did you mean 'keyword-soup'?"),
        ("echo:x", "takes no argument"),
        ("hold:x", "takes no argument"),
        ("crash-rate", "needs a number after the colon, got ''"),
        ("crash-rate:1.5", "needs a share from 0 to 1, got '1.5'"),
        ("crash-rate:nan", "needs a share from 0 to 1, got 'nan'"),
        (
            "cheating-code:guess",
            "needs one of equal, exit, early-exit, forged, frames, patched after the colon, got 'guess'",
        ),
        ("slow:-1", "needs seconds from 0 to 86,400, got '-1'"),
        ("", "known: blank, buy-each-step, cheating-code, constant,"),
    ],
)
def test_a_wrong_name_or_argument_is_refused_with_the_remedy(spec: str, remedy: str) -> None:
    with pytest.raises(BaselineError, match="baseline") as refused:
        baseline(spec)

    assert remedy in str(refused.value)


@pytest.mark.parametrize(
    ("question", "name"),
    [
        ("Write the Python function `total` so that it does what its docstring says.", "total"),
        ("```python\ndef area(a, b):\n```", "area"),
        ("Read a number and print it.", "solve"),
    ],
)
async def test_a_cheating_program_bears_the_name_it_is_asked_for(question: str, name: str) -> None:
    text = await said("cheating-code:exit", question)

    assert f"def {name}(" in text


@pytest.mark.parametrize("name", BASELINES)
async def test_every_baseline_answers_a_question_the_same_way_twice(name: str) -> None:
    arguments = {"crash-rate": ":0", "selective-failure": ":0", "slow": ":0", "cheating-code": ":exit"}
    spec = name + arguments.get(name, "")

    assert await said(spec) == await said(spec)
