"""Short answers out of free text, compared with their key."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.extract import (
    Centre,
    IdSetKey,
    Key,
    Kind,
    LabelKey,
    MapKey,
    Mark,
    NumberKey,
    SequenceKey,
    TextKey,
    flat,
    id_set_key,
    label_key,
    map_key,
    mark,
    number_key,
    plain,
    sequence_key,
)
from services.green_agent.scoring.numbers import Zone

MINUS = "\u2212"


def number(reference: str, *, tolerance: float = 0.01, centre: Centre = Centre.REFERENCE) -> NumberKey:
    key = number_key(reference, tolerance=tolerance, centre=centre)
    assert key is not None
    return key


def sequence(reference: str) -> SequenceKey:
    key = sequence_key(reference)
    assert key is not None
    return key


def id_set(reference: str) -> IdSetKey:
    key = id_set_key(reference)
    assert key is not None
    return key


def sets(reference: str) -> MapKey:
    key = map_key(reference)
    assert key is not None
    return key


def label(reference: str, *labels: str) -> LabelKey:
    key = label_key(reference, labels)
    assert key is not None
    return key


SENTIMENTS = ("positive", "negative", "neutral", "very positive")


@pytest.mark.parametrize(
    ("reply", "key", "share"),
    [
        ("about 1234.5 dollars", number("1234.5"), 1.0),
        ("In 2024 the growth was 12.5", number("12.5"), 1.0),
        ("The growth was 12.5 in 2024.", number("12.5"), 1.0),
        ("first I tried 7, FINAL ANSWER: 12.5\nthen noise 99", number("12.5"), 1.0),
        (
            "answer_boxed{{101.25}}\ninterval_boxed{[100.24,102.26]}",
            number("101.0", centre=Centre.PREDICTION),
            1.0,
        ),
        ('{"answer": "41.5977%"}', number("41.5977"), 1.0),
        ('{"answer": "41.5977%"}', number("0.415977"), 1.0),
        ("FY2024 EBITDA was $134.66B", number("134661000000"), 1.0),
        ("loss of ($1,250.75)", number("-1250.75"), 1.0),
        (f"{MINUS}3.2", number("-3.2"), 1.0),
        ("x = 1e-3", number("0.001"), 1.0),
        ("12.5.", number("12.5"), 1.0),
        ("Step 1: compare. Step 2: sort.\n2,1,4,3", sequence("2,1,4,3"), 1.0),
        ("1,2,3 then 2,1,4,3 and 4,4,4,4", sequence("2,1,4,3"), 1.0),
        ("I think none", id_set("[1, 3]"), 0.0),
        ("I think none", TextKey(text="not an id list"), 0.0),
        ("a", label("banana", "banana"), 0.0),
        ("a", TextKey(text="banana"), 0.0),
        ("ANSWER: 42.ANSWER: 42.", number("42"), 1.0),
        (", ".join(map(str, range(1, 91))), number("37"), 0.0),
        ("<think>42</think> I cannot say", number("42"), 0.0),
    ],
)
def test_the_vectors_of_the_specification_hold(reply: str, key: Key, share: float) -> None:
    assert mark(reply, key).share == share


@pytest.mark.parametrize(
    ("answer", "reference", "right"),
    [
        ("41.5977%", "41.5977%", True),
        ("41.5977", "41.5977%", True),
        ("0.415977", "41.5977%", True),
        ("0.415977%", "41.5977%", False),  # both carry the sign, so a factor 100 is wrong
        ("4159.77", "41.5977", False),
        ("0.415977", "41.5977", False),
        ("80 bps", "0.8%", True),
        ("80", "80bps", True),
        ("12.5 million", "12500000", True),
        ("12.5 million", "12.5", True),
        ("12.5 million", "12.5 billion", False),
        ("3.2\u4ebf", "320000000", True),
        ("1,234", "1234", True),
        ("-5", "5", False),
        ("", "5", False),
    ],
)
def test_units_match_where_one_side_has_none_and_not_by_a_hundred_otherwise(
    answer: str, reference: str, *, right: bool
) -> None:
    assert mark(f"FINAL ANSWER: {answer}", number(reference)).share == float(right)


@pytest.mark.parametrize(
    ("answer", "right"), [(90.0, False), (100.0, True), (91.0, True), (110.0, True), (111.1, True), (111.2, False)]
)
def test_a_tolerance_around_the_prediction_widens_with_the_prediction(answer: float, *, right: bool) -> None:
    key = number("100", tolerance=0.1, centre=Centre.PREDICTION)

    assert mark(f"FINAL ANSWER: {answer}", key).share == float(right)


@pytest.mark.parametrize(("answer", "right"), [("0.01", True), ("-0.01", True), ("0.011", False), ("0", True)])
def test_a_key_of_zero_is_met_within_an_absolute_margin(answer: str, *, right: bool) -> None:
    assert mark(f"FINAL ANSWER: {answer}", number("0")).share == float(right)


def test_a_prediction_cannot_buy_a_wide_interval_with_a_huge_value() -> None:
    key = number("100", tolerance=0.1, centre=Centre.PREDICTION)

    assert mark("FINAL ANSWER: 1e300", key).share == 0.0


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("41.5977", 41.5977),
        ("-20.0541%", -20.0541),
        ("$383.3 billion", 383.3),
        ("12 USD per share", 12.0),
        ("2024", 2024),
    ],
)
def test_a_reference_that_is_a_number_is_read(reference: str, value: float) -> None:
    assert number(reference).number.value == value


@pytest.mark.parametrize(
    "reference",
    [
        "Lack of relevant data, unable to find the answer",
        '{"Allegion": 2.9905, "Amcor": 4.3891}',
        "Company B, since its margin fell by 5%",
        "between 3 and 4 and 5",
        "",
    ],
)
def test_a_reference_that_is_no_single_number_gives_no_key(reference: str) -> None:
    assert number_key(reference, tolerance=0.01) is None


@pytest.mark.parametrize(
    "reply",
    [
        "2,1,4,3",
        "2 > 1 > 4 > 3",
        "2->1->4->3",
        "2\u30011\u30014\u30013",
        "2\uff0c1\uff0c4\uff0c3",
        "2-1-4-3",
        '{"answer": "2,1,4,3"}',
        '{"answer": [2, 1, 4, 3]}',
        '{"\u6392\u5e8f\u7ed3\u679c": "2,1,4,3"}',
        '{"steps": [{"first": 2}], "result": ["2", "1", "4", "3"]}',
        "FINAL ANSWER: [2, 1, 4, 3]\nnot 1,2,3,4",
        "\u6700\u7ec8\u7b54\u6848\uff1a2,1,4,3\u3002",
        "The order is 2, 1, 4, 3.",
    ],
)
def test_an_order_is_read_in_every_common_form(reply: str) -> None:
    assert mark(reply, sequence("2,1,4,3")).share == 1.0


@pytest.mark.parametrize(
    "reply",
    ["1,2,3,4", "2,1,4", "2,1,4,3,5", "2.1,4,3", "2,1,4,3x", "12,1,4,3", "2 1 4 3", "", "FINAL ANSWER: 3,4,1,2"],
)
def test_another_order_or_other_items_are_not_right(reply: str) -> None:
    assert mark(reply, sequence("2,1,4,3")).share == 0.0


def test_listing_every_order_gives_the_last_one_only() -> None:
    orders = [",".join(map(str, order)) for order in itertools.permutations((1, 2, 3, 4))]

    right = [mark("\n".join(orders), sequence(order)).share for order in orders]

    assert right == [0.0] * 23 + [1.0]


@pytest.mark.parametrize("reference", ["7", "first, second", "2,1,4,3 or 1,2,3,4", "[]"])
def test_a_reference_that_is_no_order_gives_no_key(reference: str) -> None:
    assert sequence_key(reference) is None


@pytest.mark.parametrize(
    ("reply", "share"),
    [
        ("[3, 1]", 1.0),
        ("The wrong ones are [1, 3].", 1.0),
        ("first [2] but then [1, 3]", 1.0),
        ("[1, 3] [2]", 0.0),
        ('{"answer": [1, 3]}', 1.0),
        ('{"answer": ["1", "description 3"]}', 1.0),
        ('{"Relevant Content Numbers": [1, 3]}', 1.0),
        ("FINAL ANSWER: 1 and 3", 1.0),
        ("FINAL ANSWER: 1, 3", 1.0),
        ("\\boxed{3,1}", 1.0),
        ("1, 3", 0.0),  # a bare list counts in an explicit zone only
        ("[1, 2, 3]", 0.0),
        ("[1]", 0.0),
        ("[]", 0.0),
        ("[1.0, 3.0]", 0.0),
        ("[-1, 3]", 0.0),
        ("[true, 3]", 0.0),
    ],
)
def test_a_set_of_ids_is_read_from_a_list_and_must_be_equal(reply: str, share: float) -> None:
    assert mark(reply, id_set("[1, 3]")).share == share


def test_an_empty_list_is_an_answer_where_nothing_is_wrong() -> None:
    assert mark("FINAL ANSWER: []", id_set("[]")).share == 1.0


@pytest.mark.parametrize("reference", ["none", "not an id list", "[1, 'a']", "[1, [2]]", "1.5, 2"])
def test_a_reference_that_is_no_list_of_ids_gives_no_key(reference: str) -> None:
    assert id_set_key(reference) is None


MAP = '[{"description_id": 1, "answer": [1, 2]}, {"description_id": 2, "answer": []}, {"description_id": 3, "answer": [5]}]'


@pytest.mark.parametrize(
    ("reply", "share"),
    [
        (MAP, 1.0),
        (f"```json\n{MAP}\n```", 1.0),
        ('[{"\u63cf\u8ff0\u7f16\u53f7": "1", "answer": ["2", "1"]}]', 1 / 3),
        ('[{"description_id": 1, "answer": [1, 2]}, {"description_id": 3, "answer": [4]}]', 1 / 3),
        ('[{"description_id": 2, "answer": "none"}]', 0.0),
        ('[{"description_id": 1, "answer": [1, 2]}, {"description_id": 1, "answer": [9]}]', 0.0),
        ("no list at all", 0.0),
        ("[]", 0.0),
    ],
)
def test_a_map_scores_the_share_of_descriptions_that_are_right(reply: str, share: float) -> None:
    assert mark(reply, sets(MAP)).share == pytest.approx(share)


def test_naming_a_description_many_times_counts_it_once() -> None:
    reply = "[" + ", ".join(['{"description_id": 1, "answer": [1, 2]}'] * 50) + "]"

    assert mark(reply, sets(MAP)).share == pytest.approx(1 / 3)


def test_a_map_that_names_a_description_twice_is_no_reference() -> None:
    assert map_key('[{"description_id": 1, "answer": [1]}, {"description_id": 1, "answer": [2]}]') is None


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("FINAL ANSWER: Positive.", "positive"),
        ("The sentiment is clearly positive here", "positive"),
        ("very positive", "very positive"),
        ("positively charged", ""),
        ("positive or negative", ""),
        ("not positive", ""),
        ("FINAL ANSWER: positive or negative", ""),
        ('{"answer": "NEUTRAL"}', "neutral"),
        ("a", ""),
        ("", ""),
    ],
)
def test_a_label_is_read_when_exactly_one_of_the_set_is_named(reply: str, value: str) -> None:
    assert mark(reply, label("positive", *SENTIMENTS)).value == value


@pytest.mark.parametrize(
    ("reply", "share"), [("\u60c5\u7eea\u662f\u79ef\u6781\u7684", 1.0), ("\u4e0d\u79ef\u6781", 0.0)]
)
def test_a_chinese_label_is_read_unless_it_is_denied(reply: str, share: float) -> None:
    assert mark(reply, label("\u79ef\u6781", "\u79ef\u6781", "\u6d88\u6781")).share == share


@pytest.mark.parametrize(
    ("reply", "share"),
    [
        ("Alpha, Beta > Gamma", 1.0),
        ("alpha,beta,gamma.", 1.0),
        ("\\boxed{Alpha\uff0cBeta\uff0cGamma}", 1.0),
        ("The ranking is Alpha, Beta, Gamma", 0.0),
        ("Alpha, Beta, Gamma and all others", 0.0),
        ("Alpha", 0.0),
        ("", 0.0),
    ],
)
def test_a_text_is_equal_but_for_separators_and_never_by_containment(reply: str, share: float) -> None:
    assert mark(reply, TextKey(text="Alpha, Beta, Gamma")).share == share


def test_digits_do_not_run_together_when_separators_go() -> None:
    assert flat("1, 23") != flat("12, 3")


@pytest.mark.parametrize("reply", ["", "-", "...", ",", " > "])
def test_two_texts_that_hold_nothing_are_not_equal(reply: str) -> None:
    assert mark(reply, TextKey(text="...")).share == 0.0


@pytest.mark.parametrize(
    ("reply", "key", "settled"),
    [
        ("FINAL ANSWER: 7", number("5"), True),
        ("it is 7", number("5"), False),
        ("it is 5", number("5"), True),
        ("FINAL ANSWER: see above", number("5"), False),
        ("FINAL ANSWER: 1,2", sequence("2,1"), True),
        ("1,2", sequence("2,1"), False),
        ("FINAL ANSWER: 7, 8, 9", sequence("2,1"), False),
        ("FINAL ANSWER: [2]", id_set("[1]"), True),
        ("[2]", id_set("[1]"), False),
        (MAP.replace("1, 2", "9"), sets(MAP), True),
        ('[{"description_id": 9, "answer": []}]', sets(MAP), True),
        ("nothing", sets(MAP), False),
        ("FINAL ANSWER: negative", label("positive", *SENTIMENTS), True),
        ("FINAL ANSWER: bad", label("positive", *SENTIMENTS), False),
        ("negative", label("positive", *SENTIMENTS), False),
        ("FINAL ANSWER: b", TextKey(text="a"), False),
        ("FINAL ANSWER: a", TextKey(text="a"), True),
    ],
)
def test_what_is_right_or_explicitly_wrong_is_settled_and_nothing_else(reply: str, key: Key, *, settled: bool) -> None:
    assert mark(reply, key).settled is settled


def test_zone_value_and_unit_are_kept() -> None:
    assert mark("FINAL ANSWER: 12.5 %", number("3")) == Mark(
        kind=Kind.NUMBER, share=0.0, zone=Zone.FINAL_ANSWER, value="12.5", unit="%"
    )


KEYS: list[Key] = [
    number("37"),
    number("37", centre=Centre.PREDICTION),
    sequence("2,1,4,3"),
    id_set("[1, 3]"),
    sets(MAP),
    label("positive", *SENTIMENTS),
    TextKey(text="Alpha, Beta"),
]
MEGABYTE = 1_000_000
HOSTILE = [
    "1" * MEGABYTE,
    "1," * (MEGABYTE // 2),
    "1 -> " * (MEGABYTE // 5),
    "1" + " " * (MEGABYTE // 2) + "," + " " * (MEGABYTE // 2) + "1",
    "1 " * (MEGABYTE // 2),
    "[" * MEGABYTE,
    "{" * MEGABYTE,
    "[]" * (MEGABYTE // 2),
    "[1]" * (MEGABYTE // 3),
    "[a]" * (MEGABYTE // 3),
    '["description_id"' * (MEGABYTE // 16),
    '[{"description_id": 1}]' * (MEGABYTE // 23),
    '[{"description_id": [' * (MEGABYTE // 21),
    '{"answer": [' * (MEGABYTE // 12),
    '{"answer": 1}' * (MEGABYTE // 13),
    '{"answer": ' * 20 + "1" * MEGABYTE + "}" * 20,
    '"' * MEGABYTE,
    '{"' * (MEGABYTE // 2),
    "not " * (MEGABYTE // 4),
    "positive" * (MEGABYTE // 8),
    "very " * (MEGABYTE // 5),
    ", > ; " * (MEGABYTE // 6),
    "FINAL ANSWER: " * (MEGABYTE // 14),
    "FINAL ANSWER: " + "1," * (MEGABYTE // 2),
    "FINAL ANSWER: " + "[" * MEGABYTE,
    "\ud800" * 1000 + '{"answer": "\\ud800"}',
    "\u0661" * MEGABYTE,
]


@pytest.mark.parametrize("reply", HOSTILE, ids=lambda reply: ascii(reply[:20]))
def test_a_megabyte_of_hostile_text_earns_nothing_and_raises_nothing(reply: str) -> None:
    marks = [mark(reply, key) for key in KEYS]

    assert [(found.kind, found.share) for found in marks if found.kind is not Kind.LABEL] == [
        (key.kind, 0.0) for key in KEYS if key.kind is not Kind.LABEL
    ]
    assert all(len(found.value.encode()) <= 1000 for found in marks)


ALPHABET = st.sampled_from(
    [
        *"0123456789,.;:>-+[]{}()\"'\\ \n%$",
        "answer",
        "FINAL ANSWER:",
        "boxed{",
        "description_id",
        "positive",
        "not ",
        "->",
    ]
)


@given(st.lists(ALPHABET, max_size=60).map("".join) | st.text(max_size=200))
def test_any_reply_is_read_without_error_and_its_share_is_between_0_and_1(reply: str) -> None:
    for key in KEYS:
        found = mark(reply, key)

        assert 0.0 <= found.share <= 1.0
        assert math.isfinite(found.share)


@given(
    st.lists(st.integers(0, 999), min_size=2, max_size=8),
    st.sampled_from([",", ", ", "; ", "\u3001", " -> ", ">", "-"]),
    st.sampled_from(["{}", "FINAL ANSWER: {}", "boxed{{{}}}", '{{"answer": "{}"}}', "so {} it is"]),
)
def test_an_order_is_read_however_it_is_joined_and_marked(items: list[int], joiner: str, form: str) -> None:
    written = joiner.join(map(str, items))

    assert sequence(written) == SequenceKey(items=tuple(items))
    assert mark(form.format(written), sequence(written)).share == 1.0


@given(st.permutations(range(1, 6)), st.permutations(range(1, 6)))
def test_only_the_same_order_is_right(answer: list[int], reference: list[int]) -> None:
    key = SequenceKey(items=tuple(reference))

    assert mark(",".join(map(str, answer)), key).share == float(answer == reference)


@given(st.sets(st.integers(0, 30), max_size=6), st.sets(st.integers(0, 30), max_size=6))
def test_only_the_same_set_is_right(answer: set[int], reference: set[int]) -> None:
    assert mark(f"so {sorted(answer, reverse=True)}", IdSetKey(ids=frozenset(reference))).share == float(
        answer == reference
    )


@given(
    st.floats(min_value=-1e9, max_value=1e9).filter(lambda value: abs(value) > 1e-3),
    st.floats(min_value=-0.05, max_value=0.05),
)
def test_a_number_is_right_exactly_within_its_tolerance(reference: float, error: float) -> None:
    answer = reference * (1 + error)
    share = mark(f"FINAL ANSWER: {answer!r}", number(repr(reference))).share

    if abs(abs(error) - 0.01) > 1e-6:
        assert share == float(abs(error) < 0.01)


@given(st.text(max_size=80))
def test_a_label_without_its_dress_is_the_same_when_undressed_again(text: str) -> None:
    assert plain(plain(text)) == plain(text)


@pytest.mark.parametrize(
    ("reply", "key"),
    [
        (r"FINAL ANSWER: $\boxed{\text{Positive}}$", label("positive", "positive", "negative")),
        (r"FINAL ANSWER: \boxed{1, 3}", id_set("[1, 3]")),
        (r"FINAL ANSWER: \{1, 3\}", id_set("[1, 3]")),
        ("FINAL ANSWER:\n```json\n[1, 3]\n```", id_set("[1, 3]")),
        (r"$\boxed{2 \rightarrow 1 \to 4 \Rightarrow 3}$", sequence("2,1,4,3")),
    ],
)
def test_an_answer_that_latex_or_a_fence_wraps_is_explicit(reply: str, key: Key) -> None:
    found = mark(reply, key)

    assert (found.share, found.zone is not Zone.WHOLE) == (1.0, True)


def test_an_empty_list_after_a_better_answer_is_the_answer() -> None:
    found = mark("FINAL ANSWER: [1, 3]\nFINAL ANSWER: []", id_set("[1, 3]"))

    assert (found.share, found.value, found.zone) == (0.0, "[]", Zone.FINAL_ANSWER)
