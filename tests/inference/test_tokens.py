from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.reference_engine import tokens


@pytest.mark.parametrize(("text", "count"), [("", 0), ("abcd", 1), ("abcde", 2), ("é", 1), ("日本", 2)])
def test_a_token_is_four_utf8_bytes_rounded_up(text: str, count: int) -> None:
    assert tokens.count(text) == count


def test_a_message_costs_four_tokens_more_than_its_text() -> None:
    assert tokens.count_messages(["abcd", "abcde"]) == 1 + 4 + 2 + 4


@given(st.text())
def test_encoding_gives_as_many_tokens_as_are_counted_and_decodes_to_the_same_text(text: str) -> None:
    encoded = tokens.encode(text)

    assert len(encoded) == tokens.count(text)
    assert tokens.decode(encoded) == text


@given(st.lists(st.text(), max_size=5))
def test_a_conversation_is_encoded_to_as_many_tokens_as_are_counted(texts: list[str]) -> None:
    assert len(tokens.encode_messages(texts)) == tokens.count_messages(texts)


@given(st.text(), st.integers(1, 5))
def test_pieces_join_to_the_text_and_none_is_too_long(text: str, size: int) -> None:
    pieces = tokens.pieces(text, tokens=size)

    assert "".join(pieces) == text
    assert all(1 <= tokens.count(piece) <= size for piece in pieces)


@given(st.text(), st.integers(0, 20))
def test_a_cut_is_a_beginning_of_the_text_within_the_limit(text: str, most: int) -> None:
    cut = tokens.cut(text, most)

    assert text.startswith(cut)
    assert tokens.count(cut) <= most


@pytest.mark.parametrize("token", [1 << 40, -1, 7])
def test_an_unknown_token_cannot_be_decoded(token: int) -> None:
    with pytest.raises(ValueError, match="is no token"):
        tokens.decode([token])
