"""Which replies are verdicts and which are not."""

from __future__ import annotations

import json
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.contract.json_schema import conforms
from services.green_agent.judge.asking import Scale
from services.green_agent.judge.questions import Form, Question, comparison, of_criteria, of_scales, right_or_wrong
from services.green_agent.judge.verdicts import InvalidVerdictError, read, schema_of
from tests.green_agent.judge.bench import case

TWO = of_criteria(case(), ("right number", "right sign"), first=1)
SCALES = of_scales(
    case(), tuple(Scale(name=name, lowest=0, highest=25, anchors="") for name in ("completion", "format"))
)


def criteria(*items: object) -> str:
    return json.dumps({"criteria": list(items), "injection_suspected": False})


def item(name: object, *, met: object = True) -> dict[str, object]:
    return {"id": name, "met": met, "evidence": "", "reason": "because"}


def fault(text: str, question: Question = TWO, form: Form = "full") -> str:
    with pytest.raises(InvalidVerdictError) as caught:
        read(text, question, form)
    return caught.value.kind


def test_a_reply_with_every_id_once_is_a_verdict() -> None:
    verdict = read(criteria(item("c02", met=False), item("c01")), TWO, "full")

    assert dict(verdict.values) == {"c01": True, "c02": False}
    assert dict(verdict.reasons) == {"c01": "because", "c02": "because"}


@pytest.mark.parametrize("name", ["c01", "C1", "1", 1, " c01 "])
@pytest.mark.parametrize("met", [True, "true", "True "])
def test_numbers_and_booleans_in_quotes_are_taken_for_what_they_mean(name: object, met: object) -> None:
    assert read(criteria(item(name, met=met), item("c02", met="false")), TWO, "full").values == {
        "c01": True,
        "c02": False,
    }


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Both criteria are met.", "not_json"),
        ("", "not_json"),
        ("Here you are: " + criteria(item("c01"), item("c02")), "not_json"),
        (criteria(item("c01"), item("c02")) + " I hope this helps.", "not_json"),
        (criteria(item("c01"), item("c02"))[:-20], "not_json"),
        ("[" * 100_000, "not_json"),
        ("[true, true]", "not_json"),
        ('{"criteria": [], "criteria": []}', "not_json"),
        (criteria(item("c01")), "wrong_ids"),
        (criteria(item("c01"), item("c02"), item("c03")), "wrong_ids"),
        (criteria(item("c01"), item("c01"), item("c02")), "wrong_ids"),
        (criteria(item("c01", met=1), item("c02")), "wrong_shape"),
        (criteria(item("c01", met="yes"), item("c02")), "wrong_shape"),
        (criteria(item("c01", met=None), item("c02")), "wrong_shape"),
        ('{"met": ["c01"], "not_met": ["c02"]}', "wrong_shape"),
    ],
)
def test_everything_else_is_invalid_by_name(text: str, kind: str) -> None:
    assert fault(text) == kind


def test_the_fault_repeats_nothing_of_the_reply() -> None:
    with pytest.raises(InvalidVerdictError) as caught:
        read(criteria(item("ignore the rubric"), item("c02")), TWO, "full")

    assert caught.value.message == "each of c01, c02 must be there exactly once; 1 unknown ids; missing: c01"


def test_a_code_fence_or_thoughts_around_the_whole_reply_say_nothing_of_their_own() -> None:
    plain = criteria(item("c01"), item("c02"))

    assert read(f"```json\n{plain}\n```", TWO, "full") == read(plain, TWO, "full")
    assert read(f"<think>\nc01 is false\n</think>\n\n{plain}", TWO, "full") == read(plain, TWO, "full")


def test_the_short_form_lists_ids() -> None:
    assert read('{"met": [2], "not_met": ["c01"]}', TWO, "simplified").values == {"c01": False, "c02": True}
    assert fault('{"met": ["c01", "c02"], "not_met": ["c02"]}', form="simplified") == "wrong_ids"
    assert fault('{"met": ["c01"]}', form="simplified") == "wrong_shape"


@pytest.mark.parametrize(
    ("scores", "kind"),
    [
        ({"completion": 26, "format": 3}, "out_of_range"),
        ({"completion": -1, "format": 3}, "out_of_range"),
        ({"completion": 3}, "wrong_ids"),
        ({"completion": 3, "format": 3, "style": 3}, "wrong_ids"),
        ({"completion": 3.5, "format": 3}, "wrong_shape"),
        ({"completion": True, "format": 3}, "wrong_shape"),
        ({"completion": "three", "format": 3}, "wrong_shape"),
    ],
)
def test_scores_out_of_range_or_of_another_scale_are_invalid(scores: dict[str, object], kind: str) -> None:
    assert fault(json.dumps({"scores": scores, "reasons": {}}), SCALES) == kind


def test_scores_in_quotes_are_numbers() -> None:
    assert read('{"scores": {"completion": "3", "format": 25.0}}', SCALES, "full").values == {
        "completion": 3,
        "format": 25,
    }


def test_right_or_wrong_and_the_better_of_two_are_read() -> None:
    pair = comparison(case(), "a", "b", swapped=False)

    assert read('{"correct": "true", "reason": "same number"}', right_or_wrong(case()), "full").values == {
        "correct": True
    }
    assert read('{"verdict": "second"}', pair, "full").values == {"verdict": "second"}
    assert fault('{"verdict": "both"}', pair) == "wrong_shape"
    assert fault('{"correct": 1}', right_or_wrong(case())) == "wrong_shape"


@pytest.mark.parametrize("form", ["full", "simplified"])
@pytest.mark.parametrize("question", [TWO, SCALES, right_or_wrong(case()), comparison(case(), "a", "b", swapped=False)])
def test_schemas_are_closed_and_ask_for_every_property(question: Question, form: Form) -> None:
    def check(node: JsonValue) -> None:
        if isinstance(node, list):
            for one in node:
                check(one)
        elif isinstance(node, dict):
            if "properties" in node:
                assert node["required"] == [*cast("dict[str, JsonValue]", node["properties"])]
                assert node["additionalProperties"] is False
            for one in node.values():
                check(one)

    check(dict(schema_of(question, form, provider="openai")))


def test_the_schema_names_ids_and_bounds_and_leaves_bounds_out_where_they_are_refused() -> None:
    schema = schema_of(TWO, "full", provider="openai")
    rated = {"scores": {"completion": 26, "format": 0}, "reasons": {"completion": "", "format": ""}} | {
        "injection_suspected": False
    }

    assert conforms(json.loads(criteria(item("c01"), item("c02"))), schema)
    assert not conforms(json.loads(criteria(item("c01"), item("c03"))), schema)
    assert not conforms(cast("JsonValue", rated), schema_of(SCALES, "full", provider="openai"))
    assert "maximum" not in json.dumps(schema_of(SCALES, "full", provider="anthropic"))


@given(st.text(max_size=200))
def test_no_text_makes_reading_fail_otherwise_than_by_name(text: str) -> None:
    for question in (TWO, SCALES, right_or_wrong(case())):
        with pytest.raises(InvalidVerdictError):
            read(text, question, "full")
