"""What of a Python program its entry point reaches. Pure; a text that is no program stays as it is."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.green_agent.scoring.code import programs

SOLUTION: Final = "Solution"
"""Class whose methods may be entry points."""


def entry_closure(source: str, entry_point: str, *, also: Iterable[str] = ()) -> str:
    """The program without the top-level statements that its entry point and the names `also` do not reach.

    Kept are the definitions of these, what binds a name that a kept statement uses, future and star imports. So
    tests, prints and main guards fall away, and calls at module level that only change an object do too. A program that
    does not define the entry point is given back unchanged. Source: code-and-math specification 4, `sanitize`.
    """
    tree = programs.parse(source)
    if tree is None:
        return source
    binders = _binders(tree.body)
    start = _start(binders, entry_point)
    if start is None:
        return source
    wanted: set[int] = set()
    for statement in (tree.body[number] for number in _reached(tree.body, binders, {start, *also})):
        first = min([statement.lineno, *(part.lineno for part in getattr(statement, "decorator_list", []))])
        wanted |= set(range(first, (statement.end_lineno or statement.lineno) + 1))
    lines = source.split("\n")
    return "\n".join(lines[number - 1] for number in sorted(wanted)) + "\n"


def _start(binders: Mapping[str, list[int]], entry_point: str) -> str | None:
    return next((name for name in (entry_point, SOLUTION) if name in binders), None)


def _binders(statements: Sequence[ast.stmt]) -> dict[str, list[int]]:
    """By name, the statements that bind it."""
    found: dict[str, list[int]] = {}
    for number, statement in enumerate(statements):
        for name in _names_bound(statement):
            found.setdefault(name, []).append(number)
    return found


def _reached(statements: Sequence[ast.stmt], binders: Mapping[str, list[int]], starts: set[str]) -> set[int]:
    kept = {number for number, statement in enumerate(statements) if _always(statement)}
    waiting, seen = list(starts), set(starts)
    while waiting:
        for number in set(binders.get(waiting.pop(), ())) - kept:
            kept.add(number)
            names = {node.id for node in ast.walk(statements[number]) if isinstance(node, ast.Name)} - seen
            waiting += names
            seen |= names
    return kept


def _always(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and (
        statement.module == "__future__" or any(alias.name == "*" for alias in statement.names)
    )


def _names_bound(statement: ast.stmt) -> set[str]:
    """Names that the statement binds at module level, or whose values it changes by assigning to a part of them."""
    found = {name for part in programs.module_level(ast.Module([statement], [])) for name in programs.names_bound(part)}
    if isinstance(statement, ast.AugAssign):
        found |= {node.id for node in ast.walk(statement.target) if isinstance(node, ast.Name)}
    return found
