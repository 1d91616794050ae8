"""The worked examples in the docstring of a prompt: found, turned into tests, or taken out.

Pure. An example may contradict the function that it describes: whoever uses one compares it with the reference first.
Source: code-and-math specification 3.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_BETWEEN: Final = re.compile(
    r"[ \t]*(?:\#[ \t]*)?(?:={1,3}>?|-?->|➞|➔|,?[ \t]*(?:it[ \t]+)?(?:should\s+return|returns?))?[ \t]*(?:\n[ \t]*)?"
)
"""What stands between a call and its value: a sign or a word, the end of the line, or both."""
_WORD: Final = re.compile(r"(?:True|False|None|true|false)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_SPELLING: Final = {"true": "True", "false": "False"}
_CLOSERS: Final = {"(": ")", "[": "]", "{": "}", "'": "'", '"': '"'}
_GOES_ON: Final = re.compile(r"[ \t]*[-+*/\"']|\w")
"""After a value: it is the first term of something longer, such as `19 - 5 - 6 = 8`."""
_LAST_TERM: Final = re.compile(r"=[ \t]*(-?\d+(?:\.\d+)?)[ \t]*$")
_QUOTES: Final = re.compile(r"[ \t]*(?:\"\"\"|''')")
_SENTENCE: Final = 4
"""Words before an example that are more than a mark or a heading."""
_LONGEST: Final = 2_000
"""Characters of a call or a value."""

_HEADER: Final = re.compile(
    r"[ \t]*(?:(?:for )?exam[pb]le?s?(?: \d+)?[ \t]*:?|it must be implemented like this:)[ \t]*", re.IGNORECASE
)
_WRITTEN_OUT: Final = re.compile(
    r"[ \t]*(?:for \w+ = .*should be|for example,? .*\bshould\b|input:|output:[ \t]*\S|explanation:|(?:\#|=>|->) "
    r"|result = |\w+ = \[|return (?:= )?\[|operator\[|(?:assert )?\w+\(.*\) (?:==?>|==) )",
    re.IGNORECASE,
)
"""Lines of examples in other forms than a call and its value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One call with constant arguments and what it is said to return, both as Python source."""

    call: str
    value: str
    lines: range
    """0-based lines of the prompt that it takes."""
    lead: str
    """What stands before it on its first line."""

    @property
    def assertion(self) -> str:
        """The example as a test."""
        return f"assert {self.call} == {self.value}"


def examples(prompt: str, entry_point: str) -> list[Example]:
    """The examples of a function in its docstring, in their order; empty where there is no docstring."""
    lines = prompt.split("\n")
    place = _docstring(prompt, entry_point)
    before = sum(len(line) + 1 for line in lines[: place.start])
    return list(_found("\n".join(lines[: place.stop]), before, entry_point))


def without(prompt: str, dropped: Sequence[Example]) -> str:
    """The prompt without these examples."""
    return _kept(prompt, {line for example in dropped for line in example.lines}, dropped)


def without_examples(prompt: str, entry_point: str) -> str:
    """The prompt without any example in the docstring of the function, whatever its form, nor the headings of examples.

    A value that a recurrence starts from stays: it stands among lines like an example, and defines the function.
    """
    lines = prompt.split("\n")
    place = _docstring(prompt, entry_point)
    found = examples(prompt, entry_point)
    gone = {line for example in found for line in example.lines}
    gone |= _doctests(lines, place) | _written_out(lines, place)
    gone |= {number for number in place if _HEADER.fullmatch(lines[number])}
    return _kept(prompt, gone - _recurrences(lines, place, entry_point), found)


def _docstring(prompt: str, entry_point: str) -> range:
    """Lines of the docstring, which may follow an import in the body, as one of the published prompts has it."""
    for node in ast.walk(ast.parse(prompt)):
        if isinstance(node, ast.FunctionDef) and node.name == entry_point:
            for statement in node.body:
                if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                    return range(statement.lineno - 1, statement.end_lineno or statement.lineno)
    return range(0)


def _found(text: str, start: int, name: str) -> Iterator[Example]:
    end = start
    for match in re.compile(rf"(?<![\w.]){re.escape(name)}[ \t]*\(").finditer(text, start):
        call = _expression(text, match.start(), match.end() - 1)
        if match.start() < end or call is None or not _is_constant_call(call):
            continue
        after = match.start() + len(call)
        between = _BETWEEN.match(text, after)
        value = _value(text, between.end()) if between is not None and between.end() > after else None
        if between is None or value is None:
            continue
        end = between.end() + len(value)
        if _GOES_ON.match(text, end):
            line_end = text.find("\n", end)
            last = _LAST_TERM.search(text, end, line_end)
            if last is None:
                continue
            value, end = last[1], line_end
        yield Example(
            call=" ".join(map(str.strip, call.split("\n"))),
            value=" ".join(map(str.strip, _SPELLING.get(value, value).split("\n"))),
            lines=range(text.count("\n", 0, match.start()), text.count("\n", 0, end) + 1),
            lead=text[text.rfind("\n", 0, match.start()) + 1 : match.start()],
        )


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
    return word.group() if word is not None else None


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
    return isinstance(call, ast.Call) and all(
        _is_literal(ast.unparse(part)) for part in (*call.args, *(option.value for option in call.keywords))
    )


def _doctests(lines: Sequence[str], place: range) -> set[int]:
    """Lines of `>>>` and what stands below them, to a blank line or the end of the docstring."""
    found: set[int] = set()
    for number in place:
        follows = number - 1 in found and lines[number].strip().strip("\"'") != ""
        if ">>>" in lines[number] or follows:
            found.add(number)
    return found


def _written_out(lines: Sequence[str], place: range) -> set[int]:
    """Lines of examples in words, with what is indented below them."""
    found: set[int] = set()
    indent = 0
    for number in place:
        line = lines[number]
        inside = number - 1 in found and line.strip() != "" and len(line) - len(line.lstrip()) > indent
        if _WRITTEN_OUT.match(line):
            indent = len(line) - len(line.lstrip())
        elif not inside:
            continue
        found.add(number)
    return found


def _recurrences(lines: Sequence[str], place: range, name: str) -> set[int]:
    """Blocks of lines that begin with the function, where one of them defines it by itself."""
    found: set[int] = set()
    block: list[int] = []
    for number in [*place, place.stop]:
        if number in place and lines[number].lstrip().startswith(f"{name}("):
            block.append(number)
            continue
        if any(lines[one].count(f"{name}(") > 1 for one in block):
            found |= set(block)
        block = []
    return found


def _kept(prompt: str, gone: set[int], dropped: Sequence[Example]) -> str:
    """The other lines; of a line that goes, the quotes of the docstring and a sentence that leads to an example stay."""
    leads = {example.lines.start: example.lead for example in reversed(dropped)}
    kept: list[str] = []
    for number, line in enumerate(prompt.split("\n")):
        if number not in gone:
            kept.append(line)
        elif rest := _rest(line, leads.get(number, "")):
            kept.append(rest)
    return "\n".join(kept)


def _rest(line: str, lead: str) -> str:
    if len(lead.split()) >= _SENTENCE:
        return lead.rstrip()
    quotes = _QUOTES.match(line)
    return quotes.group() if quotes is not None else ""
