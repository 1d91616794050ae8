"""Questions drawn from templates: what makes one valid, and how it is put together."""

import random
from dataclasses import dataclass

import pytest

from services.green_agent.scoring.answers import Measure, Quantity
from services.green_agent.scoring.questions import Question, Template, compose, draw_question, is_valid, stable


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    before: int
    after: int


QUANTITY = Quantity(key="growth_pct", meaning="growth", unit="%", decimals=2)


def question(body: str, key: float, *, decimals: int = 2, measure: Measure = Measure.RELATIVE) -> Question[None]:
    quantity = Quantity(key="sales", meaning="sales", decimals=decimals, measure=measure)
    return compose(body=body, params=None, quantities=[quantity], keys={"sales": key})


def asked(params: Growth, rng: random.Random) -> Question[Growth]:
    wording = rng.choice(["From {} to {}.", "It was {}, now it is {}."])
    body = wording.format(params.before, params.after)
    return compose(body=body, params=params, quantities=[QUANTITY], keys=key(params))


def key(params: Growth) -> dict[str, float]:
    return {"growth_pct": 100 * (params.after / params.before - 1)}


GROWTH: Template[Growth] = Template(
    name="growth",
    wordings=("a", "b", "c"),
    conventions="",
    draw=lambda rng: Growth(before=rng.choice((110, 120)), after=rng.choice((130, 160))),
    key=key,
)


@pytest.mark.parametrize(
    ("body", "key", "valid"),
    [
        ("Sales were 1,250 last year.", 1300.0, True),
        ("Sales were 1,250 last year.", 1250.0, False),
        ("Sales were 1,250 last year.", 1260.0, False),
        ("Sales were 1,250 last year.", -1250.0, True),
        ("A loss of -1,250.", 1250.0, False),
        ("A margin of 32 %.", 32.0, False),
        ("A margin of 32 %.", 0.32, False),
        ("Sales of 7.5 million USD.", 7_500_000.0, False),
        ("Sales of 7.5 thousand USD.", 7_500.0, False),
        ("A spread of 450 bp.", 0.045, False),
        ("No figure.", float("nan"), False),
        ("No figure.", float("inf"), False),
        ("No figure.", 0.0, False),
    ],
)
def test_no_number_of_a_question_may_answer_it_under_any_reading(body: str, key: float, valid: bool) -> None:  # noqa: FBT001
    assert is_valid(question(body, key, decimals=6)) is valid


@pytest.mark.parametrize(("key", "valid"), [(0.99, False), (1.13, True), (-0.5, False), (-87.0, True)])
def test_a_key_has_three_significant_digits(key: float, valid: bool) -> None:  # noqa: FBT001
    assert is_valid(question("No figure.", key)) is valid


def test_a_count_of_two_digits_is_too_easily_guessed() -> None:
    assert not is_valid(question("No figure.", 57, measure=Measure.COUNT))
    assert is_valid(question("No figure.", 157, measure=Measure.COUNT))


def test_a_key_keeps_away_from_numbers_that_are_guessed() -> None:
    assert is_valid(question("No figure.", 42.1))
    assert not is_valid(question("No figure.", 42.1), apart_from=[42.0])
    assert is_valid(question("No figure.", 42.1), apart_from=[40.0])


def test_the_prompt_ends_with_the_form_and_keys_that_are_not_asked_for_are_left_out() -> None:
    made = compose(body="  A\n  question.  ", params=1, quantities=[QUANTITY], keys={"growth_pct": 5.0, "other": 1.0})

    assert made.prompt.startswith("A question.\n\nRequired quantities:\n- growth_pct: growth; %; 2 decimals")
    assert made.prompt.endswith('FINAL ANSWER: {"growth_pct": <number>}')
    assert made.keys == {"growth_pct": 5.0}


def test_parameters_are_never_drawn_twice_and_drawing_ends() -> None:
    taken: set[str] = set()
    rng = random.Random(1)
    drawn = [draw_question(GROWTH, asked, rng, taken=taken) for _ in range(6)]

    params = [one.params for one in drawn if one is not None]
    assert len(params) == len(set(params)) == 4
    assert drawn[4:] == [None, None]


def test_a_template_without_valid_parameters_gives_up_after_twenty_redraws() -> None:
    tries: list[Growth] = []

    def ask(params: Growth, rng: random.Random) -> Question[Growth]:
        tries.append(params)
        return asked(params, rng)

    draw = draw_question(
        GROWTH,
        ask,
        random.Random(1),
        taken=set(),
        apart_from=[100 * a / b for a in (10, 40, 20, 50) for b in (110, 120)],
    )

    assert draw is None
    assert len(tries) == 21


def test_digests_do_not_hang_on_the_last_bits_of_a_key() -> None:
    assert stable({"a": 0.1 + 0.2, "b": "sell", "c": 3, "d": True}) == {
        "a": "0.3",
        "b": "'sell'",
        "c": "3",
        "d": "True",
    }


@pytest.mark.parametrize(
    ("unit", "body", "key", "valid"),
    [
        ("%", "Spot rates are 3.47 %, 365 bp and 379 bp.", 3.7823, False),
        ("%", "Spot rates are 3.47 %, 365 bp and 379 bp.", 3.9, True),
        ("million USD", "It keeps 330,800 thousand USD.", 330.8, False),
        ("million USD", "It keeps 330,800 thousand USD.", 340.8, True),
        ("%", "A ratio of 0.0379.", 3.79, True),
    ],
)
def test_no_number_answers_a_question_once_its_unit_is_turned_into_the_one_asked_for(
    unit: str,
    body: str,
    key: float,
    valid: bool,  # noqa: FBT001
) -> None:
    quantity = Quantity(key="asked", meaning="what is asked", unit=unit, decimals=3)

    assert is_valid(compose(body=body, params=None, quantities=[quantity], keys={"asked": key})) is valid
