"""Arguments as the tests of EvalPlus write them: JSON holds lists where some tasks take tuples, sets or complex numbers.

Which task takes what follows from the literal arguments of its published asserts, `written_arguments`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import JsonValue

Shape = Callable[[Any], Any]
"""A JSON value to the value it stands for."""


def arguments(task_id: str, given: Sequence[JsonValue]) -> list[Any]:
    """The positional arguments that one row of `base_input` or `plus_input` stands for."""
    shapes = _SHAPES.get(task_id)
    if shapes is None:
        return list(given)
    if len(shapes) == 1:
        return [shapes[0](value) for value in given]
    return [shape(value) for shape, value in zip(shapes, given, strict=True)]


def written_arguments(test: str, *, callee: str) -> list[list[Any]]:
    """Positional arguments of each call of `callee` in a test, in order; calls with other than literals are left out."""
    calls = [
        node
        for node in ast.walk(ast.parse(test))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == callee
    ]
    found: list[list[Any]] = []
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        try:
            found.append([ast.literal_eval(argument) for argument in call.args])
        except ValueError:
            continue
    return found


def _same(value: Any) -> Any:
    return value


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _tuples(value: Any) -> Any:
    """A list of tuples."""
    return [_tuple(item) for item in value] if isinstance(value, list) else value


def _tuple_of_tuples(value: Any) -> Any:
    return _tuple(_tuples(value))


def _all_tuples(value: Any) -> Any:
    return tuple(_all_tuples(item) for item in value) if isinstance(value, list) else value


def _tuple_of_lists(value: Any) -> Any:
    """A tuple when it holds lists; a list of anything else is one."""
    return _tuple(value) if isinstance(value, list) and any(isinstance(item, list) for item in value) else value


def _sets(value: Any) -> Any:
    """A list of sets, where nothing tells an empty set from an empty dict, and the tests write a dict."""
    if not isinstance(value, list):
        return value
    return [(set(item) or {}) if isinstance(item, list) else item for item in value]


def _dict_of_tuples(value: Any) -> Any:
    return {key: _tuple(item) for key, item in value.items()} if isinstance(value, dict) else value


def _complex(value: Any) -> Any:
    return complex(value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return int(value) if value.lstrip("-").isdecimal() else float(value)


def _table(shapes: Mapping[tuple[Shape, ...], Sequence[int]]) -> dict[str, tuple[Shape, ...]]:
    return {f"Mbpp/{number}": shape for shape, numbers in shapes.items() for number in numbers}


_SHAPES: Final[Mapping[str, tuple[Shape, ...]]] = {
    "HumanEval/127": (_tuple,),
    **_table(
        {
            (_tuple,): (
                *(2, 98, 104, 116, 132, 145, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 616, 630, 726, 740),
                *(744, 809),
            ),
            (_tuple_of_lists,): (143,),
            (_tuples,): (63, 64, 70, 94, 120, 140, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780),
            (_tuple_of_tuples,): (259, 278, 401, 445),
            (_all_tuples,): (580, 596, 615, 791),
            (_sets,): (115,),
            (_complex,): (252,),
            (_number, _complex): (124,),
            (_tuples, _same): (75, 413, 444, 753),
            (_same, _tuple): (106, 750),
            (_tuple, _same): (250, 405, 446, 617, 720, 763, 808),
            (_tuple, _same, _same): (307,),
            (_dict_of_tuples, _same, _same): (722,),
        }
    ),
}
"""By task: one shape for all arguments, or one for each."""
