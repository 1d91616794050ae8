"""The codec of values: round trips, what cannot cross, and what a hostile sender gets."""

import datetime as dt
import enum
import json
import math
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, namedtuple
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract import values
from services.contract.values import MAX_DEPTH, MalformedValue, Unencodable, decode, encode

zones = st.none() | st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(1, 20_000).map(lambda bits: -(1 << bits) + 1)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]), max_size=3)
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.timedeltas()
    | st.times(timezones=zones)
    | st.datetimes(timezones=zones)
    | st.builds(range, st.integers(), st.integers(), st.integers().filter(bool))
    | st.sampled_from([int, str, list, dict, type(None), ValueError, object])
)
hashables = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4), max_leaves=8
)
anything = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.sets(hashables, max_size=4)
        | st.dictionaries(hashables, inner, max_size=4)
    ),
    max_leaves=20,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
        | st.tuples(st.sampled_from(["int", "float", "dict", "set", "time", "datetime", "range", "type"]), inner).map(
            list
        )
    ),
)


def types_of(value: object) -> object:
    """The value with the type of each part, which `==` does not tell."""
    if isinstance(value, dict):
        return dict, [(types_of(key), types_of(part)) for key, part in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [types_of(part) for part in value]
    return type(value)


@given(anything)
def test_a_value_comes_back_equal_and_of_the_same_types_through_json_text(value: object) -> None:
    back = decode(json.loads(json.dumps(encode(value))))

    assert back == value
    assert types_of(back) == types_of(value)


@given(anything)
def test_encoded_values_are_ascii_text_that_every_json_reader_takes(value: object) -> None:
    text = json.dumps(encode(value), allow_nan=False, ensure_ascii=False)

    assert text.encode()


@given(json_values)
def test_decoding_anything_gives_a_value_or_says_that_it_is_malformed(encoded: Any) -> None:
    try:
        value = decode(encoded)
    except MalformedValue:
        return
    assert repr(value) or value == ""


@pytest.mark.parametrize("value", [math.nan, complex(math.nan, 1), math.inf, -0.0, 5e-324])
def test_special_floats_keep_every_bit(value: complex) -> None:
    assert repr(decode(encode(value))) == repr(value)


Point = namedtuple("Point", "x y")  # noqa: PYI024 - what candidates return


class Colour(enum.IntEnum):
    RED = 3


class Shout(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "!"


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (Counter("aab"), {"a": 2, "b": 1}),
        (defaultdict(int, {1: 2}), {1: 2}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Point(1, 2), (1, 2)),
        (Colour.RED, 3),
        (Shout("quiet"), "quiet"),
    ],
)
def test_subclasses_arrive_as_their_base_content(value: object, base: object) -> None:
    arrived = decode(encode(value))

    assert arrived == base
    assert type(arrived) is type(base)


class Liar(list[int]):
    def __iter__(self) -> Any:
        return iter([9, 9])

    def __eq__(self, other: object) -> bool:
        return True

    def __len__(self) -> int:
        return 77

    __hash__ = None


def test_overridden_methods_have_no_say() -> None:
    assert decode(encode(Liar([1, 2]))) == [1, 2]


class Lying(type):
    def __getattribute__(cls, name: str) -> Any:
        return {"__name__": "int", "__mro__": (int, object)}.get(name) or super().__getattribute__(name)


class Impostor(metaclass=Lying):
    @property  # type: ignore[misc] # lying about it is the point
    def __class__(self) -> Any:
        return int

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


@pytest.mark.parametrize(
    "value",
    [Impostor(), object(), lambda: 0, iter([]), bytearray(b"a"), enum.Enum("E", "A").A],  # type: ignore[attr-defined]
    ids=["impostor", "object", "function", "iterator", "bytearray", "member"],
)
def test_everything_else_arrives_as_unencodable_and_equals_nothing(value: object) -> None:
    arrived = decode(encode(value))

    assert isinstance(arrived, Unencodable)
    assert arrived != value
    assert not arrived == value  # noqa: SIM201 - both operators have to say no
    assert not arrived == arrived  # noqa: PLR0124, SIM201
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(arrived)


