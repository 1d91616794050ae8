"""Asserts of a test as calls to make and expressions to evaluate, so that expected values stay with the evaluator.

`assert abs(candidate(1.33) - 0.33) < 1e-6` becomes the call `candidate(1.33)` for the sandbox and the expression
`abs($0 - 0.33) < 1e-6` for green. Source: code-and-math specification 5, `pairs`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.contract.execution import CallArguments
from services.contract.values import encode
from services.green_agent.scoring.code.evaluator import EvaluationError, constant, refusal


class NotPairs(Exception):  # noqa: N818 - the name of the verdict method
    """The test is more than asserts over calls with constant arguments; the text names what it has instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assertion:
    """One assert that depends on the program."""

    expression: ast.expr
    """What must be true; the name `$i` stands for what call i returned."""
    calls: tuple[int, ...]
    """Indices of the calls it reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pairs:
    """A test taken apart."""

    calls: tuple[CallArguments, ...]
    """Arguments of the calls to make, in the order of the test."""
    assertions: tuple[Assertion, ...]
    """At least one."""
    vacuous: int
    """Asserts without a call, such as `assert True`: they test nothing and are not counted."""


def placeholder(index: int) -> str:
    """The name that stands for the result of a call; no identifier of a test can be equal to it."""
    return f"${index}"


def constant_arguments(call: ast.Call) -> CallArguments:
    """The arguments of a call, encoded. Raises NotPairs for one that is no constant."""
    try:
        arguments = [encode(constant(argument)) for argument in call.args]
        options = {_option_name(option): encode(constant(option.value)) for option in call.keywords}
    except EvaluationError as error:
        raise NotPairs(f"line {call.lineno}: argument is {error}") from None
    return CallArguments(args=arguments, kwargs=options)


Arguments = Callable[[ast.Call], CallArguments]


def take_apart(statements: Iterable[ast.stmt], *, callee: str, arguments: Arguments = constant_arguments) -> Pairs:
    """The calls of `callee` and the assertions of a test. Raises NotPairs when the test cannot be taken apart.

    `arguments` says what is sent for a call as the test writes it.
    """
    parser = _Parser(callee, arguments)
    for statement in statements:
        parser.read(statement)
    if not parser.assertions:
        raise NotPairs("no assert calls the function")
    return Pairs(calls=tuple(parser.calls), assertions=tuple(parser.assertions), vacuous=parser.vacuous)


class _Parser:
    """Collects calls and assertions in the order of the statements read."""

    def __init__(self, callee: str, arguments: Arguments) -> None:
        self.callee = callee
        self.arguments = arguments
        self.calls: list[CallArguments] = []
        self.assertions: list[Assertion] = []
        self.vacuous = 0

    def read(self, statement: ast.stmt) -> None:
        if _does_nothing(statement):
            return
        if not isinstance(statement, ast.Assert):
            raise NotPairs(f"line {statement.lineno}: {type(statement).__name__}")
        first = len(self.calls)
        expression = _Replacer(self).visit(statement.test)
        used = tuple(range(first, len(self.calls)))
        if reason := refusal(expression, names=frozenset(map(placeholder, used))):
            raise NotPairs(f"line {statement.lineno}: {reason}")
        if used:
            self.assertions.append(Assertion(expression=expression, calls=used))
        else:
            self.vacuous += 1

    def record(self, call: ast.Call) -> ast.Name:
        """Note the call and give the name that stands for it."""
        self.calls.append(self.arguments(call))
        return ast.Name(id=placeholder(len(self.calls) - 1), ctx=ast.Load())


class _Replacer(ast.NodeTransformer):
    """Puts placeholders in place of the calls."""

    def __init__(self, parser: _Parser) -> None:
        self.parser = parser

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name) and node.func.id == self.parser.callee:
            return self.parser.record(node)
        return self.generic_visit(node)


def _option_name(option: ast.keyword) -> str:
    if option.arg is None:
        raise NotPairs(f"line {option.lineno}: unpacked arguments")
    return option.arg


def _does_nothing(statement: ast.stmt) -> bool:
    """A docstring, a bare name, `pass`, or an import of the one module whose functions the evaluator knows."""
    if isinstance(statement, ast.Import):
        return all(alias.name == "math" and alias.asname is None for alias in statement.names)
    return isinstance(statement, ast.Pass) or (
        isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant | ast.Name)
    )
