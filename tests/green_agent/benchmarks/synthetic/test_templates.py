"""Every template: the key against a second derivation, the validity of its questions, its wordings, its difficulties."""

import random
import re
import string
from dataclasses import fields

import pytest

from services.contract import seeds
from services.green_agent.benchmarks.synthetic.decisions import TwoAssets
from services.green_agent.benchmarks.synthetic.figures import show_figures
from services.green_agent.benchmarks.synthetic.surroundings import ASIDES, FIRMS, Scene
from services.green_agent.benchmarks.synthetic.template import AnyTemplate, Difficulty, ask, draw_question
from services.green_agent.benchmarks.synthetic.templates import TEMPLATES
from services.green_agent.scoring.answers import Measure
from services.green_agent.scoring.questions import Question, is_valid
from tests.green_agent.benchmarks.synthetic.checks import CHECKS

SEEDS = 200
# The derivative in the check is numerical.
AGREEMENT = {"bond_duration": 1e-6}
NUMBER = re.compile(r"-?[0-9][0-9,]*(?:\.[0-9]+)?")

each_template = pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.name)


def drawn(template: AnyTemplate, seed: int, difficulty: Difficulty = Difficulty.HARD) -> Question[object]:
    rng = seeds.generator(seed, "test", template.name)
    question = draw_question(template, difficulty, rng, taken=set())
    assert question is not None
    return question


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


def body(question: Question[object]) -> str:
    return question.prompt.split("\n\nRequired quantities:")[0]


@each_template
def test_key_and_independent_check_agree_on_two_hundred_seeds(template: AnyTemplate) -> None:
    for seed in range(SEEDS):
        params = drawn(template, seed).params
        keys, expected = template.key(params), CHECKS[template.name](params)
        assert keys.keys() == expected.keys()
        for key, got in keys.items():
            if isinstance(got, str):
                assert got == expected[key], (seed, key)
            else:
                tolerance = AGREEMENT.get(template.name, 1e-9)
                assert got == pytest.approx(expected[key], rel=tolerance, abs=1e-9), (seed, key)


@each_template
def test_the_number_of_quantities_fits_the_difficulty(template: AnyTemplate) -> None:
    easy, medium, hard = (template.asked[difficulty] for difficulty in Difficulty)

    assert 1 <= len(easy) <= 2
    assert 2 <= len(medium) <= 3
    assert len(hard) >= 3
    assert len({quantity.key for quantity in hard}) == len(hard)
    assert {quantity.key for quantity in hard} >= {quantity.key for quantity in (*easy, *medium)}
    assert template.key(drawn(template, 1).params).keys() == {quantity.key for quantity in hard}


@each_template
def test_labels_take_every_value_of_their_list(template: AnyTemplate) -> None:
    questions = [drawn(template, seed) for seed in range(60)]

    for quantity in questions[0].quantities:
        if quantity.measure is Measure.LABEL:
            assert {question.keys[quantity.key] for question in questions} == set(quantity.labels)


@each_template
def test_every_wording_prints_every_figure_once_and_no_other_number(template: AnyTemplate) -> None:
    params = drawn(template, 3).params
    shown = show_figures(params)
    names = {field.name for field in fields(params)}  # type: ignore[arg-type]  # a dataclass known to the template alone

    assert len(template.wordings) >= 3
    assert len(set(template.wordings)) == len(template.wordings)
    for wording in template.wordings:
        used = [name for _, name, _, _ in string.Formatter().parse(wording) if name is not None]
        assert sorted(name for name in used if name not in {"firm", "other"}) == sorted(names)
        plain = wording.format(firm="A firm", other="Another", **dict.fromkeys(names, "x"))
        assert not NUMBER.search(plain)
        assert len(re.split(r"(?<=[.?]) ", wording.format(firm="A firm", other="Another", **shown))) >= 2


@each_template
@pytest.mark.parametrize("difficulty", Difficulty)
def test_no_number_of_a_question_answers_it(template: AnyTemplate, difficulty: Difficulty) -> None:
    for seed in range(40):
        question = drawn(template, seed, difficulty)
        printed = numbers(question.prompt)
        for quantity in question.quantities:
            if quantity.is_number:
                key = float(question.keys[quantity.key])
                margin = quantity.margin(key)
                assert all(abs(key - number) > 2 * margin for number in [0.0, *printed]), (seed, quantity.key)
                assert abs(key) >= 100 * 10.0**-quantity.decimals


