"""The part of an answer that no number decides: a judge checks the rubric's components against the item's truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.contract.conversation import Transcript
from services.contract.outcomes import Failure, Outcome
from services.green_agent.benchmarks.options.task import Criterion, OptionsTask
from services.green_agent.judge.asking import Case, Judge, Material
from services.green_agent.scoring.numbers import without_thoughts

INSTRUCTIONS: Final = """\
The answer replies to a question about options trading. The truth holds what is known to be right. Decide each criterion on its
own. It is met only when the answer states what the criterion asks for, correctly and about this question. Other words and other
sound reasoning count as much as those of the truth; a statement that contradicts the truth does not count. Terms that are
merely listed, length, style and confidence earn nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the judge decided, criterion by criterion."""

    criteria: Sequence[Criterion]
    met: Sequence[bool]
    reasons: Sequence[str]
    judge: str
    """Name of the judge."""
    injection_suspected: bool

    @property
    def share(self) -> float:
        """Weight of the criteria met, 0..1."""
        return min(sum(one.weight for one, met in zip(self.criteria, self.met, strict=True) if met), 1.0)

    def explain(self) -> str:
        """One line a criterion."""
        lines = zip(self.criteria, self.met, self.reasons, strict=True)
        return "\n".join(f"{one.text}: {'met' if met else 'not met'}: {reason}" for one, met, reason in lines)


async def judged(task: OptionsTask, transcript: Transcript, judge: Judge | None) -> Verdict:
    """Have the criteria of a task judged. Raises Failure(judge_error), also without a judge: nothing is guessed."""
    if judge is None:
        raise Failure(Outcome.JUDGE_ERROR, "no_judge", f"{task.id} has a qualitative part and there is no judge")
    replies = [without_thoughts(turn.reply.text) for turn in transcript.turns if turn.reply is not None]
    answer = "\n\n".join(dict.fromkeys(replies))
    case = Case(
        instructions=INSTRUCTIONS,
        materials=(
            Material(name="question", text=task.question, role="question"),
            Material(name="truth", text=task.truth, role="reference"),
            Material(name="answer", text=answer, role="answer"),
        ),
    )
    verdict = await judge.criteria(case, [one.text for one in task.criteria])
    return Verdict(
        criteria=task.criteria,
        met=verdict.met,
        reasons=verdict.reasons,
        judge=judge.name,
        injection_suspected=verdict.injection_suspected,
    )
