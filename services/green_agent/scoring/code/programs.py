"""Python source as syntax trees: what it defines, how a completion joins its prompt, when two programs are the same.

Nothing here executes a program or raises on one: text that is no program is None or False.
"""

from __future__ import annotations

import ast
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Final

MAX_PROGRAM_CHARS: Final = 1 << 16
"""Longer texts are not read as programs: a parse holds the interpreter lock, and for some texts, such as an f-string of many
fields, for a time that grows with the square of their length."""
MAX_PARSED_CHARS: Final = 1 << 20
PARSE_COST: Final = 200
"""What the shortest parse takes, in characters."""

_UNREADABLE: Final = (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError)
# The parser warns about invalid escapes, and warnings may be errors. `catch_warnings` is not safe between threads.
_PARSER: Final = threading.Lock()


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or None when the text is no Python."""
    return _read(source, check_scopes=False)


def compiles(source: str) -> bool:
    """True when the text is a module that could be run."""
    return _read(source, check_scopes=True) is not None


def _read(source: str, *, check_scopes: bool) -> ast.Module | None:
    if len(source) > MAX_PROGRAM_CHARS:
        return None
    with _PARSER, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
            if check_scopes:
                compile(source, "<program>", "exec", dont_inherit=True)
        except _UNREADABLE:
            return None
    return tree


class Syntax:
    """What is Python among the texts of one reply.

    Each text is parsed once, and all together up to MAX_PARSED_CHARS: a hostile reply has fences for minutes of parsing.
    What comes after that bound is not Python.
    """

    def __init__(self, entry_point: str) -> None:
        self._entry_point = entry_point
        self._room = MAX_PARSED_CHARS
        self._known: dict[str, tuple[bool, bool]] = {}

    def parses(self, text: str) -> bool:
        """True when the text is Python syntax; `return` outside of a function still counts."""
        return self._facts(text)[0]

    def defines(self, text: str) -> bool:
        """True when the text is Python and gives the entry point a definition of its own."""
        return self._facts(text)[1]

    def _facts(self, text: str) -> tuple[bool, bool]:
        if text not in self._known:
            self._room -= len(text) + PARSE_COST
            if self._room < 0:
                return False, False
            tree = parse(text)
            self._known[text] = tree is not None, tree is not None and defines(tree, self._entry_point)
        return self._known[text]


def defines(tree: ast.Module, name: str) -> bool:
    """True when the module gives `name` a definition of its own: a function, a class or an assigned value."""
    return any(name in names_bound(statement) for statement in module_level(tree) if not _is_import(statement))


def whole_program(tree: ast.Module, source: str, *, prompt: str, entry_point: str) -> str:
    """`source` with the imports and auxiliary definitions of the prompt before it that it lacks."""
    present = {name for statement in module_level(tree) for name in names_bound(statement)}
    context = parse(prompt)
    lacking = [
        lacked
        for statement in (context.body if context else [])
        if entry_point not in names_bound(statement) and (lacked := _lacked(statement, present)) is not None
    ]
    if not lacking:
        return source
    return _after_future_imports(source, tree, "\n\n".join(ast.unparse(statement) for statement in lacking))


def _lacked(statement: ast.stmt, present: set[str]) -> ast.stmt | None:
    """What of a statement binds names that are not present: of an import a part, of any other all or nothing."""
    if isinstance(statement, ast.Import):
        names = [alias for alias in statement.names if _bound(alias) not in present]
        return ast.Import(names) if names else None
    if isinstance(statement, ast.ImportFrom):
        names = [alias for alias in statement.names if _bound(alias) not in present]
        return ast.ImportFrom(statement.module, names, statement.level) if names else None
    bound = names_bound(statement)
    return statement if bound and not bound & present else None


def completed(prompt: str, code: str) -> str | None:
    """Prompt and code joined, the code indented by four when only that compiles; None when neither does."""
    start = prompt if prompt.endswith("\n") or not prompt else prompt + "\n"
    indented = "\n".join(f"    {line}" if line.strip() else line for line in code.split("\n"))
    return next((source for source in (start + code, start + indented) if compiles(source)), None)


def definitions(prompt: str, *, without: str) -> str:
    """Source of the prompt's imports and auxiliary definitions; the function called `without` is left out."""
    tree = parse(prompt)
    kept = [statement for statement in (tree.body if tree else []) if without not in names_bound(statement)]
    return "\n\n".join(ast.unparse(statement) for statement in kept)


def same_program(one: str, other: str) -> bool:
    """True when the syntax trees are equal without docstrings: layout and comments do not matter."""
    trees = [parse(one), parse(other)]
    try:
        dumps = [ast.dump(_without_docstrings(tree)) for tree in trees if tree is not None]
    except RecursionError:
        return False
    return len(dumps) == len(trees) and dumps[0] == dumps[1]


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                del node.body[0]
    return tree


def module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported, those inside `if`, `try`, `with` and loops included."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        statement = waiting.pop()
        yield statement
        if not _is_main_guard(statement):
            for part in ("body", "orelse", "finalbody"):
                waiting += _suite(statement, part)
            for handler in getattr(statement, "handlers", []):
                waiting += handler.body


def _suite(statement: ast.stmt, part: str) -> Sequence[ast.stmt]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return ()
    suite: Sequence[ast.stmt] = getattr(statement, part, ())
    return suite


def _is_main_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and any(
        isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(statement.test)
    )


def _is_import(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Import | ast.ImportFrom)


def names_bound(statement: ast.stmt) -> set[str]:
    """Names that the statement itself binds, without those of statements inside it."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {_bound(alias) for alias in statement.names}
    if isinstance(statement, ast.Assign):
        return {node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
    if isinstance(statement, ast.AnnAssign) and statement.value is not None and isinstance(statement.target, ast.Name):
        return {statement.target.id}
    return set()


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.split(".")[0]


def _after_future_imports(source: str, tree: ast.Module, addition: str) -> str:
    """Future imports must stay first."""
    line = max(
        (s.end_lineno or 0 for s in tree.body if isinstance(s, ast.ImportFrom) and s.module == "__future__"), default=0
    )
    lines = source.split("\n")
    return "\n".join([*lines[:line], addition, "", *lines[line:]])
