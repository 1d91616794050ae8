from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.json_schema import conforms
from services.inference.reference_engine.exchange import Schema
from services.inference.reference_engine.schemas import Filler, instance


@pytest.mark.parametrize(
    ("schema", "least"),
    [
        ({"type": "string"}, ""),
        ({"type": "string", "minLength": 3}, "..."),
        ({"type": "number", "minimum": 2.5}, 2.5),
        ({"type": "integer", "exclusiveMinimum": 2}, 3),
        ({"type": "integer", "maximum": -4}, -4),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 0),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 7}, 7),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"type": "object", "properties": {"a": {}, "b": {"type": "integer"}}, "required": ["b"]}, {"b": 0}),
        ({"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 1}]}, 1),
        ({"allOf": [{"type": "integer"}, {"minimum": 4}]}, 4),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer", "minimum": 9}}}, 9),
    ],
)
def test_the_least_instance_of_a_schema(schema: dict[str, Any], least: object) -> None:
    assert instance(schema) == least
    assert conforms(instance(schema), schema)


def test_a_schema_that_contains_itself_is_cut_off() -> None:
    schema: Schema = {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}

    assert isinstance(instance(schema), dict)


LEAVES = st.one_of(
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span}, st.integers(), st.integers(0, 9)
    ),
    st.builds(lambda low: {"type": "number", "minimum": low}, st.integers(-100, 100)),
    st.builds(lambda least: {"type": "string", "minLength": least, "maxLength": least + 30}, st.integers(0, 5)),
    st.just({"type": "boolean"}),
    st.builds(lambda values: {"enum": values}, st.lists(st.text(), min_size=1, max_size=3, unique=True)),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(
            lambda fields: {
                "type": "object",
                "properties": fields,
                "required": list(fields),
                "additionalProperties": False,
            },
            st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=4),
        ),
        st.builds(lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 3)),
    ),
    max_leaves=8,
)


@given(SCHEMAS, st.floats(0, 1))
def test_every_instance_conforms_to_its_schema(schema: dict[str, Any], share: float) -> None:
    assert conforms(instance(schema), schema)
    assert conforms(instance(schema, Filler(positive=True, share=share, text="label", optional=True)), schema)
