"""AnswerBench: 400 olympiad problems with short answers, compared by rule as far as that goes and by a judge beyond.

Source: code-and-math specification 2.1, 3, 4 and 7; docs/benchmarks/imobench.md.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from services.contract.conversation import Transcript
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import DatasetError, Score, ScoringTools, Task, digest
from services.green_agent.benchmarks.imobench.rows import MEMBERS, AnswerRow, Version, answer_rows
from services.green_agent.data.registry import known_issues
from services.green_agent.data.store import DataError, Located, Store
from services.green_agent.scoring.math.equivalence import Question, Ruling, WithoutJudge, decide
from services.green_agent.scoring.math.extraction import extract
from services.green_agent.scoring.math.kinds import is_prose
from services.green_agent.scoring.math.normalise import normalise

DATA: Final = "imobench"
EXTRACTION: Final = "extraction"
"""`scored_by` of a reply without an answer."""
RULES: Final = frozenset({"match", "math_verify", "length"})

QUESTION: Final = """\
Solve the following problem. Write out your reasoning, then end with one last line of the form

Final answer: \\boxed{{...}}

with the complete answer inside the box and nothing else: an exact value rather than a decimal approximation, sets in braces, \
intervals as intervals, several answers separated by commas.

{problem}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerTask(Task):
    """One problem. The stratum is its category."""

    problem: str
    gold: str
    category: str
    subcategory: str
    issues: tuple[str, ...] = ()
    """Kinds of the known faults of the row."""

    @property
    def needs_judge(self) -> bool:
        """True when the gold is prose, which no rule compares."""
        return is_prose(normalise(self.gold))


def answer_tasks(store: Store, *, version: Version) -> tuple[Located, tuple[AnswerTask, ...]]:
    """Where AnswerBench was found, and its problems in published order. Raises DatasetError."""
    try:
        located = store.member(DATA, MEMBERS[version])
        return located, tuple(task_of(row) for row in answer_rows(located.path, version=version))
    except DataError as error:
        raise DatasetError(f"{DATA}: {error}") from error


def task_of(row: AnswerRow) -> AnswerTask:
    """The task of a published row. Raises DataError when the problem shows its answer."""
    problem, gold = row.problem.strip(), row.answer.strip()
    if len(gold) >= _TELLING and gold in problem:
        raise DataError(f"{row.id}: the problem holds its own answer {gold!r}")
    prompt = QUESTION.format(problem=problem)
    return AnswerTask(
        id=row.id,
        stratum=row.category,
        prompt=prompt,
        digest=digest(prompt, row.model_dump(by_alias=True)),
        expected=gold,
        problem=problem,
        gold=gold,
        category=row.category,
        subcategory=row.subcategory.strip(),
        issues=tuple(issue.kind for issue in known_issues(DATA) if row.id in issue.rows),
    )


_TELLING: Final = 20
"""Characters from which on an answer that stands in its problem is no coincidence."""


async def score_answer(
    task: AnswerTask, transcript: Transcript, tools: ScoringTools, *, without_judge: WithoutJudge
) -> Score:
    """1 when the answer equals the gold, else 0. Raises Failure for an empty reply, and when only a judge can tell."""
    reply = transcript.answer
    if not reply.strip():
        raise Failure(Outcome.AGENT_ERROR, "empty", "the reply holds no text")
    answer = await asyncio.to_thread(extract, reply)
    if answer is None:
        return _without_answer(task)
    question = Question(problem=task.problem, gold=task.gold, answer=answer)
    return _score(task, answer, await decide(question, judge=tools.judge, without_judge=without_judge))


def _without_answer(task: AnswerTask) -> Score:
    return Score(
        score=0.0,
        passed=False,
        scored_by=EXTRACTION,
        explanation="neither a box nor a final answer in the reply",
        metrics={"extracted": False, "exact_match": False, "decider": EXTRACTION, **_facts(task)},
    )


def _score(task: AnswerTask, answer: str, ruling: Ruling) -> Score:
    return Score(
        score=float(ruling.equal),
        passed=ruling.equal,
        scored_by=ruling.decider,
        answer=answer,
        explanation=ruling.reason,
        metrics={
            "extracted": True,
            "exact_match": ruling.decider == "match",
            "decider": ruling.decider if ruling.decider in RULES else "judge",
            "injection_suspected": ruling.injection_suspected,
            **_facts(task),
        },
    )


def _facts(task: AnswerTask) -> dict[str, float | int | bool | str | None]:
    return {
        "category": task.category,
        "subcategory": task.subcategory,
        "gold_is_prose": task.needs_judge,
        "known_issues": ",".join(task.issues),
    }
