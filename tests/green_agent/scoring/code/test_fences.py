"""Fenced blocks and reasoning blocks, without any language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.scoring.code.fences import Block, blocks, without_reasoning


def whole(_: str) -> bool:
    return True


def test_blocks_come_in_order_with_their_language() -> None:
    found = blocks("a\n```CPP title=x\nint x;\n```\nb\n```\ny\n```", is_whole=whole)

    assert found == [Block(language="cpp", text="int x;"), Block(language="", text="y")]


def test_a_fence_closes_only_with_its_own_kind_and_length() -> None:
    found = blocks("````\n```\n~~~~\nx\n`````\ny", is_whole=whole)

    assert found == [Block(language="", text="```\n~~~~\nx")]


def test_code_in_a_line_is_no_fence() -> None:
    assert blocks("```x``` and more\n", is_whole=whole) == []


def test_a_blank_block_is_left_out() -> None:
    assert blocks("```\n\n```\n", is_whole=whole) == []


def test_the_indentation_of_a_fence_is_taken_from_its_lines() -> None:
    found = blocks("  ```\n    x\n y\n\n  ```", is_whole=whole)

    assert found == [Block(language="", text="  x\ny\n")]


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("<think>a</think>b", "b"),
        ("a\n<thinking>b</thinking>\nc", "a\n\nc"),
        ("a</think>b", "b"),
        ("a\n<think>b", "a\n"),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("say `<think>` twice", "say `<think>` twice"),
        ("<THINK>a</Think>b", "b"),
        ("<thinker>a</thinker>", "<thinker>a</thinker>"),
    ],
)
def test_reasoning_is_dropped(reply: str, rest: str) -> None:
    assert without_reasoning(reply) == rest


@given(st.text())
def test_text_without_tags_is_kept_as_it_is(text: str) -> None:
    assert without_reasoning(text.replace("<", "")) == text.replace("<", "")


@given(st.lists(st.text(alphabet="ab \n", min_size=1).filter(str.strip), max_size=5))
def test_what_is_fenced_is_found(texts: list[str]) -> None:
    markdown = "\n".join(f"```\n{text}\n```" for text in texts)

    assert [block.text for block in blocks(markdown, is_whole=whole)] == texts
