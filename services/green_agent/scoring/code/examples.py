"""The worked examples in a docstring: `>>> f(1)` with its value below, `f(1) == 2`, `f(1) ➞ 2`, "f(1) should return 2".

Pure. An example may contradict the function that it describes; whoever shows or uses one compares it with the reference first.
Source: code-and-math specification 3.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_BETWEEN: Final = re.compile(
    r"[ \t]*(?:\#[ \t]*)?(?:={1,3}>?|-?->|➞|➔|,?[ \t]*(?:it[ \t]+)?(?:should[ \t]+return|returns?))?[ \t]*(?:\n[ \t]*)?"
    r"(?:return[ \t]+)?"
)
"""What stands between a call and its value: a sign, a word, the end of the line, or several of them in this order."""
_WORD: Final = re.compile(r"(?:True|False|None|true|false)\b|-?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w.]*\()")
_SPELLING: Final = {"true": "True", "false": "False"}
_CLOSERS: Final = {"(": ")", "[": "]", "{": "}", "'": "'", '"': '"'}
_LONGEST: Final = 2_000
"""Characters of a call or a value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One call with constant arguments and what it is said to return, both as Python source."""

    call: str
    value: str
    line: int
    """0-based line of the docstring on which the call begins."""
    last_line: int
    """Likewise, on which the value ends."""

    @property
    def assertion(self) -> str:
        """The example as a test."""
        return f"assert {self.call} == {self.value}"


def docstring(prompt: str, entry_point: str) -> str:
    """The docstring of the function as it is written, escapes read; empty when there is none.

    It may follow an import in the body, as one of the published prompts has it.
    """
    for node in ast.walk(ast.parse(prompt)):
        if isinstance(node, ast.FunctionDef) and node.name == entry_point:
            texts = (_text(statement) for statement in node.body)
            return next((text for text in texts if text), "")
    return ""


def examples(text: str, *, name: str) -> list[Example]:
    """The examples of the function `name` in a docstring, in their order."""
    return list(_found(text, name))


def _found(text: str, name: str) -> Iterator[Example]:
    end = 0
    for match in re.finditer(rf"(?<![\w.]){re.escape(name)}[ \t]*\(", text):
        if match.start() < end:
            continue
        call = _expression(text, match.start(), match.end() - 1)
        if call is None or not _is_constant_call(call):
            continue
        after = match.start() + len(call)
        between = _BETWEEN.match(text, after)
        start = between.end() if between is not None and between.end() > after else after
        value = _value(text, start)
        if value is None or start == after:
            continue
        end = start + len(value)
        yield Example(
            call=" ".join(call.split("\n")),
            value=_SPELLING.get(value, value),
            line=text.count("\n", 0, match.start()),
            last_line=text.count("\n", 0, end),
        )


def _text(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return statement.value.value if isinstance(statement.value.value, str) else ""
    return ""


def _expression(text: str, start: int, opening: int) -> str | None:
    """The source from `start` to the bracket or quote that closes the one at `opening`; None when none does."""
    closer = _CLOSERS[text[opening]]
    end = text.find(closer, opening + 1, start + _LONGEST)
    while end != -1:
        if _parsed(text[start : end + 1]) is not None:
            return text[start : end + 1]
        end = text.find(closer, end + 1, start + _LONGEST)
    return None


def _value(text: str, start: int) -> str | None:
    """The literal that begins at `start`, as written."""
    if start < len(text) and text[start] in _CLOSERS:
        value = _expression(text, start, start)
        return value if value is not None and _is_literal(value) else None
    word = _WORD.match(text, start)
    return word.group().rstrip(".") if word is not None else None


def _parsed(source: str) -> ast.expr | None:
    try:
        return ast.parse(source, mode="eval").body
    except (SyntaxError, ValueError):
        return None


def _is_literal(source: str) -> bool:
    try:
        ast.literal_eval(source)
    except (SyntaxError, ValueError, TypeError):
        return False
    return True


def _is_constant_call(source: str) -> bool:
    call = _parsed(source)
    return (
        isinstance(call, ast.Call)
        and not any(keyword.arg is None for keyword in call.keywords)
        and all(_is_literal(ast.unparse(part)) for part in (*call.args, *(option.value for option in call.keywords)))
    )
