"""The answer form: what is asked, how a reply is read, what is right."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.answers import (
    Grade,
    Measure,
    Quantity,
    Value,
    answer_form,
    grade,
    read,
    reminder,
)

PRICE = Quantity(key="call_usd", meaning="value of the call", unit="USD per share")
VOLATILITY = Quantity(key="vol_pct", meaning="implied volatility", unit="%", decimals=2)
CHANCE = Quantity(
    key="chance_pct", meaning="probability", unit="%", measure=Measure.ABSOLUTE, tolerance=0.5, decimals=3
)
CONTRACTS = Quantity(key="contracts", meaning="contracts", unit="contracts", measure=Measure.COUNT, decimals=0)
SIDE = Quantity(key="side", meaning="the trade", measure=Measure.LABEL, labels=("buy", "stand aside"))
COPY = Quantity(key="copy", meaning="whether to copy", measure=Measure.BOOL)
ALL = (PRICE, VOLATILITY, CHANCE, CONTRACTS, SIDE, COPY)
KEYS: dict[str, Value] = {
    "call_usd": 4.381425,
    "vol_pct": 32.0,
    "chance_pct": 34.974,
    "contracts": 132,
    "side": "stand aside",
    "copy": False,
}
RIGHT = (
    '{"call_usd": 4.3814, "vol_pct": 32.0, "chance_pct": 34.97, "contracts": 132, "side": "stand aside", "copy": false}'
)


def graded(reply: str, *quantities: Quantity) -> Grade:
    asked = quantities or ALL
    return grade(asked, KEYS, read(reply, asked))


def right(reply: str, *quantities: Quantity) -> list[str]:
    return [mark.quantity.key for mark in graded(reply, *quantities).marks if mark.right]


def test_the_form_states_every_quantity_its_unit_and_its_tolerance() -> None:
    assert answer_form(ALL) == (
        "Required quantities:\n"
        "- call_usd: value of the call; USD per share; 4 decimals, within 0.5 %\n"
        "- vol_pct: implied volatility; %; 2 decimals, within 0.5 %\n"
        "- chance_pct: probability; %; 3 decimals, within 0.5 percentage points\n"
        "- contracts: contracts; contracts; a whole number, exact\n"
        '- side: the trade; one of "buy", "stand aside"\n'
        "- copy: whether to copy; true or false\n"
        "Half a unit of the last decimal asked for is always tolerated. Percentages are given in percent.\n"
        "Close your reply with one line:\n"
        'FINAL ANSWER: {"call_usd": <number>, "vol_pct": <number>, "chance_pct": <number>, "contracts": <number>,'
        ' "side": <label>, "copy": <true or false>}'
    )


def test_the_form_and_the_reminder_answer_nothing_when_they_are_echoed() -> None:
    for quantities in (ALL, (SIDE,), (COPY,), (PRICE, SIDE)):
        assert read(answer_form(quantities), quantities) is None
        assert read(reminder(quantities), quantities) is None


@pytest.mark.parametrize(
    "reply",
    [
        f"FINAL ANSWER: {RIGHT}",
        f"**FINAL ANSWER:** `{RIGHT}`",
        f"Final answer:\n```json\n{RIGHT}\n```\nHope this helps {{smile}}",
        f"I found {RIGHT}.",
        f'FINAL ANSWER: {{"call_usd": 1}}\nWait.\nFINAL ANSWER: {RIGHT}',
        f'FINAL ANSWER: {RIGHT}\nFor reference: {{"call_usd": 99}}',
        f"<think>FINAL ANSWER: {{}}</think>FINAL ANSWER: {RIGHT}",
        f'FINAL ANSWER: {{"note": "in {{braces}}", {RIGHT[1:]}',
        f"FINAL ANSWER: {RIGHT}\nFINAL ANSWER: none of the above",
        RIGHT.upper().replace("FALSE", "false"),
    ],
)
def test_an_answer_is_found_wherever_the_form_allows(reply: str) -> None:
    assert graded(reply).share == 1.0


def test_strings_with_units_are_understood() -> None:
    reply = (
        'FINAL ANSWER: {"call_usd": "$4.38 per share", "vol_pct": "32.0 %", "chance_pct": "34.9%",'
        ' "contracts": "132 contracts", "side": "STAND_ASIDE", "copy": "No"}'
    )

    assert graded(reply).share == 1.0


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "null",
        "true",
        '""',
        '"four"',
        "[4.38]",
        '{"v": 4.38}',
        '"4.38 or 5"',
        "-4.38",
    ],
)
def test_what_is_no_number_or_not_the_number_is_wrong(value: str) -> None:
    assert right(f'FINAL ANSWER: {{"call_usd": {value}}}', PRICE) == []


def test_a_number_is_no_truth_value_and_no_label() -> None:
    assert right('FINAL ANSWER: {"side": 0, "copy": 0}') == []
    assert right('FINAL ANSWER: {"side": "hold", "copy": "maybe"}') == []


def test_missing_quantities_are_wrong_and_the_rest_count() -> None:
    result = graded('FINAL ANSWER: {"call_usd": 4.38, "copy": false, "unknown": 1}')

    assert (result.right, result.share) == (2, 2 / 6)


def test_of_a_key_written_twice_the_last_value_counts() -> None:
    assert right('FINAL ANSWER: {"call_usd": 1, "call_usd": 4.38}', PRICE) == ["call_usd"]
    assert right('FINAL ANSWER: {"call_usd": 4.38, "call_usd": 1}', PRICE) == []


@pytest.mark.parametrize(
    ("quantity", "answer", "is_right"),
    [
        (PRICE, 4.381425 * 1.005, True),
        (PRICE, 4.381425 * 1.0051, False),
        (CHANCE, 35.474, True),
        (CHANCE, 35.475, False),
        (CONTRACTS, 132.0, True),
        (CONTRACTS, 131, False),
        (CONTRACTS, 132.4, False),
        (VOLATILITY, 32.16, True),
        (VOLATILITY, 32.161, False),
    ],
)
def test_the_tolerance_is_what_the_question_says(quantity: Quantity, answer: float, is_right: bool) -> None:  # noqa: FBT001
    reply = f"FINAL ANSWER: {json.dumps({quantity.key: answer})}"

    assert (right(reply, quantity) == [quantity.key]) is is_right


def test_half_a_unit_of_the_last_decimal_is_tolerated_when_the_share_is_less() -> None:
    small = Quantity(key="gap", meaning="gap", decimals=2)

    assert small.margin(0.2) == 0.005
    assert grade((small,), {"gap": 0.2}, read('FINAL ANSWER: {"gap": 0.205}', (small,))).share == 1.0
    assert grade((small,), {"gap": 0.2}, read('FINAL ANSWER: {"gap": 0.206}', (small,))).share == 0.0


@pytest.mark.parametrize("answer", [438.1425, 0.04381425, 4381.425, 0.004381425])
def test_an_answer_off_by_a_hundred_or_a_thousand_is_wrong_and_counted_as_a_slip_of_unit(answer: float) -> None:
    result = graded(f'FINAL ANSWER: {{"call_usd": {answer}}}', PRICE)

    assert (result.right, result.unit_slips) == (0, 1)


def test_a_fraction_where_percent_is_asked_is_a_slip_but_written_with_its_sign_it_is_right() -> None:
    assert graded('FINAL ANSWER: {"vol_pct": 0.32}', VOLATILITY).unit_slips == 1
    assert right('FINAL ANSWER: {"vol_pct": "32%"}', VOLATILITY) == ["vol_pct"]
    assert right('FINAL ANSWER: {"vol_pct": "0.32%"}', VOLATILITY) == []


def test_ten_times_the_key_is_wrong_but_no_slip_of_unit() -> None:
    assert graded('FINAL ANSWER: {"call_usd": 43.81425}', PRICE).unit_slips == 0


@pytest.mark.parametrize(
    "reply",
    ["4.38", "FINAL ANSWER: 4.38", "The call is worth about $4.38 today.", '{"answer": "4.38"}', "\\boxed{4.38}"],
)
def test_a_single_quantity_may_be_answered_with_a_bare_number(reply: str) -> None:
    assert right(reply, PRICE) == ["call_usd"]


def test_several_quantities_may_not() -> None:
    assert read("4.38 and 32 %", (PRICE, VOLATILITY)) is None


def test_numbers_one_to_ninety_answer_nothing() -> None:
    listing = ", ".join(map(str, range(1, 91)))

    assert read(listing, (Quantity(key="n", meaning="n", measure=Measure.COUNT),)) is None
    assert read(listing, ALL) is None


def test_the_explanation_lists_each_quantity_with_what_was_expected_and_what_came() -> None:
    result = graded('FINAL ANSWER: {"call_usd": 4.38, "vol_pct": 0.32, "side": "buy"}')

    assert result.explain() == (
        "call_usd: expected 4.38143, got 4.38: right\n"
        "vol_pct: expected 32, got 0.32: wrong unit\n"
        "chance_pct: expected 34.974, got nothing: missing\n"
        "contracts: expected 132, got nothing: missing\n"
        'side: expected "stand aside", got "buy": wrong\n'
        "copy: expected false, got nothing: missing"
    )


HOSTILE = {
    "deep brackets": 'FINAL ANSWER: {"call_usd": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "deep braces": '{"call_usd":' * 100_000 + "1" + "}" * 100_000,
    "unclosed braces": '{"a":' * 400_000,
    "many small nests": ('{"a":' * 8 + "1" + "}" * 8) * 10_000,
    "escaped quotes": '{"' + '\\"' * 1_000_000,
    "quotes": "{" + '"' * 2_000_000,
    "empty objects": "{}" * 200_000,
    "forms": 'FINAL ANSWER: {"call_usd": ' * 100_000,
    "a huge integer": 'FINAL ANSWER: {"call_usd": 1' + "0" * 400 + "}",
    "a longer integer": 'FINAL ANSWER: {"call_usd": ' + "1" * 900_000 + "}",
    "a huge exponent": 'FINAL ANSWER: {"call_usd": 1e999, "contracts": -1e999}',
    "four megabytes": "4.38 " * 800_000,
    "a long string": 'FINAL ANSWER: {"call_usd": "' + "4.38 " * 100_000 + '"}',
    "control characters": "FINAL ANSWER: {\x00\x01\ud800}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_replies_are_read_without_error_and_earn_nothing(name: str) -> None:
    result = graded(HOSTILE[name])

    assert result.right == 0
    assert len(result.explain()) < 2000


def test_a_right_answer_behind_four_megabytes_of_noise_is_still_right() -> None:
    assert graded("{[" * 2_000_000 + f"\nFINAL ANSWER: {RIGHT}").share == 1.0


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), JSON_VALUES))
def test_any_object_of_required_keys_is_graded_between_nothing_and_everything(values: dict[str, object]) -> None:
    result = graded(f"FINAL ANSWER: {json.dumps(values)}")

    assert 0.0 <= result.share <= 1.0
    assert result.right <= len(values)


@given(st.text(max_size=400))
def test_any_text_is_graded(text: str) -> None:
    assert 0.0 <= graded(text).share <= 1.0


@given(
    key=st.floats(min_value=1e-3, max_value=1e9),
    share=st.floats(min_value=-0.004999, max_value=0.004999),
)
def test_an_answer_inside_the_tolerance_is_right_and_far_outside_it_is_wrong(key: float, share: float) -> None:
    quantity = Quantity(key="x", meaning="x", decimals=6)
    inside, outside = key * (1 + share), key * (1.02 + abs(share))

    def is_right(answer: float) -> bool:
        return grade((quantity,), {"x": key}, read(f'{{"x": {answer!r}}}', (quantity,))).right == 1

    assert is_right(inside)
    assert not is_right(outside)
    assert not is_right(-key)
    assert not is_right(math.inf)


@given(st.permutations(sorted(KEYS)))
def test_the_order_of_keys_does_not_matter(order: list[str]) -> None:
    values = json.loads(RIGHT)

    assert graded(f"FINAL ANSWER: {json.dumps({key: values[key] for key in order})}").share == 1.0


VALUE = Quantity(key="ev_musd", meaning="value of the firm", unit="million USD", decimals=2)
GAP = Quantity(key="gap_points", meaning="difference", unit="percentage points", decimals=3)


@pytest.mark.parametrize(
    ("quantity", "answer", "is_right"),
    [
        (VALUE, '"2,007.28 million USD"', True),
        (VALUE, '"$2,007.28M"', True),
        (VALUE, '"2.00728 billion USD"', True),
        (VALUE, '"2,007.28"', True),
        (VALUE, '"2,007.28 thousand USD"', False),
        (VALUE, "2007280000", False),
        (VOLATILITY, '"3,200 bp"', True),
        (VOLATILITY, '"0.32 %"', False),
        (VOLATILITY, "0.32", False),
        (GAP, '"7 %"', True),
        (GAP, '"7 points"', True),
        (GAP, "0.07", False),
    ],
)
def test_a_unit_beside_a_value_is_turned_into_the_unit_asked_for(
    quantity: Quantity, answer: str, *, is_right: bool
) -> None:
    reply = f'FINAL ANSWER: {{"{quantity.key}": {answer}}}'
    keys: dict[str, Value] = {"ev_musd": 2007.282449, "vol_pct": 32.0, "gap_points": 7.0}

    assert grade([quantity], keys, read(reply, [quantity])).share == is_right


def test_the_number_of_a_text_carries_its_unit_too() -> None:
    reading = read("The firm is worth 2,007.28 million USD.", [VALUE])

    assert grade([VALUE], {"ev_musd": 2007.282449}, reading).share == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        r'FINAL ANSWER: {"call\_usd": 4.3814}',
        r'FINAL ANSWER: \{"call\_usd": 4.3814\}',
        r'FINAL ANSWER: $\boxed{\{"call\_usd": 4.3814\}}$',
    ],
)
def test_an_object_escaped_for_latex_or_markdown_is_read(reply: str) -> None:
    assert right(reply, PRICE, VOLATILITY) == ["call_usd"]
