"""Tests taken apart into calls and expressions."""

from __future__ import annotations

import ast

import pytest

from services.contract.execution import CallArguments
from services.green_agent.scoring.code.assertions import NotPairs, Pairs, take_apart


def pairs(test: str) -> Pairs:
    return take_apart(ast.parse(test).body, callee="f")


def test_an_assert_becomes_a_call_and_an_expression_with_a_placeholder() -> None:
    taken = pairs("assert abs(f(1, flag=True) - 0.5) < 1e-6, 'message'")

    assert taken.calls == (CallArguments(args=[1], kwargs={"flag": True}),)
    assert [ast.unparse(a.expression) for a in taken.assertions] == ["abs($0 - 0.5) < 1e-06"]
    assert taken.assertions[0].calls == (0,)


def test_arguments_are_folded() -> None:
    taken = pairs("assert f(3 * 19, 'ab' + 'c', [1, 0 ** 0], -2 ** 70) == 1")

    assert taken.calls[0].args == [57, "abc", ["list", 1, 1], ["int", hex(-(2**70))]]


def test_an_assert_may_make_several_calls() -> None:
    taken = pairs("assert f(1) == f(2)\nassert not f(3)")

    assert [a.calls for a in taken.assertions] == [(0, 1), (2,)]


def test_an_assert_without_a_call_is_not_counted() -> None:
    taken = pairs("assert True\nassert f(1)\nassert True, 'note'")

    assert len(taken.assertions) == 1
    assert taken.vacuous == 2


def test_statements_that_do_nothing_are_passed_over() -> None:
    taken = pairs("'docstring'\nprint\npass\nimport math\nassert math.isclose(f(1), 2)")

    assert len(taken.assertions) == 1


@pytest.mark.parametrize(
    ("test", "reason"),
    [
        ("for x in [1]:\n    assert f(x)", "line 1: For"),
        ("x = 1\nassert f(1)", "line 1: Assign"),
        ("import os\nassert f(1)", "line 1: Import"),
        ("import math as m\nassert f(1)", "line 1: Import"),
        ("print(1)\nassert f(1)", "line 1: Expr"),
        ("assert f(x) == 1", "line 1: argument is not a constant: name x"),
        ("assert f(f(1)) == 1", "line 1: argument is not a constant: call of f"),
        ("assert f(*[1]) == 1", "line 1: argument is not a constant: Starred"),
        ("assert f(**{}) == 1", "line 1: unpacked arguments"),
        ("assert f(1) == y", "line 1: name y"),
        ("assert g(f(1)) == 1", "line 1: call of g"),
        ("assert f(1).real == 1", "line 1: Attribute"),
        ("assert max(*f(1)) == 1", "line 1: Starred"),
        ("assert {**f(1)} == {}", "line 1: Dict"),
        ("assert max(**f(1)) == 1", "line 1: keyword"),
        ("assert f(1) is 1", "line 1: identity with something else than None, True or False"),
        ("assert [x for x in f(1)] == []", "line 1: ListComp"),
        ("assert f(10 ** 10 ** 10)", "line 1: argument is the value is too large for the assert"),
        ("assert True", "no assert calls the function"),
        ("", "no assert calls the function"),
    ],
)
def test_a_test_that_is_more_than_pairs_is_refused_with_the_reason(test: str, reason: str) -> None:
    with pytest.raises(NotPairs) as refused:
        pairs(test)

    assert str(refused.value) == reason


def test_a_placeholder_is_no_name_that_a_test_could_write() -> None:
    with pytest.raises(SyntaxError):
        ast.parse("$0")
