"""From a reply to the program in it. Pure, and total: any text gives a program or None.

Source: code-and-math specification 4. Nothing is repaired beyond its rules, so that all agents are read alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from services.green_agent.scoring.code import programs
from services.green_agent.scoring.code.fences import LONGEST_REPLY, Block, blocks, searched, with_line_feeds

PYTHON_TAGS: Final = frozenset({"", "python", "python3", "py", "py3", "python2", "pycon", "ipython"})
"""Languages of blocks that may hold Python. A block tagged otherwise counts when it defines the entry point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """What was found in a reply, ready to run."""

    source: str
    shape: Literal["whole", "completion"]
    """Whether the agent wrote the entry point itself or only its body."""
    place: Literal["fence", "reply"]


def extract_python(reply: str, *, prompt: str, entry_point: str) -> Program | None:
    """The Python program in `reply`, or None when there is none.

    `prompt` is the code the agent was given (signature and docstring; empty when it was given none): what a whole program
    lacks of it is put before the program, and a body is put after it.
    """
    text = searched(reply)
    fenced = blocks(text, is_whole=programs.Syntax(entry_point).parses)
    # What was spent on finding the blocks does not count against choosing the last of them.
    code = _chosen(fenced, programs.Syntax(entry_point)) if fenced else text
    tree = programs.parse(code)
    place: Literal["fence", "reply"] = "fence" if fenced else "reply"
    if tree is not None and programs.defines(tree, entry_point):
        source = programs.whole_program(tree, code, prompt=prompt, entry_point=entry_point)
        return Program(source=source, shape="whole", place=place)
    joined = programs.completed(prompt, code) if fenced else None
    return Program(source=joined, shape="completion", place=place) if joined is not None else None


def extract_continuation(reply: str, *, prompt: str, stops: tuple[str, ...]) -> Program | None:
    """The program that `prompt` begins and `reply` goes on with, or None when the two together are no program.

    For base models, which answer raw prompts. What they write after their solution is cut off: the reply ends before its first
    line that begins with one of `stops`. An agent that trims its replies loses the indentation of the first line, which is
    put back when only that makes a program.
    """
    text = with_line_feeds(reply[:LONGEST_REPLY])
    lines = text.split("\n")
    # The first line begins one only after a prompt that ends a line.
    first = 0 if prompt.endswith("\n") else 1
    end = next((number for number in range(first, len(lines)) if lines[number].startswith(stops)), len(lines))
    code = "\n".join(lines[:end])
    joined = next((source for source in (prompt + code, f"{prompt}    {code}") if programs.compiles(source)), None)
    return Program(source=joined, shape="completion", place="reply") if joined is not None else None


def _chosen(fenced: list[Block], syntax: programs.Syntax) -> str:
    """The last block that defines the entry point, else the last that parses, else the last."""
    newest_first = fenced[::-1]
    for block in newest_first:
        if syntax.defines(block.text):
            return block.text
    likely = [block for block in newest_first if block.language in PYTHON_TAGS] or newest_first
    return next((block.text for block in likely if syntax.parses(block.text)), likely[0].text)
