"""From replies to C++ programs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.code.cpp import extract_cpp

MAIN = "#include <iostream>\nint main() {\n    std::cout << 1;\n}"
OTHER = '#include <cstdio>\nint main() { puts("2"); }'


def source(reply: str) -> str | None:
    found = extract_cpp(reply)
    return found.source if found is not None else None


@pytest.mark.parametrize("tag", ["cpp", "c++", "cc", "CPP", "C++ linenums", "c++17", "cpp20", "cxx", "c++2a"])
def test_a_tagged_block_is_the_program(tag: str) -> None:
    assert source(f"Here.\n\n```{tag}\n{MAIN}\n```\nOnce more in C:\n```c\n{OTHER}\n```\nDone.") == MAIN


def test_the_last_tagged_block_that_is_a_program_counts() -> None:
    reply = (
        f"```cpp\n{OTHER}\n```\nBetter:\n```cpp\n{MAIN}\n```\nIts core is\n```cpp\nx += 1;\n```\nOutput:\n```\n1\n```\n"
    )

    assert source(reply) == MAIN


def test_a_main_without_an_include_counts() -> None:
    assert source("```cpp\nint main() { return 0; }\n```\n```cpp\nint x;\n```") == "int main() { return 0; }"


def test_without_a_tagged_program_the_last_block_counts() -> None:
    assert source(f"```\nfirst\n```\n```c\n{OTHER}\n```") == OTHER


@pytest.mark.parametrize("tag", ["", "c"])
def test_a_program_in_another_block_counts_before_output_that_follows_it(tag: str) -> None:
    assert source(f"```{tag}\n{MAIN}\n```\nIt prints\n```\n1\n```") == MAIN


def test_a_block_that_is_never_closed_runs_to_the_end() -> None:
    assert source(f"```cpp\n{MAIN}\n") == MAIN + "\n"


def test_a_block_inside_a_block_is_found() -> None:
    assert source(f"```markdown\n# Answer\n```cpp\n{MAIN}\n```\n```\n") == MAIN


def test_reasoning_holds_no_answer() -> None:
    assert source(f"<think>\n```cpp\n{OTHER}\n```\n</think>\n```cpp\n{MAIN}\n```") == MAIN
    assert source(f"<think>\n```cpp\n{OTHER}\n```\n") is None


def test_without_blocks_the_text_from_the_first_include_to_the_end_of_main_counts() -> None:
    assert source(f"My program:\n{MAIN}\nIt prints {{1}}.") == MAIN


def test_braces_in_comments_and_texts_close_nothing() -> None:
    program = (
        "#include <cstdio>\n"
        "// int main() { never }\n"
        "/* { */\n"
        "struct S { int n; };\n"
        'int main() {\n    puts("}\\"}");\n    char c = \'}\'; // }\n    /* } */\n    if (c) { return 0; }\n    return 1;\n}'
    )

    assert source(program + "\nAnd that } is all.") == program


@pytest.mark.parametrize(
    "body",
    [
        "int f() { return 1'000; }\nint main() { return f(); }",
        "int main() { long long m = 1'000'000'007; }",
        'int main() { puts(R"(a"{b)"); }',
        'int main() { puts(R"x(}")}" )x"); }',
        "int main();\nvoid f() {}\nint main() { f(); }",
    ],
)
def test_separated_digits_raw_texts_and_declarations_do_not_move_the_end(body: str) -> None:
    program = f"#include <cstdio>\n{body}"

    assert source(f"{program}\nThat's all.") == program


def test_a_main_that_is_cut_off_runs_to_the_end() -> None:
    assert source("#include <cstdio>\nint main() { if (1) {") == "#include <cstdio>\nint main() { if (1) {"


@pytest.mark.parametrize("reply", ["I cannot.", "int main() { return 0; }", "#include <cstdio>\nvoid f() {}", ""])
def test_without_an_include_and_a_main_there_is_no_program(reply: str) -> None:
    assert source(reply) is None


@pytest.mark.parametrize(
    "hostile",
    [
        "/*" * 400_000,
        '\\"' * 400_000,
        "main(" * 150_000,
        "'" * 900_000,
        "{" * 900_000,
        "main(){" * 100_000,
        "//" * 400_000,
        'R"(' * 300_000,
        'R"aaaaaaaaaaaaaaaa(' + ")aaaaaaaaaaaaaaa" * 50_000,
        "1'" * 400_000,
    ],
)
def test_a_hostile_reply_is_read_in_passing(hostile: str) -> None:
    assert source(f"#include <a>\n{hostile}") in {None, f"#include <a>\n{hostile}", "#include <a>\n" + hostile[:8]}


@given(st.text(alphabet="`~#include <>main(){}\n\"'/*\\ \t\r", max_size=200))
def test_any_text_gives_a_program_or_none(text: str) -> None:
    found = extract_cpp(text)

    assert found is None or found.source.strip()
