"""Who decides on a short answer: the rule, a judge, or nobody (finance specification 3, "Judge")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.contract.outcomes import Failure, Outcome
from services.green_agent.judge.asking import Case, Judge
from services.green_agent.scoring.extract import Kind, Mark

FALLBACK: Final = "rule_fallback"
"""`scored_by` of an answer that the rule decided because the judge failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ruling:
    """The decision and whose it was."""

    score: float
    """0..1."""
    scored_by: str
    reason: str
    injection_suspected: bool = False


def unjudged(benchmark: str) -> Failure:
    """Why a trial that only a judge can score has no score."""
    return Failure(
        Outcome.JUDGE_ERROR,
        "no_judge",
        f"{benchmark}: only a judge can score this answer and the suite has none; enable llm_eval",
    )


async def rule(mark: Mark, *, case: Case, judge: Judge | None, benchmark: str) -> Ruling:
    """Decide on an answer: what the rule settles is final, the rest goes to the judge.

    Without a judge an answer with a rule is wrong and a text is unscored: Failure(judge_error, no_judge). A judge that fails
    raises its Failure, unless it is told to fall back on the rule and there is one.
    """
    if mark.settled:
        return Ruling(score=mark.share, scored_by=f"rule:{mark.zone}", reason=_found(mark))
    if not any(material.text.strip() for material in case.materials if material.role == "answer"):
        return Ruling(score=0.0, scored_by=f"rule:{mark.zone}", reason="the reply holds nothing beside its thoughts")
    if judge is None:
        if mark.kind is Kind.TEXT:
            raise unjudged(benchmark)
        return Ruling(score=0.0, scored_by=f"rule:{mark.zone}", reason=_found(mark))
    try:
        verdict = await judge.correct(case)
    except Failure as failure:
        if judge.fallback != "rule" or mark.kind is Kind.TEXT or failure.outcome is not Outcome.JUDGE_ERROR:
            raise
        return Ruling(score=0.0, scored_by=FALLBACK, reason=f"{_found(mark)}; the judge failed: {failure.kind}")
    return Ruling(
        score=float(verdict.correct),
        scored_by=judge.name,
        reason=verdict.reason,
        injection_suspected=verdict.injection_suspected,
    )


def _found(mark: Mark) -> str:
    if not mark.value:
        return f"no {mark.kind.replace('_', ' ')} could be read"
    verdict = "right" if mark.share == 1 else "wrong" if mark.share == 0 else f"{mark.share:.3g} of it right"
    return f"read {mark.value}{mark.unit and ' ' + mark.unit} from {mark.zone.replace('_', ' ')}: {verdict}"
