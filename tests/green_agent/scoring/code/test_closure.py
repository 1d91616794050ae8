"""Of a program only what its entry point reaches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.code.closure import entry_closure

PROGRAM = """\
from __future__ import annotations
import math
import sys
from typing import *

LIMIT = 3
LIMIT += 1
unused = LIMIT

def helper(n):
    return math.floor(n) + LIMIT

@decorated
def other():
    return helper(1)

def entry(n):
    return helper(n)

print(entry(2))
assert entry(2) == 6
if __name__ == "__main__":
    entry(3)
"""

REACHED = """\
from __future__ import annotations
import math
from typing import *
LIMIT = 3
LIMIT += 1
def helper(n):
    return math.floor(n) + LIMIT
def entry(n):
    return helper(n)
"""


def test_only_what_the_entry_point_reaches_is_kept() -> None:
    assert entry_closure(PROGRAM, "entry") == REACHED


def test_what_was_kept_reaches_itself() -> None:
    assert entry_closure(REACHED, "entry") == REACHED


def test_decorators_stay_with_their_function() -> None:
    assert entry_closure("import a\n\n@a.b\ndef entry():\n    pass\nx = 1", "entry") == (
        "import a\n@a.b\ndef entry():\n    pass\n"
    )


def test_a_method_of_solution_is_reached_through_its_class() -> None:
    source = "import re\nclass Solution:\n    def entry(self):\n        return 1\nprint(Solution().entry())"

    assert entry_closure(source, "entry") == "class Solution:\n    def entry(self):\n        return 1\n"


def test_a_definition_inside_a_conditional_keeps_the_whole_of_it() -> None:
    source = "try:\n    import numpy\nexcept ImportError:\n    numpy = None\ndef entry():\n    return numpy"

    assert entry_closure(source, "entry") == source + "\n"


def test_a_program_without_the_entry_point_stays_as_it_is() -> None:
    assert entry_closure("x = 1\nprint(x)", "entry") == "x = 1\nprint(x)"
    assert entry_closure("def entry(:", "entry") == "def entry(:"


@given(st.text(max_size=200))
def test_any_text_gives_a_text(text: str) -> None:
    assert isinstance(entry_closure(text, "entry"), str)


def test_thousands_of_statements_are_no_trouble() -> None:
    source = "def entry(): return a0\n" + "".join(f"a{n}=a{n + 1}\n" for n in range(4_500)) + "a4500=1\n"

    assert entry_closure(source, "entry") == source


def test_what_a_test_takes_beside_the_entry_point_is_kept() -> None:
    program = "import x\nclass Pair:\n    made = x\ndef unused(): ...\ndef entry(n): return n.a\n"

    kept = "import x\nclass Pair:\n    made = x\ndef entry(n): return n.a\n"
    assert entry_closure(program, "entry", also=("Pair", "Absent")) == kept
