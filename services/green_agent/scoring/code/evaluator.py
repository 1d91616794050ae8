"""A closed evaluator for the expressions that tests assert, over values that a program under test returned.

The expressions come from the data set, the values from an adversary: every step that could run for long on a value is
bounded, nothing is looked up outside of the tables here, and only EvaluationError comes out. Source: code-and-math
specification 5, `pairs`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any, Final

from services.contract.values import Unencodable

MAX_SIZE: Final = 20_000
"""Bound on what arithmetic and builtins work on and give: items and characters, nested ones included; five bits of an
integer are one. Comparing has no bound, it is linear."""

Lookup = Callable[[str], object]
"""Gives the value of a name. May raise EvaluationError."""


class EvaluationError(Exception):
    """The expression has no value; the text says why in a few words and quotes neither the test nor the value."""


def is_true(expression: ast.expr, lookup: Lookup) -> bool:
    """Whether asserting `expression` succeeds. Raises EvaluationError where evaluating it would raise or take too long."""
    try:
        return bool(_value(expression, lookup))
    except _FAULTS as fault:
        raise EvaluationError(f"evaluating the assert raised {type(fault).__name__}") from fault


def constant(expression: ast.expr) -> Any:
    """The value of an expression without names, for example `[2 ** 10, -1]`. Raises EvaluationError."""
    if reason := refusal(expression, names=frozenset()):
        raise EvaluationError(f"not a constant: {reason}")
    try:
        return _value(expression, _no_names)
    except _FAULTS as fault:
        raise EvaluationError(f"evaluating a constant raised {type(fault).__name__}") from fault


def refusal(expression: ast.expr, *, names: frozenset[str]) -> str | None:
    """Why `expression` is outside of the closed language, or None when it is inside; `names` may occur in it."""
    waiting: list[ast.AST] = [expression]
    while waiting:
        node = waiting.pop()
        if reason := _node_refusal(node, names):
            return reason
        waiting += [child for child in ast.iter_child_nodes(node) if not _is_callee(child, node)]
    return None


def _is_callee(child: ast.AST, node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and child is node.func


def _node_refusal(node: ast.AST, names: frozenset[str]) -> str | None:
    if isinstance(node, ast.Name) and node.id not in names:
        return f"name {node.id}"
    if isinstance(node, ast.Call) and ast.unparse(node.func) not in FUNCTIONS:
        return f"call of {ast.unparse(node.func)}"
    if isinstance(node, ast.Compare) and not _identity_is_of_singletons(node):
        # Identity of other decoded values would depend on how they crossed.
        return "identity with something else than None, True or False"
    unpacks = (isinstance(node, ast.Dict) and None in node.keys) or (isinstance(node, ast.keyword) and node.arg is None)
    known = type(node) in _RULES or type(node) in _OPERATORS or isinstance(node, _PARTS)
    return type(node).__name__ if unpacks or not known else None


def _identity_is_of_singletons(node: ast.Compare) -> bool:
    operands = [node.left, *node.comparators]
    return all(
        any(isinstance(side, ast.Constant) and (side.value is None or isinstance(side.value, bool)) for side in sides)
        for operation, *sides in zip(node.ops, operands, operands[1:], strict=False)
        if isinstance(operation, ast.Is | ast.IsNot)
    )


def _value(node: ast.expr, lookup: Lookup) -> Any:
    value = _RULES[type(node)](node, lookup)
    if isinstance(value, Unencodable):
        # Not even `!=` and `not` are for it: what did not cross passes no test.
        raise EvaluationError(repr(value)[:120])
    return value


def _values(nodes: list[ast.expr], lookup: Lookup) -> list[Any]:
    return [_value(node, lookup) for node in nodes]


def _dict(node: ast.Dict, lookup: Lookup) -> object:
    keys = [key for key in node.keys if key is not None]
    return dict(zip(_values(keys, lookup), _values(node.values, lookup), strict=True))


def _unary(node: ast.UnaryOp, lookup: Lookup) -> object:
    return _OPERATORS[type(node.op)](_value(node.operand, lookup))


def _binary(node: ast.BinOp, lookup: Lookup) -> object:
    return _OPERATORS[type(node.op)](_value(node.left, lookup), _value(node.right, lookup))


def _boolean(node: ast.BoolOp, lookup: Lookup) -> object:
    stops_at = isinstance(node.op, ast.Or)
    value: object = None
    for operand in node.values:
        value = _value(operand, lookup)
        if bool(value) is stops_at:
            break
    return value


def _compare(node: ast.Compare, lookup: Lookup) -> bool:
    left = _value(node.left, lookup)
    for operation, comparator in zip(node.ops, node.comparators, strict=True):
        right = _value(comparator, lookup)
        if not _OPERATORS[type(operation)](left, right):
            return False
        left = right
    return True


def _slice(node: ast.Slice, lookup: Lookup) -> object:
    return slice(*(None if part is None else _value(part, lookup) for part in (node.lower, node.upper, node.step)))


def _call(node: ast.Call, lookup: Lookup) -> object:
    options = {str(option.arg): _value(option.value, lookup) for option in node.keywords}
    return FUNCTIONS[ast.unparse(node.func)](*_values(node.args, lookup), **options)


def _no_names(name: str) -> object:
    raise EvaluationError(f"name {name}")


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, refusing operands that are too large for it to end soon."""

    def call(*operands: Any, **options: Any) -> Any:
        if sum(_size(operand) for operand in (*operands, *options.values())) > MAX_SIZE:
            raise EvaluationError("the value is too large for the assert")
        return function(*operands, **options)

    return call


