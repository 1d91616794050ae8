"""The asserts of MBPP, the next data set of this shape, are taken apart by the same code."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest
from pydantic import JsonValue

from services.green_agent.data.loading import content_sha256
from services.green_agent.scoring.code import programs
from services.green_agent.scoring.code.assertions import NotPairs, take_apart

ROOT = Path(__file__).parents[4]
DATA = Path(os.environ.get("ASSAY_DATA_FROM", ROOT.parent / "shared" / "data")) / "mbpp" / "mbpp.jsonl"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="no mbpp/mbpp.jsonl in the folder ASSAY_DATA_FROM")


def rows() -> list[dict[str, JsonValue]]:
    return [json.loads(line) for line in DATA.read_text().split("\n") if line]


def entry_point(code: str, asserts: list[ast.stmt]) -> str:
    """The function that the reference defines and every assert calls."""
    tree = programs.parse(code)
    defined = {part.name for part in tree.body if isinstance(part, ast.FunctionDef)} if tree else set()
    called = [{node.id for node in ast.walk(part) if isinstance(node, ast.Name)} for part in asserts]
    return next(iter(defined.intersection(*called)), "")


def test_the_content_digest_does_not_depend_on_the_file() -> None:
    assert (
        content_sha256(rows(), id_field="task_id") == "b17a51cff10fa252e70e223f129834a4d84a533952caa5618032d3f4be3e52e6"
    )


def test_all_but_the_five_known_rows_are_pairs() -> None:
    whole: list[JsonValue] = []
    for row in rows():
        assert isinstance(row["test_list"], list)
        asserts = ast.parse("\n".join(map(str, row["test_list"]))).body
        try:
            taken = take_apart(asserts, callee=entry_point(str(row["code"]), asserts))
        except NotPairs:
            whole.append(row["task_id"])
        else:
            assert len(taken.assertions) == 3

    assert whole == [367, 533, 596, 601, 927]
