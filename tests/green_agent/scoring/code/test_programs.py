"""Programs as syntax trees."""

from __future__ import annotations

import pytest

from services.green_agent.scoring.code import programs


@pytest.mark.parametrize(
    ("source", "defined"),
    [
        ("def f(): pass", True),
        ("async def f(): pass", True),
        ("class f: pass", True),
        ("f = g = len", True),
        ("f: int = 1", True),
        ("if True:\n    def f(): pass", True),
        ("try:\n    pass\nfinally:\n    f = 1", True),
        ("f: int", False),
        ("def g():\n    def f(): pass", False),
        ("class A:\n    def f(self): pass", False),
        ("import f", False),
        ("f", False),
    ],
)
def test_a_definition_is_one_of_the_module_itself(source: str, *, defined: bool) -> None:
    tree = programs.parse(source)

    assert tree is not None
    assert programs.defines(tree, "f") is defined


def test_a_return_outside_of_a_function_parses_and_does_not_compile() -> None:
    assert programs.parse("return 1") is not None
    assert not programs.compiles("return 1")


def test_a_body_joins_its_prompt_as_it_is_or_indented() -> None:
    prompt = 'def f(x):\n    """Doc."""'

    assert programs.completed(prompt, "    return x") == f"{prompt}\n    return x"
    assert programs.completed(prompt, "y = x\n\nreturn y") == f"{prompt}\n    y = x\n\n    return y"
    assert programs.completed(prompt, "return return") is None


def test_the_definitions_of_a_prompt_leave_the_function_out() -> None:
    prompt = 'import math\n\ndef g():\n    return 1\n\ndef f(x):\n    """Doc."""\n'

    assert programs.definitions(prompt, without="f") == "import math\n\ndef g():\n    return 1"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ('def f(x):\n  """Doc."""\n  # note\n  return (x+1)', True),
        ("def f(x):\n    return x + 1\n", True),
        ("def f(y):\n    return y + 1\n", False),
        ("def f(x):\n    return 1 + x\n", False),
        ("def f(x:\n", False),
    ],
)
def test_programs_are_the_same_when_only_layout_and_docstrings_differ(other: str, *, same: bool) -> None:
    assert programs.same_program("def f(x):\n    return x + 1", other) is same


def test_one_reply_is_parsed_up_to_a_bound_and_what_was_parsed_stays_known() -> None:
    syntax = programs.Syntax("f")
    texts = [f"f = {n}\n{'#' * (programs.MAX_PROGRAM_CHARS - 100)}" for n in range(16)]

    assert [syntax.parses(text) for text in texts] == [True] * 15 + [False]
    assert syntax.defines(texts[0])
    assert not syntax.defines(texts[15])


def test_of_an_import_that_is_half_there_the_other_half_is_put_before_the_program() -> None:
    prompt = "import math, sys\nfrom typing import List, Tuple\n\n\ndef f(x: List[int]) -> Tuple[int, int]:\n    pass\n"
    source = "import math\nfrom typing import List\n\n\ndef f(x: List[int]) -> Tuple[int, int]:\n    return 1, 2\n"
    tree = programs.parse(source)
    assert tree is not None

    whole = programs.whole_program(tree, source, prompt=prompt, entry_point="f")

    assert whole == "import sys\n\nfrom typing import Tuple\n\n" + source