def _size(value: Any) -> int:
    """Size of a value as MAX_SIZE counts it; counting stops soon after the bound."""
    size, waiting = 0, [value]
    while waiting and size <= MAX_SIZE:
        part = waiting.pop()
        size += 1 + _own_size(part)
        if size <= MAX_SIZE:
            waiting += _members(part)
    return size


def _own_size(value: Any) -> int:
    if isinstance(value, int):
        return value.bit_length() // 5
    if isinstance(value, Fraction):
        return (value.numerator.bit_length() + value.denominator.bit_length()) // 5
    if isinstance(value, Decimal):
        # As an integer it would have this many digits.
        return abs(value.adjusted())
    if isinstance(value, str | bytes | list | tuple | set | frozenset | dict):
        return len(value)
    if isinstance(value, range):
        # `len` overflows on the longest ones.
        return max(0, (value.stop - value.start) // value.step)
    return 0


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else []


def _times(left: Any, right: Any) -> Any:
    for sequence, count in ((left, right), (right, left)):
        if isinstance(sequence, str | bytes | list | tuple) and isinstance(count, int):
            _check(len(sequence) * max(count, 0))
    return left * right


def _power(base: Any, exponent: Any) -> Any:
    if not isinstance(base, int | float | complex) or not isinstance(exponent, int | float | complex):
        raise EvaluationError("power of something else than plain numbers")
    if isinstance(base, int) and isinstance(exponent, int):
        _check(base.bit_length() * abs(exponent) // 5)
    return base**exponent


def _modulo(left: Any, right: Any) -> Any:
    if isinstance(left, str | bytes):
        raise EvaluationError("formatting is not evaluated")
    return left % right


def _round(number: Any, digits: Any = None) -> Any:
    _check(abs(digits or 0))
    return round(number, digits)


def _contains(item: Any, container: Any) -> bool:
    # A range looks at each of its members for anything but an integer.
    _check(_own_size(container) if isinstance(container, range) else 0)
    return item in container


def _check(size: int) -> None:
    if size > MAX_SIZE:
        raise EvaluationError("the value is too large for the assert")


_PARTS: Final = (ast.expr_context, ast.keyword, ast.boolop)
"""Nodes that have no value of their own."""

_FAULTS: Final = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What operations on plain builtins raise."""

FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {
        "bool": bool,
        "len": len,
        **{
            function.__name__: _bounded(function)
            for function in (abs, all, any, float, int, list, max, min, set, sorted, sum, tuple)
        },
        "round": _bounded(_round),
        "math.isclose": _bounded(math.isclose),
    }
)
"""Fifteen pure builtins and one of `math`, by the names that tests call them by."""

_OPERATORS: Final[Mapping[type[ast.AST], Callable[..., Any]]] = MappingProxyType(
    {
        ast.Not: operator.not_,
        ast.USub: _bounded(operator.neg),
        ast.UAdd: _bounded(operator.pos),
        ast.Add: _bounded(operator.add),
        ast.Sub: _bounded(operator.sub),
        ast.Mult: _bounded(_times),
        ast.Div: _bounded(operator.truediv),
        ast.FloorDiv: _bounded(operator.floordiv),
        ast.Mod: _bounded(_modulo),
        ast.Pow: _bounded(_power),
        ast.Eq: operator.eq,
        ast.NotEq: operator.ne,
        ast.Lt: operator.lt,
        ast.LtE: operator.le,
        ast.Gt: operator.gt,
        ast.GtE: operator.ge,
        ast.Is: operator.is_,
        ast.IsNot: operator.is_not,
        ast.In: _contains,
        ast.NotIn: lambda item, container: not _contains(item, container),
    }
)

_RULES: Final[Mapping[type[ast.AST], Callable[[Any, Lookup], Any]]] = MappingProxyType(
    {
        ast.Constant: lambda node, _: node.value,
        ast.Name: lambda node, lookup: lookup(node.id),
        ast.List: lambda node, lookup: _values(node.elts, lookup),
        ast.Tuple: lambda node, lookup: tuple(_values(node.elts, lookup)),
        ast.Set: lambda node, lookup: set(_values(node.elts, lookup)),
        ast.Dict: _dict,
        ast.UnaryOp: _unary,
        ast.BinOp: _binary,
        ast.BoolOp: _boolean,
        ast.Compare: _compare,
        ast.Subscript: lambda node, lookup: _value(node.value, lookup)[_value(node.slice, lookup)],
        ast.Slice: _slice,
        ast.Call: _call,
    }
)
