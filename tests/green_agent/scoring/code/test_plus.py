"""Outputs against those of a published solution: what is equal, what is near enough, and what must not pass."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contract.values import Unencodable
from services.green_agent.scoring.code.plus import agrees, check_of, holds

NAN = float("nan")
INF = float("inf")
MATCH = Unencodable("Match")


@pytest.mark.parametrize(
    ("returned", "expected", "atol", "right"),
    [
        (3, 3, 0.0, True),
        (True, 1, 0.0, True),
        (3.0, 3, 0.0, True),
        (4, 3, 0.0, False),
        (None, 3, 0.0, False),
        (0.3, 0.1 + 0.2, 0.0, True),
        (0.300002, 0.3, 0.0, False),
        (0.30005, 0.3, 1e-4, True),
        (0.3002, 0.3, 1e-4, False),
        (1e9 + 50, 1e9, 0.0, True),
        (1e9 + 150, 1e9, 0.0, False),
        ([1.0, 2.0 + 1e-9], [1.0, 2.0], 0.0, True),
        ((1.0, 2.0 + 1e-9), [1.0, 2.0], 0.0, False),
        ([1.0, 2.0 + 1e-9, 3.0], [1.0, 2.0], 0.0, False),
        ([1.0, "2"], [1.0, 2.0], 0.0, False),
        ([1, 2.0 + 1e-9], [1, 2.0], 0.0, False),
        ([1, 2.0 + 1e-9], [1, 2.0], 1e-4, True),
        ([[1.0 + 1e-9]], [[1.0]], 0.0, False),
        ([[1.0 + 1e-9]], [[1.0]], 1e-4, True),
        ([], [], 0.0, True),
        ([1.0], [], 1e-4, False),
        (INF, INF, 0.0, True),
        (-INF, INF, 1e-4, False),
        ([INF, 1.0 + 1e-9], [INF, 1.0], 0.0, True),
        (1.0, NAN, 1e-4, False),
        (NAN, NAN, 1e-4, False),
        (1 + 1e-9j, 1 + 0j, 1e-4, True),
        (10**400, 1.5, 1e-4, False),
        ("a", "b", 1e-4, False),
        (True, False, 1e-4, False),
        (Unencodable("generator"), 3, 0.0, False),
        ([Unencodable("generator")], [3.0], 1e-4, False),
    ],
)
def test_outputs_are_right_when_equal_or_floats_of_the_same_type_within_the_tolerance(
    returned: Any, expected: Any, atol: float, *, right: bool
) -> None:
    assert holds(agrees, [], returned, expected, atol) is right


def test_a_mixed_sequence_of_a_huge_integer_is_compared_without_an_error() -> None:
    assert holds(agrees, [], [10**400, 2.0], [10**400, 2.0 + 1e-9], 1e-4) is True
    assert holds(agrees, [], [10**400, 1.0], [1.0, 1.0], 1e-4) is False


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple),
    max_leaves=10,
)


@given(value=plain, atol=st.sampled_from([0.0, 1e-6, 1e-4]))
def test_every_output_agrees_with_itself(value: object, atol: float) -> None:
    assert holds(agrees, [], value, value, atol)


@given(returned=plain, expected=plain)
def test_a_tolerance_never_makes_a_right_output_wrong(returned: object, expected: object) -> None:
    assert holds(agrees, [], returned, expected, 1e-4) or not holds(agrees, [], returned, expected, 0.0)


def right(
    task_id: str, arguments: list[Any], returned: Any, expected: Any, *, name: str = "f", atol: float = 0.0
) -> bool:
    return holds(check_of(task_id, name), arguments, returned, expected, atol)


@given(roots=st.lists(st.integers(-5, 5), min_size=1, max_size=3), data=st.data())
def test_any_root_of_the_polynomial_is_right(roots: list[int], data: st.DataObject) -> None:
    coefficients = [1]
    for root in roots:
        coefficients = [a - root * b for a, b in zip([0, *coefficients], [*coefficients, 0], strict=True)]
    chosen = data.draw(st.sampled_from(roots))

    assert right("HumanEval/32", [coefficients], float(chosen), float(roots[0]), atol=1e-4)


@pytest.mark.parametrize("wrong", [2.5, None, "1", INF, NAN, 10**400, [1.0], Unencodable("x")])
def test_what_is_no_root_is_wrong(wrong: Any) -> None:
    assert not right("HumanEval/32", [[-1, 1]], wrong, 1.0, atol=1e-4)


@pytest.mark.parametrize("number", [2, 7, 111, 140, 232, 249, 579, 769])
def test_order_and_repetition_do_not_matter_where_the_task_asks_for_a_collection(number: int) -> None:
    assert right(f"Mbpp/{number}", [], [5, 4, 4], (4, 5))
    assert right(f"Mbpp/{number}", [], {4, 5}, [4, 5])
    assert not right(f"Mbpp/{number}", [], [4], (4, 5))
    assert not right(f"Mbpp/{number}", [], 45, (4, 5))
    assert not right(f"Mbpp/{number}", [], range(10**12), (4, 5))
    assert not right(f"Mbpp/{number}", [], [[4], [5]], (4, 5))


def test_members_made_to_collide_cost_no_time() -> None:
    step = (1 << 61) - 1

    assert not right("Mbpp/2", [], [step * number for number in range(100_000)], (4, 5))


def test_order_matters_in_every_other_task() -> None:
    assert not right("Mbpp/3", [], (5, 4), (4, 5))


@pytest.mark.parametrize("name", ["check_str", "text_match_three", "text_starta_endb"])
@pytest.mark.parametrize(
    ("returned", "expected", "verdict"),
    [
        (MATCH, MATCH, True),
        (True, MATCH, True),
        ("Found a match!", MATCH, True),
        (None, None, True),
        (False, None, True),
        (None, MATCH, False),
        (False, MATCH, False),
        (MATCH, None, False),
        (True, None, False),
    ],
)
def test_a_match_is_something_whatever_it_is(name: str, returned: object, expected: object, *, verdict: bool) -> None:
    assert right("Mbpp/1", [], returned, expected, name=name) is verdict


def test_a_sum_of_no_divisors_may_be_0_and_no_other_sum_may() -> None:
    assert right("Mbpp/295", [1], 0, 1)
    assert right("Mbpp/295", [1], 1, 1)
    assert right("Mbpp/295", [8], 7, 7)
    assert not right("Mbpp/295", [8], 0, 7)


def test_digits_may_be_counted_from_either_end() -> None:
    assert right("Mbpp/558", [123, 7], 6, 6)
    assert right("Mbpp/558", [123, 7], 1 + 2 + 4, 6)
    assert not right("Mbpp/558", [123, 7], 8, 6)
    assert not right("Mbpp/558", [-12, 7], 8, 6)


def test_the_height_of_a_pyramid_may_be_its_own_or_that_of_its_side() -> None:
    slanted, upright = 33, round(9 + 6 * math.sqrt(1.5**2 + 4**2))

    assert right("Mbpp/581", [3, 4], 33, slanted)
    assert right("Mbpp/581", [3, 4], upright, slanted)
    assert not right("Mbpp/581", [3, 4], upright + 1, slanted)
    assert not right("Mbpp/581", [3, 4], "35", slanted)


def test_the_task_whose_test_accepts_everything_accepts_everything() -> None:
    assert right("Mbpp/164", [36, 57], "nonsense", 0)
