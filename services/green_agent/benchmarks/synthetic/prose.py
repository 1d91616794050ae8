"""Answers in prose: a judge checks the item's criteria against the reference. It never sees the steps of a calculation."""

from __future__ import annotations

from typing import Final

from services.contract.conversation import Transcript
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.base import Score
from services.green_agent.benchmarks.synthetic.task import SyntheticTask
from services.green_agent.judge.asking import Case, Judge, Material
from services.green_agent.scoring.numbers import without_thoughts

INSTRUCTIONS: Final = """\
The answer replies to a question of financial analysis whose answer is no single number. The reference holds what is known to be
right. Decide each criterion on its own. It is met only when the answer states what the criterion asks for, correctly and about
this question. Other words and other sound reasoning count as much as those of the reference; a statement that contradicts the
reference does not count. Terms that are merely listed, length, style and confidence earn nothing."""


async def score_prose(task: SyntheticTask, transcript: Transcript, judge: Judge | None) -> Score:
    """The weight of the criteria the last reply meets. Raises Failure(judge_error) without a valid verdict."""
    if judge is None:
        raise Failure(Outcome.JUDGE_ERROR, "no_judge", f"{task.id}: an answer in prose can only be judged")
    verdict = await judge.criteria(_case(task, transcript), task.rubric)
    share = sum(weight for weight, met in zip(task.weights, verdict.met, strict=True) if met)
    lines = zip(task.rubric, verdict.met, verdict.reasons, strict=True)
    return Score(
        score=min(share, 1.0),
        passed=all(verdict.met),
        scored_by=judge.name,
        answer=transcript.answer,
        explanation="\n".join(f"{text}: {'met' if met else 'not met'}: {reason}" for text, met, reason in lines),
        metrics={"criteria_met": sum(verdict.met), "criteria": len(verdict.met)},
        details={"injection_suspected": verdict.injection_suspected},
    )


def _case(task: SyntheticTask, transcript: Transcript) -> Case:
    return Case(
        instructions=INSTRUCTIONS,
        materials=(
            Material(name="question", text=task.prompt, role="question"),
            Material(name="reference", text=task.prose_reference, role="reference"),
            Material(name="answer", text=without_thoughts(transcript.answer), role="answer"),
        ),
    )
