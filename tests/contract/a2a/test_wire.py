"""Reading and assembling answers, as far as it is pure."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.a2a.reply import Assembly
from services.contract.a2a.wire import Dialect, Method, WireError, WireTask, compact_json, read_event, request_body

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def as_protobuf_has_it(value: object) -> object:
    """Every number a float, as google.protobuf.Value keeps it."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, list):
        return [as_protobuf_has_it(item) for item in value]
    if isinstance(value, dict):
        return {key: as_protobuf_has_it(item) for key, item in value.items()}
    return value


@given(json_values)
def test_whole_numbers_come_back_from_protobuf(value: object) -> None:
    # From 2^53 on a float no longer tells which integer it was.
    back = json.loads(compact_json(as_protobuf_has_it(value)))

    assert back == value


def test_large_and_broken_numbers_stay_floats() -> None:
    assert compact_json([2.0**53, 0.5, -0.0, 3.0]) == "[9007199254740992.0,0.5,0,3]"


@given(json_values)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        event = read_event(value)
    except WireError:
        return
    Assembly().add(event)


@given(st.text())
def test_every_text_can_be_sent(text: str) -> None:
    body = json.loads(request_body(Dialect.V1, Method.SEND, {"text": text + "\ud800"}))

    assert body["params"]["text"] == text + "?"


def test_both_dialects_read_the_same() -> None:
    new = {"id": "t", "contextId": "c", "status": {"state": "TASK_STATE_INPUT_REQUIRED"}, "artifacts": []}
    old = {"kind": "task", "id": "t", "contextId": "c", "status": {"state": "input-required"}}

    events = [read_event(new), read_event({"task": new}), read_event(old)]

    assert events[0] == events[1] == events[2]
    assert isinstance(events[0], WireTask)
    assert events[0].status.state == "input-required"


@pytest.mark.parametrize("state", ["TASK_STATE_WORKING", "working", "TASK_STATE_UNSPECIFIED", "unknown", ""])
def test_other_states_do_not_end_a_task(state: str) -> None:
    assembly = Assembly()
    assembly.add(read_event({"kind": "status-update", "taskId": "t", "contextId": "c", "status": {"state": state}}))

    assert not assembly.resting
