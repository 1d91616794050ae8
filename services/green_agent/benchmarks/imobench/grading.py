"""GradingBench: answers to problems with the points that people gave them. It measures a judge, not an agent.

Source: code-and-math specification 8; docs/guides/judging.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.contract.seeds import rank
from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.imobench.proofs import DATA, proof_tasks
from services.green_agent.data.rows import read_csv
from services.green_agent.data.store import DataError, Store
from services.green_agent.judge.labels import Grade, GradedSet, Label, LabelsError
from services.green_agent.scoring.math import rubric
from services.green_agent.scoring.math.rubric import Permitted

MEMBER: Final = "gradingbench.csv"
GRADES: Final = tuple(Grade(name=name, lowest=lowest, highest=highest) for name, lowest, highest in rubric.GRADES)
PUBLISHED: Final = 1000
"""Rows."""
MISMATCHES_TOLD: Final = 20
NO_BENCHMARK: Final = (
    "subset grading measures a judge and asks an agent nothing: run `assay judge calibrate --benchmark imobench_grading`; "
    "subsets of an agent are answer and proof"
)


def _points(value: object) -> object:
    """CSV holds text, and some exports write 7.0 for 7."""
    return value.strip().removesuffix(".0") if isinstance(value, str) else value


class GradingRow(BaseModel):
    """One published row."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    id: str = Field(alias="Grading ID", min_length=1)
    problem_id: str = Field(alias="Problem ID", min_length=1)
    problem: str = Field(alias="Problem", min_length=1)
    solution: str = Field(alias="Solution", min_length=1)
    guidelines: str = Field(alias="Grading guidelines")
    response: str = Field(alias="Response")
    points: Annotated[int, BeforeValidator(_points)] = Field(alias="Points", ge=0, le=rubric.POINTS)
    reward: str = Field(alias="Reward")
    source: str = Field(alias="Problem Source")


def by_points(*, limit: int | None, disjoint: bool, store: Store | None = None) -> GradedSet:
    """The set as ProofBench is graded by default. Raises LabelsError."""
    return graded_set(store or Store(), "points", limit=limit, disjoint=disjoint)


def by_levels(*, limit: int | None, disjoint: bool, store: Store | None = None) -> GradedSet:
    """The set as it is graded with `scale: levels`. Raises LabelsError."""
    return graded_set(store or Store(), "levels", limit=limit, disjoint=disjoint)


def graded_set(store: Store, permitted: Permitted, *, limit: int | None, disjoint: bool) -> GradedSet:
    """People's points as labels. `limit`: so many, drawn by seed; `disjoint`: without problems of ProofBench.

    Raises LabelsError when the data are not here or not what they should be, or when nothing is left.
    """
    try:
        located = store.member(DATA, MEMBER)
        rows = grading_rows(located.path)
        tasks = proof_tasks(store, permitted)[1] if disjoint else ()
    except (DataError, DatasetError) as error:
        raise LabelsError(str(error)) from None
    examined = {task.id for task in tasks} | {_plain(task.exam.problem) for task in tasks}
    kept = [row for row in rows if row.problem_id not in examined and _plain(row.problem) not in examined]
    if not kept:
        raise LabelsError(f"{MEMBER}: no row is left without the problems of ProofBench")
    drawn = sorted(kept, key=lambda row: rank(0, "calibration", row.id))[:limit] if limit is not None else kept
    other_size = [f"{len(rows)} rows, published were {PUBLISHED}"] if len(rows) != PUBLISHED else []
    left_out = [f"{len(rows) - len(kept)} rows of problems of ProofBench left out"] if disjoint else []
    return GradedSet(
        name=rubric.calibration_of(permitted),
        labels=tuple(_label(row, permitted) for row in drawn),
        grades=GRADES,
        origin=located.origin,
        noticed=(*other_size, *left_out, *_mismatches(drawn)),
    )


def grading_rows(path: Path) -> Sequence[GradingRow]:
    """The rows of a file of GradingBench. Raises DataError, also for an id that stands twice."""
    rows = []
    for read in read_csv(path):
        try:
            rows.append(GradingRow.model_validate(read.values))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DataError(f"{path.name} row {read.number}: {told}") from None
    twice = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise DataError(f"{path.name}: {twice[0]} stands twice")
    return rows


def _mismatches(rows: Sequence[GradingRow]) -> list[str]:
    """Rows whose points and reward say different things; the points count."""
    found = [
        f"{row.id}: {row.points} points are {grade}, the column Reward says {row.reward!r}"
        for row in rows
        if (grade := _grade(row.points)) not in row.reward.casefold().split()[:1]
    ]
    more = [f"and {len(found) - MISMATCHES_TOLD} more of these"] if len(found) > MISMATCHES_TOLD else []
    return [*found[:MISMATCHES_TOLD], *more]


def _grade(points: int) -> str:
    return next(grade.name for grade in GRADES if grade.lowest <= points <= grade.highest)


def _label(row: GradingRow, permitted: Permitted) -> Label:
    scale = rubric.scale_of(permitted)
    return Label(
        task_id=row.problem_id,
        criterion_id=scale.name,
        answer=row.response,
        score=row.points,
        criterion=scale.anchors,
        lowest=scale.lowest,
        highest=scale.highest,
        permitted=scale.permitted,
        reason_chars=scale.reason_chars,
        question=row.problem.strip(),
        references=(row.solution.strip(),),
        instructions=rubric.instructions_of(row.guidelines),
    )


def _plain(problem: str) -> str:
    return " ".join(problem.split())