def test_a_part_that_cannot_cross_leaves_its_neighbours() -> None:
    first, second, third = decode(encode([1, object(), "a"]))

    assert (first, third) == (1, "a")
    assert repr(second) == "unencodable: object"


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_a_value_of_the_greatest_depth_crosses_and_one_level_more_does_not() -> None:
    assert decode(encode(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    assert decode(encode(nested(MAX_DEPTH + 1))) != nested(MAX_DEPTH + 1)


def test_a_value_that_contains_itself_ends() -> None:
    value: list[Any] = []
    value.append(value)

    assert "below 100 levels" in json.dumps(encode(value))


def test_shared_parts_cannot_unfold_into_an_endless_frame() -> None:
    value: list[Any] = []
    for _ in range(60):
        value = [value, value]

    assert encode(value) == ["unencodable", "value above the frame limit"]


@pytest.mark.parametrize(
    "value",
    ["x" * (17 << 20), "é" * (3 << 20), b"x" * (9 << 20), 1 << (70 << 20)],
    ids=["str", "not ASCII", "bytes", "int"],
)
def test_a_value_above_the_frame_limit_does_not_cross(value: object) -> None:
    assert encode(value) == ["unencodable", "value above the frame limit"]


@pytest.mark.parametrize(
    "encoded",
    [
        1.5,
        {},
        {"int": 1},
        [],
        [1],
        ["nothing", 1],
        ["int", "ten"],
        ["int"],
        ["dict", 1],
        ["type", "os"],
        ["date", 2026, 2, 30],
        ["str", "zz"],
        "\ud800",
    ],
)
def test_malformed_values_are_named_as_such(encoded: Any) -> None:
    with pytest.raises(MalformedValue):
        decode(encoded)


def test_nesting_beyond_the_limit_is_malformed() -> None:
    encoded: Any = ["list"]
    for _ in range(MAX_DEPTH):
        encoded = ["list", encoded]

    with pytest.raises(MalformedValue):
        decode(encoded)


def test_members_without_a_hash_are_refused() -> None:
    assert repr(decode(["set", ["list", 1]])) == "unencodable: set with a member that has no hash"
    assert repr(decode(["dict", ["list"], 1])) == "unencodable: dict with a member that has no hash"


def test_members_made_to_collide_are_refused_before_they_cost_quadratic_time() -> None:
    modulus = sys.hash_info.modulus
    colliding: list[Any] = [["int", hex(modulus * factor)] for factor in range(1, 200_000)]

    assert repr(decode(["set", *colliding])) == "unencodable: set of colliding hashes"
    # Many small sets cost as much as a large one, and so does one with some members that do not collide.
    assert repr(decode(["list", ["set", *colliding[:999]]])) == "[unencodable: set of colliding hashes]"
    assert repr(decode(["set", *colliding, *range(40_000)])) == "unencodable: set of colliding hashes"


def test_hashes_that_meet_by_chance_refuse_nothing() -> None:
    members = {*range(-1000, 1000), *map(str, range(1000)), *(str(one).encode() for one in range(1000))}

    assert decode(encode(members)) == members
    assert decode(encode(dict.fromkeys(members))) == dict.fromkeys(members)


def test_the_module_stands_alone() -> None:
    source = Path(values.__file__).read_text("utf-8")
    program = f"import sys; exec(compile({source!r}, 'values', 'exec')); print(decode(encode((1, {{2}}))))"

    told = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True)

    assert told.stdout == "(1, {2})\n"


def test_a_fraction_that_would_take_minutes_to_reduce_equals_nothing() -> None:
    huge = decode(["fraction", "0x" + "f" * 4_000_000 + " 0x" + "7" * 3_000_000])

    assert isinstance(huge, Unencodable)
    assert decode(encode(Fraction(10**300 + 1, 7**300))) == Fraction(10**300 + 1, 7**300)
