"""From replies to programs: golden files in `replies/`, one reply and, where it holds a program, that program."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.code import programs
from services.green_agent.scoring.code.extraction import Program, extract_continuation, extract_python

REPLIES = Path(__file__).parent / "replies"
PROMPT = (REPLIES / "prompt.txt").read_text()
ENTRY_POINT = "vowel_positions"

WITHOUT_PROGRAM = {"bare_completion", "broken_program", "prose_only", "reasoning_cut_off"}
COMPLETIONS = {"completion_at_margin", "completion_indented"}
WHOLE_PROGRAMS = {
    "bare_program",
    "fence_in_docstring",
    "fence_in_equal_fence",
    "fence_in_fence",
    "fence_in_list",
    "future_import",
    "helper_of_prompt_missing",
    "last_definition_wins",
    "main_guard_and_tests",
    "plain_fence",
    "reasoning_opened_by_template",
    "reasoning_with_draft",
    "tilde_fence",
    "two_languages",
    "unclosed_fence",
}


def extract(reply: str) -> Program | None:
    return extract_python(reply, prompt=PROMPT, entry_point=ENTRY_POINT)


def reply_called(name: str) -> str:
    return (REPLIES / f"{name}.reply.txt").read_bytes().decode()


def test_every_golden_reply_has_its_expectation() -> None:
    names = {path.name.partition(".")[0] for path in REPLIES.glob("*.reply.txt")}

    assert names == WITHOUT_PROGRAM | COMPLETIONS | WHOLE_PROGRAMS


@pytest.mark.parametrize("name", sorted(WHOLE_PROGRAMS | COMPLETIONS))
def test_a_reply_gives_the_program_that_its_golden_file_holds(name: str) -> None:
    program = extract(reply_called(name))

    assert program is not None
    assert program.source.rstrip("\n") + "\n" == (REPLIES / f"{name}.program.txt").read_text()
    assert program.shape == ("completion" if name in COMPLETIONS else "whole")
    assert program.place == ("reply" if name == "bare_program" else "fence")


@pytest.mark.parametrize("name", sorted(WHOLE_PROGRAMS | COMPLETIONS))
def test_the_golden_programs_are_right_solutions(name: str) -> None:
    namespace: dict[str, object] = {"__name__": "solution"}

    exec((REPLIES / f"{name}.program.txt").read_text(), namespace)

    function = namespace[ENTRY_POINT]
    assert callable(function)
    assert function("team up") == [1, 2, 5]


@pytest.mark.parametrize("name", sorted(WITHOUT_PROGRAM))
def test_a_reply_without_a_program_gives_none(name: str) -> None:
    assert extract(reply_called(name)) is None


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
def test_other_line_ends_give_the_same_program(line_end: str) -> None:
    reply = reply_called("plain_fence")

    assert extract(reply.replace("\n", line_end)) == extract(reply)


def test_a_text_block_that_happens_to_parse_does_not_displace_a_completion() -> None:
    reply = "```python\nreturn [1, 2]\n```\n\nOutput:\n\n```text\nOutput: 5\n```\n"

    program = extract(reply)

    assert program is not None
    assert program.source == PROMPT + "    return [1, 2]"


def test_a_program_tagged_with_no_language_of_python_counts_when_it_defines_the_entry_point() -> None:
    program = extract("```text\nvowel_positions = lambda text: []\n```")

    assert program is not None
    assert program.source.endswith("vowel_positions = lambda text: []")


def test_a_definition_under_the_main_guard_is_none() -> None:
    program = extract('```python\nif __name__ == "__main__":\n    def vowel_positions(text):\n        return []\n```')

    assert program is not None
    assert program.shape == "completion"


def test_a_definition_inside_a_branch_counts() -> None:
    program = extract(
        "```python\ntry:\n    import x\nexcept ImportError:\n    def vowel_positions(t):\n        return []\n```"
    )

    assert program is not None
    assert program.shape == "whole"


def test_an_import_of_the_entry_point_is_no_definition() -> None:
    program = extract("```python\nfrom solution import vowel_positions\n```")

    assert program is not None
    assert program.shape == "completion"


def test_a_program_that_overrides_a_helper_keeps_its_own() -> None:
    program = extract(reply_called("plain_fence"))

    assert program is not None
    assert program.source.count("def is_vowel") == 1


def test_an_invalid_escape_in_a_string_is_still_python() -> None:
    assert extract('```python\ndef vowel_positions(text):\n    return "\\d"\n```') is not None


def test_a_program_beyond_the_size_limit_is_none() -> None:
    reply = f"```python\ndef vowel_positions(text):\n    return [{'1,' * programs.MAX_PROGRAM_CHARS}]\n```"

    assert extract(reply) is None


def test_without_a_code_prompt_a_block_stands_for_itself() -> None:
    program = extract_python("```\nx = 1\n```", prompt="", entry_point="f")

    assert program is not None
    assert program.source == "x = 1"


@pytest.mark.parametrize(
    "reply",
    [
        "```python\n" * 20_000,
        "<think>\n" * 20_000,
        "</think>" * 20_000,
        "```python\n" + "(" * 100_000,
        "```python\n" + "a" + ".a" * 100_000,
        "```python\nx = " + "-" * 100_000 + "1\n```",
        "```python\n" + "if x:\n pass\n" + "elif x:\n pass\n" * 1_000 + "```",
        "```python\nx = '\0'\n```",
        "```python\nx = '\ud800'\n```",
        "`" * 100_000,
        "```\n``` \n" * 20_000,
    ],
    ids=lambda reply: repr(reply[:16]),
)
def test_a_hostile_reply_is_read_to_its_end(reply: str) -> None:
    program = extract(reply)

    assert program is None or program.shape == "completion"


FRAGMENTS = st.sampled_from(
    [
        *["```", "````", "~~~", "```python\n", "\n", "    ", "\t", "\r\n", "`", "<think>", "</think>"],
        *["def vowel_positions(text):\n", "return text\n", '"""', "# ", "import re\n", "x", "(", ")", "if x:\n"],
    ]
)