@each_template
@pytest.mark.parametrize("difficulty", Difficulty)
def test_most_draws_are_valid_so_that_twenty_redraws_always_suffice(
    template: AnyTemplate, difficulty: Difficulty
) -> None:
    rng = random.Random(5)
    valid = sum(is_valid(ask(template, difficulty, template.draw(rng), rng)) for _ in range(100))

    assert valid >= 70


@each_template
def test_the_same_seed_gives_the_same_question(template: AnyTemplate) -> None:
    assert drawn(template, 11) == drawn(template, 11)
    assert drawn(template, 11).prompt != drawn(template, 12).prompt


@each_template
@pytest.mark.parametrize(
    ("difficulty", "fewest", "most"), [(Difficulty.EASY, 0, 1), (Difficulty.MEDIUM, 2, 2), (Difficulty.HARD, 3, 4)]
)
def test_the_figures_that_do_not_matter_are_counted(
    template: AnyTemplate, difficulty: Difficulty, fewest: int, most: int
) -> None:
    counted = set()
    for seed in range(20):
        question = drawn(template, seed, difficulty)
        needed = len(fields(question.params))  # type: ignore[arg-type]  # a dataclass known to the template alone
        stated = len(numbers(body(question))) - len(numbers(template.conventions))
        counted.add(stated - needed)
    assert counted == set(range(fewest, most + 1))


@each_template
def test_only_hard_questions_mix_units(template: AnyTemplate) -> None:
    for seed in range(20):
        for difficulty in Difficulty:
            question = drawn(template, seed, difficulty)
            usual = show_figures(question.params).values()
            as_usual = all(figure in question.prompt for figure in usual)
            assert as_usual is (difficulty is not Difficulty.HARD), question.prompt


@each_template
def test_every_parameter_is_printed_with_all_its_digits(template: AnyTemplate) -> None:
    factors = {" thousand": 1e-3, " million": 1.0, " bp": 0.01, " months": 1 / 12, " years": 12.0, " year": 12.0}
    for seed in range(30):
        question = drawn(template, seed)
        printed: set[float] = set()
        for match in re.finditer(r"(-?[0-9][0-9,]*(?:\.[0-9]+)?)( [a-z]+)?", body(question)):
            number = float(match[1].replace(",", ""))
            factor = factors.get(match[2] or "", 1.0)
            printed |= {round(value, 9) for value in (number, number * factor, number * 1000)}
        values = {round(getattr(question.params, field.name), 9) for field in fields(question.params)}  # type: ignore[arg-type]  # as above
        assert printed >= values, (seed, values - printed, question.prompt)


def test_a_question_is_not_drawn_twice() -> None:
    template = TEMPLATES["dupont"]
    taken: set[str] = set()
    first = draw_question(template, Difficulty.EASY, random.Random(1), taken=taken)
    second = draw_question(template, Difficulty.EASY, random.Random(1), taken=taken)

    assert first is not None
    assert second is not None
    assert first.params != second.params


def test_a_fact_that_does_not_matter_never_parts_a_sentence_from_what_it_points_back_at() -> None:
    template = TEMPLATES["bond_duration"]
    for seed in range(60):
        sentences = re.split(r"(?<=[.?]) ", body(drawn(template, seed)))
        at = next((at for at, sentence in enumerate(sentences) if sentence.startswith("It yields")), None)
        if at is not None:
            assert sentences[at - 1].startswith("A bond of ")


def test_there_are_the_eighteen_templates_of_the_specification() -> None:
    assert set(TEMPLATES) == set(CHECKS)
    assert len(TEMPLATES) == 18
    assert {template.scene for template in TEMPLATES.values()} == set(Scene)


def test_surroundings_hold_no_figure_of_their_own() -> None:
    assert len(set(FIRMS)) == len(FIRMS) >= 30
    assert not any(character.isdigit() for firm in FIRMS for character in firm)
    for asides in ASIDES.values():
        assert len({aside.text for aside in asides}) == len(asides)
        for aside in asides:
            assert len(NUMBER.findall(aside.tell(random.Random(1), firm="A firm"))) == 1


def test_a_correlation_that_rounds_to_nothing_is_printed_without_a_sign() -> None:
    params = TwoAssets(sd_a=23.4, sd_b=40.6, correlation=-0.0, return_a=6.95, return_b=7.43)

    assert show_figures(params)["correlation"] == "0"


def test_the_only_quantity_of_a_question_explains_itself() -> None:
    question = drawn(TEMPLATES["parity_arbitrage"], 1, Difficulty.EASY)

    assert [quantity.key for quantity in question.quantities] == ["gap_usd"]
    assert "gap_usd: call less put, less what parity asks for that difference to be; with its sign" in question.prompt
