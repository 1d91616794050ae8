"""ProofBench: sixty problems with complete proofs as answers, graded 0 to 7 by a judge with the problem's guidelines.

Source: code-and-math specification 8; docs/benchmarks/imobench.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.contract.conversation import Transcript
from services.contract.outcomes import Failure, Outcome
from services.contract.results import SubScore
from services.green_agent.benchmarks.base import DatasetError, Score, ScoringTools, Task, digest
from services.green_agent.data.loading import content_sha256
from services.green_agent.data.rows import read_csv
from services.green_agent.data.store import DataError, Located, Store
from services.green_agent.scoring.code.fences import without_reasoning
from services.green_agent.scoring.math import rubric
from services.green_agent.scoring.math.rubric import Exam, Grading, Permitted
from services.green_agent.scoring.ruling import unjudged

DATA: Final = "imobench"
MEMBER: Final = "proofbench_v2.csv"
GROUPS: Final = ("basic", "advanced")
"""Strata, and names of the sub-scores: points earned of those possible."""
PREFIXES: Final = {"PB-Basic-": "basic", "PB-Advanced-": "advanced"}
TASKS: Final = 60
CONTENT_SHA256: Final = "e84a2d017a27e9030b7d561d2cd265c79f7ec5650248100d3abc03231645dedc"
"""Of the published rows, whatever file format they come in."""

QUESTION: Final = """\
Solve the following problem and write a complete proof. Justify every step that is not obvious, treat all cases, and state the \
result you have proved.

{problem}
"""


class ProofRow(BaseModel):
    """One published row; further columns count for the digest alone."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    id: str = Field(alias="Problem ID", pattern=r"^PB-(Basic|Advanced)-\d+$")
    problem: str = Field(alias="Problem", min_length=1)
    solution: str = Field(alias="Solution", min_length=1)
    guidelines: str = Field(alias="Grading guidelines", min_length=1)
    category: str = Field(alias="Category", min_length=1)
    level: Literal["pre-IMO", "IMO-easy", "IMO-medium", "IMO-hard"] = Field(alias="Level")
    source: str = Field(alias="Source")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProofTask(Task):
    """One problem to prove. The stratum is its group, basic or advanced."""

    exam: Exam
    category: str
    level: str


def proof_tasks(store: Store, permitted: Permitted) -> tuple[Located, tuple[ProofTask, ...]]:
    """Where ProofBench was found, and its sixty problems in published order. Raises DatasetError."""
    try:
        located = store.member(DATA, MEMBER)
        rows = proof_rows(located.path)
    except DataError as error:
        raise DatasetError(f"{DATA}: {error}") from error
    if len(rows) != TASKS:
        raise DatasetError(f"{DATA}: {MEMBER} has {len(rows)} rows, expected {TASKS}")
    got = content_sha256([row.model_dump(by_alias=True) for row in rows], id_field="Problem ID")
    if got != CONTENT_SHA256:
        raise DatasetError(f"{DATA}: {MEMBER}: sha256 of the rows is {got}, expected {CONTENT_SHA256}")
    return located, tuple(task_of(row, permitted) for row in rows)


def proof_rows(path: Path) -> Sequence[ProofRow]:
    """The rows of a file of ProofBench. Raises DataError, also for an id that stands twice."""
    rows: dict[str, ProofRow] = {}
    for read in read_csv(path):
        try:
            row = ProofRow.model_validate(read.values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
            raise DataError(f"{path.name} row {read.number}: {told}") from None
        if row.id in rows:
            raise DataError(f"{path.name} row {read.number}: {row.id} stands twice")
        rows[row.id] = row
    return tuple(rows.values())


def possible(task: ProofTask) -> dict[str, float]:
    """Points of a task, by its group."""
    return {task.stratum: float(rubric.POINTS)}


async def score_proof(
    task: ProofTask, transcript: Transcript, tools: ScoringTools, *, permitted: Permitted, repeats: int
) -> Score:
    """Have the proof graded. Raises Failure without a judge, without a proof, or without a valid verdict."""
    proof = without_reasoning(transcript.answer).strip()
    if not proof:
        raise Failure(Outcome.AGENT_ERROR, "empty", "the reply holds no proof")
    if tools.judge is None:
        raise unjudged(DATA)
    grading = await rubric.grade(tools.judge, task.exam, proof, permitted=permitted, repeats=repeats)
    return _score(task, proof, grading, scored_by=tools.judge.name)


def _score(task: ProofTask, proof: str, grading: Grading, *, scored_by: str) -> Score:
    return Score(
        score=grading.mean / rubric.POINTS,
        passed=grading.mean == rubric.POINTS,
        scored_by=scored_by,
        answer=proof,
        explanation="\n".join(
            f"{points:g} of {rubric.POINTS}: {reason}".removesuffix(": ")
            for points, reason in zip(grading.points, grading.reasons, strict=True)
        ),
        metrics={
            "points": grading.mean,
            "points_spread": grading.spread,
            "level": task.level,
            "category": task.category,
            "injection_suspected": grading.injection_suspected,
        },
        sub_scores={task.stratum: SubScore(earned=grading.mean, possible=float(rubric.POINTS))},
        details={"subset": "proof", "points_by_round": list(grading.points)},
    )


def task_of(row: ProofRow, permitted: Permitted) -> ProofTask:
    """The task of a row; its digest follows from all that the judge is told."""
    exam = Exam(problem=row.problem.strip(), solution=row.solution.strip(), guidelines=row.guidelines.strip())
    prompt = QUESTION.format(problem=exam.problem)
    return ProofTask(
        id=row.id,
        stratum=next(group for prefix, group in PREFIXES.items() if row.id.startswith(prefix)),
        prompt=prompt,
        digest=digest(prompt, row.model_dump(by_alias=True), rubric.calibration_of(permitted)),
        expected=f"a complete proof, graded by its guidelines: {rubric.POINTS} points",
        exam=exam,
        category=row.category,
        level=row.level,
    )