@given(st.one_of(st.text(), st.lists(st.one_of(FRAGMENTS, st.text(max_size=5)), max_size=30).map("".join)))
def test_any_text_gives_a_program_that_compiles_or_defines_the_entry_point_or_none(reply: str) -> None:
    program = extract(reply)

    assert program is None or programs.parse(program.source) is not None


@given(st.lists(st.sampled_from(["a = 1", "b = 'x'", "for i in range(3):\n    print(i)", "# note"]), max_size=5))
def test_what_stands_around_a_fence_does_not_change_the_program(lines: list[str]) -> None:
    code = "\n".join([*lines, "def vowel_positions(text):", "    return []"])

    alone = extract(f"```python\n{code}\n```")
    amid_words = extract(f"Of course.\n\n```python\n{code}\n```\nIt returns a list.\n")

    assert alone is not None
    assert alone == amid_words
    assert alone.source.endswith(code)


class TestContinuations:
    STOPS = ("def", "class", "#", "if", "print")

    def go_on(self, reply: str) -> str | None:
        program = extract_continuation(reply, prompt=PROMPT, stops=self.STOPS)
        return None if program is None else program.source.removeprefix(PROMPT)

    @pytest.mark.parametrize(
        "rest",
        ["", "\ndef other():\n    return (", "\nclass A", "\n# now a test", "\nif __name__ == 'x':", "\nprint('done')"],
    )
    def test_a_reply_ends_before_the_next_statement_at_module_level(self, rest: str) -> None:
        assert self.go_on(f"    words = 1\n    return words\n{rest}") in {
            "    words = 1\n    return words\n",
            "    words = 1\n    return words\n\n",
            "    words = 1\n    return words\n\n\n",
        }

    def test_a_lost_indentation_of_the_first_line_is_put_back(self) -> None:
        assert self.go_on("words = 1\n    return words") == "    words = 1\n    return words"

    def test_a_reply_that_begins_anew_adds_nothing_to_the_prompt(self) -> None:
        assert self.go_on("def vowel_positions(text):\n    return [1]") == ""

    def test_a_reply_goes_on_in_the_middle_of_a_line(self) -> None:
        program = extract_continuation("if_set):\n    return 1\nif True:", prompt="def f(", stops=self.STOPS)

        assert program is not None
        assert program.source == "def f(if_set):\n    return 1"

    def test_a_reply_that_is_no_python_gives_no_program(self) -> None:
        assert self.go_on("    return (") is None
        assert self.go_on("Sure! Here is the function:") is None

    def test_the_program_counts_as_a_completion_of_the_reply(self) -> None:
        program = extract_continuation("    return []", prompt=PROMPT, stops=self.STOPS)

        assert program is not None
        assert (program.shape, program.place) == ("completion", "reply")
