"""The problems of LiveCodeBench-Pro: one row a problem and split. Splits overlap; a problem counts once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.contract.assessment import nearest
from services.green_agent.data.store import DataError, Located, Store
from services.green_agent.data.streams import parquet_rows

PROBLEMS: Final = "lcb_pro"
"""Name in the registry of data sets."""
ALL: Final = "all"
_SHARD: Final = re.compile(r"(?P<split>[A-Za-z0-9_.-]+?)-[0-9]{5}-of-[0-9]{5}(?:-[0-9a-f]+)?\.parquet")

Difficulty = Literal["easy", "medium", "hard"]
"""By rating: easy to 2000, medium to 3000, hard above."""


class ProblemRow(BaseModel):
    """The columns of a row that are read."""

    model_config = ConfigDict(frozen=True)

    problem_id: Annotated[str, BeforeValidator(str)] = Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")
    """Also names the archive of its tests."""
    problem_title: str
    difficulty: Difficulty
    platform: str
    problem_statement: str = Field(min_length=1)
    link: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A problem, whichever splits it is in."""

    row: ProblemRow
    sha256: str
    splits: tuple[str, ...]
    """Of those that were read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problems:
    """What was read."""

    problems: Sequence[Problem]
    origins: tuple[str, ...]
    verified: bool
    rows: Mapping[str, int]
    """By split."""
    changed: tuple[str, ...]
    """Problems whose rows differ between splits; the first split, by name, counts."""


def read_problems(store: Store, *, split: str) -> Problems:
    """The problems of a split, or of all, in the order of splits and rows. Raises DataError."""
    files = _files(store.members(PROBLEMS, "data/*.parquet"))
    if split != ALL and split not in files:
        raise DataError(f"no split is called {split!r}{nearest(split, [*files, ALL])}; there are {', '.join(files)}")
    kept: dict[str, Problem] = {}
    rows: dict[str, int] = {}
    changed: list[str] = []
    for name in files if split == ALL else [split]:
        found = [problem for file in files[name] for problem in _rows(file, name)]
        rows[name] = len(found)
        for problem in found:
            problem_id = problem.row.problem_id
            first = kept.setdefault(problem_id, problem)
            if first is problem:
                continue
            if first.row != problem.row:
                changed.append(problem_id)
            splits = tuple(dict.fromkeys((*first.splits, name)))
            kept[problem_id] = Problem(row=first.row, sha256=first.sha256, splits=splits)
    return Problems(
        problems=tuple(kept.values()),
        origins=tuple(file.origin for name in rows for file in files[name]),
        verified=all(file.verified for name in rows for file in files[name]),
        rows=rows,
        changed=tuple(dict.fromkeys(changed)),
    )


def _files(found: Sequence[Located]) -> dict[str, list[Located]]:
    """Files by split, splits by name."""
    files: dict[str, list[Located]] = {}
    for file in sorted(found, key=lambda file: file.path.name):
        shard = _SHARD.fullmatch(file.path.name)
        files.setdefault(shard["split"] if shard else file.path.stem, []).append(file)
    return dict(sorted(files.items()))


def _rows(file: Located, split: str) -> list[Problem]:
    columns = tuple(ProblemRow.model_fields)
    found: list[Problem] = []
    for streamed in parquet_rows(file.path, columns):
        try:
            row = ProblemRow.model_validate(streamed.values)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(map(str, fault["loc"]))
            raise DataError(f"{file.path.name} row {streamed.number}: {where}: {fault['msg']}") from None
        found.append(Problem(row=row, sha256=streamed.sha256, splits=(split,)))
    return found
