from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.contract.json_schema import Schema, conforms

JSON: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
VERDICT: Schema = {
    "type": "object",
    "properties": {
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "verdict": {"enum": ["pass", "fail"]},
        "notes": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
    },
    "required": ["score", "verdict"],
    "additionalProperties": False,
}
TREE: Schema = {
    "$ref": "#/$defs/tree",
    "$defs": {"tree": {"type": "object", "additionalProperties": {"$ref": "#/$defs/tree"}}},
}


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ({"score": 4, "verdict": "pass"}, True),
        ({"score": 4.0, "verdict": "pass", "notes": ["a"]}, True),
        ({"score": 4}, False),
        ({"score": 6, "verdict": "pass"}, False),
        ({"score": "4", "verdict": "pass"}, False),
        ({"score": True, "verdict": "pass"}, False),
        ({"score": 4, "verdict": "maybe"}, False),
        ({"score": 4, "verdict": "pass", "more": 1}, False),
        ({"score": 4, "verdict": "pass", "notes": ["a", "b", "c"]}, False),
        ([], False),
        (None, False),
    ],
)
def test_an_object_conforms_to_its_properties(value: JsonValue, good: object) -> None:
    assert conforms(value, VERDICT) is good


@pytest.mark.parametrize(
    ("value", "schema", "good"),
    [
        (None, {"type": ["null", "string"]}, True),
        (1, {"const": 1}, True),
        (True, {"const": 1}, False),
        (3, {"anyOf": [{"type": "string"}, {"minimum": 2}]}, True),
        (3, {"oneOf": [{"type": "integer"}, {"minimum": 2}]}, False),
        (3, {"allOf": [{"type": "integer"}, {"minimum": 4}]}, False),
        (3, {"exclusiveMinimum": 3}, False),
        (3, {"exclusiveMaximum": 3.5}, True),
        ("abc", {"pattern": "^b"}, False),
        ("abc", {"minLength": 4}, False),
        ({"a": 1}, {"additionalProperties": {"type": "string"}}, False),
        ({"a": {"a": {}}}, TREE, True),
        ({"a": {"a": 1}}, TREE, False),
        (1, {"$ref": "#/$defs/missing"}, False),
        (1, {"$ref": "#"}, False),
    ],
)
def test_each_keyword_is_checked(value: JsonValue, schema: Schema, good: object) -> None:
    assert conforms(value, schema) is good


@given(JSON)
def test_everything_conforms_to_the_empty_schema_and_to_itself_as_a_constant(value: JsonValue) -> None:
    assert conforms(value, {})
    assert conforms(value, {"const": value})
