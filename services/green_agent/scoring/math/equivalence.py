"""Are two answers equal? The first decider that decides wins: normal form, algebra system, judge.

Source: code-and-math specification 7. Nothing an answer says can decide: the rules read it as a formula, and the judge gets it
between fences.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final, Literal

from services.contract.outcomes import Failure, Outcome
from services.green_agent.judge.asking import Case, Judge, Material
from services.green_agent.scoring.math.kinds import comparable, form_of, is_prose, same
from services.green_agent.scoring.math.normalise import Normal, normalise
from services.green_agent.scoring.math.pool import WorkerPool, shared_pool

SCORER_VERSION: Final = "2"
"""Raised with every change of extraction, normal form, gates or comparison that can move a number."""

MATCH: Final = "match"
MATH_VERIFY: Final = "math_verify"
LENGTH: Final = "length"

LONGEST_FORMULA: Final = 2_000
"""Characters up to which an answer is given to the algebra system; golds have at most some hundred."""
LONGEST_ANSWER: Final = 10_000
"""Characters up to which an extracted text is an answer at all; a longer one is different without further ado."""

WithoutJudge = Literal["unscored", "math_verify_only"]

INSTRUCTIONS: Final = (
    "Decide whether the candidate's final answer to a mathematical problem is equivalent to the reference answer. The "
    "reference is right. Equivalent means: the same value, set, function or statement, whatever notation, order of a set, "
    "names of bound variables or wording. An answer that is only partly the same, adds or omits a case, gives several "
    "alternatives, restates the problem or depends on what is not said is not equivalent. There is no partial credit. Do "
    "not solve the problem again, and judge nothing but the final answer."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """The decision and whose it was."""

    equal: bool
    decider: str
    """`match`, `math_verify`, `length` or the judge's name."""
    reason: str
    injection_suspected: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """Two answers to one problem."""

    problem: str
    gold: str
    answer: str


def matches(gold: str, answer: str) -> bool:
    """Step 1: equal after normalising."""
    return len(answer) <= LONGEST_ANSWER and same(normalise(gold), normalise(answer))


async def decide(
    question: Question,
    *,
    judge: Judge | None,
    without_judge: WithoutJudge = "unscored",
    pool: WorkerPool | None = None,
) -> Ruling:
    """Whether gold and answer are equal. Raises Failure(judge_error) when only a judge can tell and none does."""
    if len(question.answer) > LONGEST_ANSWER:
        return Ruling(equal=False, decider=LENGTH, reason=f"more than {LONGEST_ANSWER} characters are no answer")
    read = await asyncio.to_thread(_read, question)
    if read.same:
        return Ruling(equal=True, decider=MATCH, reason="equal after normalising")
    barrier = read.barrier
    if not barrier:
        verdict = await (pool or shared_pool()).compare(question.gold, question.answer)
        if verdict != "undecided":
            return Ruling(equal=verdict == "equal", decider=MATH_VERIFY, reason=f"compared by rule: {verdict}")
        barrier = "the comparison by rule did not decide"
    if judge is None:
        return _unjudged(prose=read.prose, barrier=barrier, without_judge=without_judge)
    return await _judged(question, judge, barrier=barrier)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Read:
    """What the first two steps found."""

    same: bool
    prose: bool
    barrier: str
    """Why the algebra system is not asked; empty when it is."""


def _read(question: Question) -> _Read:
    gold, answer = normalise(question.gold), normalise(question.answer)
    return _Read(same=same(gold, answer), prose=is_prose(gold) or is_prose(answer), barrier=_barrier(gold, answer))


def _barrier(gold: Normal, answer: Normal) -> str:
    if is_prose(gold) or is_prose(answer):
        return "words speak in an answer"
    if max(len(gold.formula), len(answer.formula)) > LONGEST_FORMULA:
        return "the answer is too long for a comparison by rule"
    left, right = form_of(gold).kind, form_of(answer).kind
    return "" if comparable(left, right) else f"{left} against {right}"


def _unjudged(*, prose: bool, barrier: str, without_judge: WithoutJudge) -> Ruling:
    if without_judge == "unscored" or prose:
        raise Failure(
            Outcome.JUDGE_ERROR,
            "no_judge",
            f"{barrier}: only a judge can tell whether the answer is right and the suite has none; enable llm_eval",
        )
    return Ruling(equal=False, decider=MATH_VERIFY, reason=f"not shown equal by rule, and there is no judge: {barrier}")


async def _judged(question: Question, judge: Judge, *, barrier: str) -> Ruling:
    case = Case(
        instructions=INSTRUCTIONS,
        materials=(
            Material(name="problem", text=question.problem, role="question"),
            Material(name="reference answer", text=question.gold, role="reference"),
            Material(name="candidate's final answer", text=question.answer, role="answer"),
        ),
    )
    verdict = await judge.correct(case)
    return Ruling(
        equal=verdict.correct,
        decider=judge.name,
        reason="; ".join(filter(None, [barrier, verdict.reason])),
        injection_suspected=verdict.injection_suspected,
    )
