"""Twists change real answers on their way out, and only as they say."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from services.contract.outcomes import Outcome
from services.purple_agent.answer import Answer, NoAnswer
from services.purple_agent.baselines.twists import INJECTIONS, TWISTS, Twisted, TwistError, twist


@dataclass(frozen=True)
class Fixed:
    given: Answer | NoAnswer

    async def answer(self, text: str) -> Answer | NoAnswer:
        return self.given


async def twisted(spec: str, text: str = "42", question: str = "6 x 7?") -> Answer | NoAnswer:
    return await Twisted(Fixed(Answer(text=text)), twist(spec)).answer(question)


async def test_a_duplicate_is_the_same_answer_to_be_sent_twice() -> None:
    assert await twisted("duplicate") == Answer(text="42", repeated=True)


async def test_padding_comes_before_the_answer() -> None:
    given = await twisted("padding")

    assert isinstance(given, Answer)
    assert given.text.count("lorem ipsum") == 600
    assert given.text.endswith("\n42")


@pytest.mark.parametrize("kind", INJECTIONS)
async def test_an_injection_comes_before_the_answer(kind: str) -> None:
    given = await twisted(f"injection:{kind}")

    assert given == Answer(text=f"{INJECTIONS[kind]}\n42")


@pytest.mark.parametrize(("name", "outcome"), [("crash", Outcome.AGENT_ERROR), ("blame", Outcome.INFRA_ERROR)])
async def test_failing_hits_the_same_questions_every_time_and_about_the_share(name: str, outcome: Outcome) -> None:
    ends = [await twisted(f"{name}:0.5", question=f"q{n}") for n in range(400)]
    failed = [n for n, end in enumerate(ends) if isinstance(end, NoAnswer)]

    assert 160 <= len(failed) <= 240
    assert {end.outcome for end in ends if isinstance(end, NoAnswer)} == {outcome}
    assert [n for n in range(400) if isinstance(await twisted(f"{name}:0.5", question=f"q{n}"), NoAnswer)] == failed


async def test_a_failure_stays_a_failure() -> None:
    lost = NoAnswer(outcome=Outcome.INFRA_ERROR, kind="http_503", message="down")

    assert await Twisted(Fixed(lost), twist("padding")).answer("x") == lost


@pytest.mark.parametrize(
    "spec",
    ["nothing", "duplicate:2", "padding:x", "injection:loud", "crash:often", "crash:97", "blame:nan", "blame:-1"],
)
def test_a_twist_that_does_not_exist_is_named(spec: str) -> None:
    with pytest.raises(TwistError):
        twist(spec)


def test_every_twist_has_a_row_in_the_audit_or_a_test_here() -> None:
    assert set(TWISTS) == {"duplicate", "padding", "injection", "crash", "blame"}
