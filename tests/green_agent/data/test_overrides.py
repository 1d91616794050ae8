"""Decisions on single items, found by the digest of the item."""

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from services.green_agent.benchmarks.options.file import OptionsOverride
from services.green_agent.benchmarks.synthetic.loader import SyntheticOverride
from services.green_agent.data.overrides import item_sha256, read_overrides

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON, max_size=5))
def test_the_digest_of_an_item_does_not_depend_on_the_order_of_its_keys(item: dict[str, JsonValue]) -> None:
    names = sorted(item, reverse=True)

    assert item_sha256({name: item[name] for name in names}) == item_sha256(item)


@given(st.dictionaries(st.text(), JSON, min_size=1, max_size=5))
def test_any_change_gives_another_digest(item: dict[str, JsonValue]) -> None:
    name = next(iter(item))

    assert item_sha256({**item, name: [item[name]]}) != item_sha256(item)


def test_eight_synthetic_items_are_settled() -> None:
    settled = read_overrides("services.green_agent.benchmarks.synthetic", SyntheticOverride)

    assert len(settled) == 8
    assert sorted(one.id[-4:] for one in settled.values() if one.action == "quarantined") == [
        "0009",
        "0010",
        "0013",
        "0021",
        "0023",
    ]
    assert all(one.reason for one in settled.values())


def test_fourteen_option_items_are_mapped_and_one_is_corrected() -> None:
    settled = read_overrides("services.green_agent.benchmarks.options", OptionsOverride)

    assert len(settled) == 14
    assert [(one.id, bool(one.reason)) for one in settled.values() if one.corrected] == [("risk_002", True)]
    for one in settled.values():
        assert not set(one.measured) & set(one.judged), one.id
