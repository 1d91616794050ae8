"""The published files of IMO-Bench, where they are here, and small files in their schema."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pytest

from tests.support.peer_files import MIRROR

HEADER: Final = ("Problem ID", "Problem", "Short Answer", "Category", "Subcategory", "Source")
FILES: Final = MIRROR / "imobench"

needs_answers = pytest.mark.skipif(
    not (FILES / "answerbench_v2.csv").exists(), reason="no imobench/answerbench_v2.csv in the folder ASSAY_DATA_FROM"
)

PROSE: Final = frozenset(
    f"imo-bench-{category}-{number:03}"
    for category, numbers in {
        "algebra": (29, 31, 34, 38, 41, 51, 69, 91, 97, 98, 99),
        "combinatorics": (59, 64),
        "geometry": (78,),
        "number_theory": (7, 9, 14, 33, 34, 37, 53, 54, 61, 69, 79, 81),
    }.items()
    for number in numbers
)
"""The 26 golds that are prose, as the specification counts them."""


def written(folder: Path, rows: Iterable[Sequence[str]]) -> Path:
    """A file of these rows under the published header."""
    path = folder / "answers.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path
