"""Every template: the key against a second derivation, the validity of its questions, its wordings."""

import math
import random
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace

import pytest

from services.contract import seeds
from services.green_agent.benchmarks.options.template import (
    AnyTemplate,
    Category,
    Dimension,
    ask,
    draw_question,
)
from services.green_agent.benchmarks.options.templates import TEMPLATES
from services.green_agent.scoring.answers import Measure
from services.green_agent.scoring.questions import Question, is_valid
from tests.green_agent.benchmarks.options.checks import CHECKS

ALL: tuple[AnyTemplate, ...] = tuple(template for templates in TEMPLATES.values() for template in templates)
SEEDS = 200
# A tree of 400 steps and an iterative solution are no better than this.
AGREEMENT = {"american_put": 1e-3, "implied_vol": 1e-8}

each_template = pytest.mark.parametrize("template", ALL, ids=lambda template: template.name)


def drawn(template: AnyTemplate, seed: int) -> Question[object]:
    question = draw_question(template, seeds.generator(seed, "test", template.name), taken=set())
    assert question is not None
    return question


@each_template
def test_key_and_independent_check_agree_on_two_hundred_seeds(template: AnyTemplate) -> None:
    for seed in range(SEEDS):
        question = drawn(template, seed)
        expected = CHECKS[template.name](question.params)
        for quantity in question.quantities:
            got, wanted = question.keys[quantity.key], expected[quantity.key]
            if quantity.measure in {Measure.RELATIVE, Measure.ABSOLUTE}:
                assert got == pytest.approx(wanted, rel=AGREEMENT.get(template.name, 1e-9), abs=1e-9), (
                    seed,
                    quantity.key,
                )
            else:
                assert got == wanted, (seed, quantity.key)


@each_template
def test_the_key_has_exactly_the_quantities_that_are_asked(template: AnyTemplate) -> None:
    question = drawn(template, 1)

    assert set(template.key(question.params)) == {quantity.key for quantity in question.quantities}
    assert len(question.keys) == len(template.asked)


@each_template
def test_labels_and_truth_values_take_every_value_of_their_list(template: AnyTemplate) -> None:
    questions = [drawn(template, seed) for seed in range(SEEDS)]

    for quantity in questions[0].quantities:
        seen = {question.keys[quantity.key] for question in questions}
        if quantity.measure is Measure.LABEL:
            assert seen == set(quantity.labels)
        if quantity.measure is Measure.BOOL:
            assert seen == {True, False}


@each_template
def test_every_wording_of_a_question_prints_the_same_numbers(template: AnyTemplate) -> None:
    question = drawn(template, 3)
    body_numbers = [
        sorted(re.findall(r"[0-9][0-9,.]*[0-9]|[0-9]", wording.format(p=question.params)))
        for wording in template.wordings
    ]

    assert len(template.wordings) >= 3
    assert len(set(template.wordings)) == len(template.wordings)
    assert all(numbers == body_numbers[0] for numbers in body_numbers)
    assert "{" not in question.prompt.split("Required quantities:")[0]


@each_template
def test_no_number_of_a_question_answers_it(template: AnyTemplate) -> None:
    for seed in range(40):
        question = drawn(template, seed)
        printed = [float(text.replace(",", "")) for text in re.findall(r"-?[0-9][0-9,]*(?:\.[0-9]+)?", question.prompt)]
        for quantity in question.quantities:
            if quantity.is_number:
                key = float(question.keys[quantity.key])
                margin = quantity.margin(key)
                assert all(abs(key - number) > 2 * margin for number in [0.0, *printed]), (seed, quantity.key)


@each_template
def test_most_draws_are_valid_so_that_twenty_redraws_always_suffice(template: AnyTemplate) -> None:
    rng = random.Random(5)
    valid = sum(is_valid(ask(template, template.draw(rng), template.wordings[0])) for _ in range(100))

    assert valid >= 55


@each_template
def test_the_same_seed_gives_the_same_question(template: AnyTemplate) -> None:
    assert drawn(template, 11) == drawn(template, 11)
    assert drawn(template, 11).prompt != drawn(template, 12).prompt


def test_a_question_is_not_drawn_twice() -> None:
    template = ALL[0]
    taken: set[str] = set()
    first = draw_question(template, random.Random(1), taken=taken)
    second = draw_question(template, random.Random(1), taken=taken)

    assert first is not None
    assert second is not None
    assert first.params != second.params


def test_a_template_without_valid_parameters_gives_up_after_twenty_redraws() -> None:
    draws: list[int] = []

    def draw(rng: random.Random) -> object:
        draws.append(1)
        return ALL[0].draw(rng)

    stuck = replace(ALL[0], draw=draw, key=lambda params: {**ALL[0].key(params), "call_usd": math.nan})

    assert draw_question(stuck, random.Random(3), taken=set()) is None
    assert len(draws) == 21


def leaves(params: object) -> Iterator[float]:
    """Every number in a tree of dataclasses and tuples."""
    if is_dataclass(params):
        params = tuple(getattr(params, field.name) for field in fields(params))
    if isinstance(params, tuple):
        for inner in params:
            yield from leaves(inner)
    elif isinstance(params, int | float):
        yield abs(params)


@each_template
def test_every_parameter_is_printed_with_all_its_digits(template: AnyTemplate) -> None:
    for seed in range(30):
        question = drawn(template, seed)
        printed = {float(text.replace(",", "")) for text in re.findall(r"[0-9][0-9,]*(?:\.[0-9]+)?", question.prompt)}
        assert printed.issuperset(leaves(question.params)), (seed, question.params)


def test_names_are_unique_and_every_category_and_dimension_is_served() -> None:
    names = [template.name for template in ALL]
    dimensions = {asked.dimension for template in ALL for asked in template.asked}

    assert len(set(names)) == len(names) == 30
    assert set(TEMPLATES) == set(Category)
    assert dimensions == set(Dimension)
    assert set(CHECKS) == set(names)
    assert all(template.category is category for category, templates in TEMPLATES.items() for template in templates)


def test_what_a_win_pays_counts_beside_the_stake_in_every_wording() -> None:
    (kelly,) = [template for template in ALL if template.name == "kelly"]

    assert "A win adds the stated multiple of the stake to the capital" in kelly.conventions
    assert not any(word in wording for wording in kelly.wordings for word in ("returns", "pays"))


def test_a_book_is_counted_in_contracts() -> None:
    (book,) = [template for template in ALL if template.name == "book_greeks"]

    for wording in book.wordings:
        assert ask(book, book.draw(random.Random(3)), wording).prompt.count(" contracts with strike ") == 3
