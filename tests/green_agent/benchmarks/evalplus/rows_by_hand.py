"""Rows in the published format, written for tests. Numbers of tasks are those whose rules are tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

MEAN: Final = "def mean(values):\n    return sum(values) / len(values)\n"


def row(
    number: int, *, name: str, code: str, base: list[Any], plus: Any, asserts: list[str], **fields: Any
) -> dict[str, Any]:
    """A row of MBPP+."""
    return {
        "task_id": f"Mbpp/{number}",
        "prompt": f'"""\nWrite a function for task {number}.\n{asserts[0]}\n"""\n',
        "entry_point": name,
        "canonical_solution": f"\n{code}",
        "base_input": base,
        "plus_input": plus,
        "atol": 0,
        "contract": "",
        "assertion": "\n" + "\n".join(asserts) + "\n",
    } | fields


ROWS: Final = {
    "mean": row(
        3,
        name="mean",
        code=MEAN,
        base=[[[1, 2]], [[4]]],
        plus=[[[0.1, 0.2, 0.3]], [[1e9, 5]], [[]]],
        asserts=["assert mean([1, 2]) == 1.5", "assert mean([4]) == 4"],
    ),
    "shared": row(
        2,
        name="shared",
        code="def shared(a, b):\n    return tuple(x for x in a if x in b)\n",
        base=[[[3, 4, 5], [5, 4]]],
        plus=[[[1, 2], []]],
        asserts=["assert set(shared((3, 4, 5), (5, 4))) == {4, 5}"],
    ),
    "polar": row(
        252,
        name="size",
        code="def size(number):\n    return abs(number)\n",
        base=[[1]],
        plus=[["(3+4j)"], ["1j"]],
        asserts=["assert size(1) == 1"],
    ),
    "anything": row(
        164,
        name="are_equivalent",
        code="def are_equivalent(a, b):\n    return a == b\n",
        base=[[36, 57]],
        plus=[],
        asserts=["assert are_equivalent(36, 57) == False"],
    ),
    "no plus": row(
        793,
        name="last",
        code="def last(values):\n    return values[-1]\n",
        base=[[[1, 2]]],
        plus={},
        asserts=["assert last([1, 2]) == 2"],
    ),
    "matching": row(
        756,
        name="text_starta_endb",
        code="import re\ndef text_starta_endb(text):\n    return re.fullmatch('a.*b', text)\n",
        base=[["ab"]],
        plus=[["ba"], ["acb"]],
        asserts=["assert text_starta_endb('ab')"],
    ),
    "extreme": row(
        255,
        name="repeat",
        code="def repeat(n):\n    return ['x'] * n if n < 3000 else [float('nan')] if n == 3000 else (i for i in range(n))\n",
        base=[[1]],
        plus=[[2], [3000], [3001]],
        asserts=["assert repeat(1) == ['x']"],
    ),
}


def written(folder: Path, *names: str) -> Path:
    """A file with some of the rows."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(ROWS[name]) + "\n" for name in names))
    return path
