"""Texts set aside on disk."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from services.green_agent.data.shelf import Shelf


@given(texts=st.lists(st.text(max_size=300), max_size=10))
def test_what_was_put_comes_back(texts: list[str]) -> None:
    shelf = Shelf()

    kept = [shelf.put(text) for text in texts]

    assert [shelf.get(place) for place in reversed(kept)] == texts[::-1]


def test_a_text_with_half_a_surrogate_comes_back() -> None:
    shelf = Shelf()

    assert shelf.get(shelf.put("\ud800")) == "\ud800"


def test_threads_do_not_write_over_each_other() -> None:
    shelf = Shelf()
    texts = [f"{number} " * 500 for number in range(200)]

    with ThreadPoolExecutor(8) as threads:
        kept = list(threads.map(shelf.put, texts))
        assert list(threads.map(shelf.get, kept)) == texts


def test_nothing_is_left_when_a_shelf_goes() -> None:
    gc.collect()
    before = shelves_open()
    shelf = Shelf()
    shelf.put("x")
    assert len(shelves_open() - before) == 1

    del shelf
    gc.collect()

    assert shelves_open() <= before


def shelves_open() -> set[str]:
    """Files of shelves that this process holds; none has a name any more."""
    found: set[str] = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the descriptor of the listing itself
            found.add(str(descriptor.readlink()))
    return {target for target in found if "/assay-" in target and target.endswith("(deleted)")}
