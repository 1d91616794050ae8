"""Argument shapes that JSON lacks, restored by task."""

from __future__ import annotations

from typing import Any

import pytest

from services.green_agent.benchmarks.evalplus.shapes import arguments, written_arguments


@pytest.mark.parametrize(
    ("task_id", "given", "restored"),
    [
        ("Mbpp/2", [[3, 4], [5, 4]], [(3, 4), (5, 4)]),
        ("Mbpp/3", [[3, 4]], [[3, 4]]),
        ("Mbpp/63", [[[3, 5], [1, 7]]], [[(3, 5), (1, 7)]]),
        ("Mbpp/75", [[[6, 24], [7, 9]], 6], [[(6, 24), (7, 9)], 6]),
        ("Mbpp/106", [[5, 6], [9, 10]], [[5, 6], (9, 10)]),
        ("Mbpp/115", [[[1, 2], [], {}]], [[{1, 2}, {}, {}]]),
        ("Mbpp/124", ["0", "1j"], [0, 1j]),
        ("Mbpp/124", ["-1e-3", "(-0-2j)"], [-0.001, complex("(-0-2j)")]),
        ("Mbpp/143", [[1, 2]], [[1, 2]]),
        ("Mbpp/143", [[[1, 2], [3]]], [([1, 2], [3])]),
        ("Mbpp/250", [[10, 8], 4], [(10, 8), 4]),
        ("Mbpp/252", [1], [1]),
        ("Mbpp/252", ["(1+2j)"], [1 + 2j]),
        ("Mbpp/259", [[[1, 3], [4, 5]], [[6, 7], [3, 9]]], [((1, 3), (4, 5)), ((6, 7), (3, 9))]),
        ("Mbpp/278", [[1, 5, [4, 6], 9]], [(1, 5, (4, 6), 9)]),
        ("Mbpp/307", [["a", 5, []], 2, 50], [("a", 5, []), 2, 50]),
        ("Mbpp/580", [[4, [7, 6, [2, 4]], 6]], [(4, (7, 6, (2, 4)), 6)]),
        ("Mbpp/722", [{"A": [6.2, 70]}, 6.0, 70], [{"A": (6.2, 70)}, 6.0, 70]),
        ("HumanEval/127", [[1, 2], [2, 3]], [(1, 2), (2, 3)]),
        ("HumanEval/2", [[1, 2]], [[1, 2]]),
    ],
)
def test_arguments_get_the_shape_that_the_asserts_of_their_task_write(
    task_id: str, given: list[Any], restored: list[Any]
) -> None:
    found = arguments(task_id, given)

    assert repr(found) == repr(restored)


def test_a_row_with_another_number_of_arguments_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        arguments("Mbpp/75", [[[6, 24]]])


def test_the_arguments_that_asserts_write_are_read_in_order() -> None:
    test = "assert f((1, 2), -3) == 4\nassert not f({1}, 'x') and f(2j, g(1)) == f([], None)\nassert g(f) == 1\n"

    assert written_arguments(test, callee="f") == [[(1, 2), -3], [{1}, "x"], [[], None]]
