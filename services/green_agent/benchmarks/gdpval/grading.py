"""From verdicts to scores: four scales of 25 points, or two comparisons with positions swapped. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from services.contract.documents import Document
from services.contract.results import SubScore
from services.green_agent.benchmarks.base import Score
from services.green_agent.benchmarks.gdpval.materials import GDPvalTask
from services.green_agent.judge.asking import Case, Material, Preference, Scale, ScalesVerdict

PASS_MARK: Final = 0.7
POINTS: Final = 25
"""Of each scale; the four make a hundred."""
WIN_RATE: Final = "win_rate"
FLIP_RATE: Final = "position_flip_rate"

SCALES: Final = (
    Scale(
        name="completion",
        lowest=0,
        highest=POINTS,
        anchors="0-5: most of what was asked is missing; 6-12: about half is there; 13-18: all main parts, some thin or "
        "missing in detail; 19-25: everything that was asked is delivered",
    ),
    Scale(
        name="accuracy",
        lowest=0,
        highest=POINTS,
        anchors="0-5: wrong or invented in what matters; 6-12: several material errors against the task and its files; "
        "13-18: sound with minor errors; 19-25: figures, facts and reasoning agree with the task and its files",
    ),
    Scale(
        name="format",
        lowest=0,
        highest=POINTS,
        anchors="0-5: not the kind of document that was asked for; 6-12: hard to use without rework; 13-18: usable, "
        "structure or layout could be better; 19-25: the form that was asked for, ready to use",
    ),
    Scale(
        name="professionalism",
        lowest=0,
        highest=POINTS,
        anchors="0-5: could not be shown to a client or a superior; 6-12: needs heavy editing; 13-18: acceptable in tone "
        "and judgement; 19-25: what an experienced person of this occupation would sign",
    ),
)
SCALE_NAMES: Final = tuple(scale.name for scale in SCALES)

RUBRIC: Final = (
    "Rate the deliverable that a person of the named occupation was asked for. Judge what is there, not what it claims: "
    "length, padding, repetition, headings and bullet points earn nothing by themselves, and a description of a deliverable "
    "is not the deliverable. Quote the place that decided each scale. Files marked as not read count as not delivered."
)
PAIRWISE: Final = (
    "Two people of the named occupation delivered the work that was asked for. Decide which deliverable is better for the "
    "person who asked: complete, accurate against the task and its files, in the form asked for, professional. Length earns "
    "nothing by itself. Say tie when neither is clearly better."
)
Side = Literal["better", "tie", "worse"]


def rubric_case(task: GDPvalTask, documents: Sequence[Document], answer: str) -> Case:
    """What the judge rates."""
    return Case(
        instructions=RUBRIC,
        materials=(*_setting(task, documents), Material(name="answer", text=answer, role="answer")),
    )


def pairwise_case(task: GDPvalTask, documents: Sequence[Document]) -> Case:
    """What the judge compares two answers for."""
    return Case(instructions=PAIRWISE, materials=_setting(task, documents))


def rated(task: GDPvalTask, verdict: ScalesVerdict, judge: str) -> Score:
    """A hundred points, of which the score is the share."""
    points = {name: float(verdict.scores[name]) for name in SCALE_NAMES}
    score = sum(points.values()) / (POINTS * len(points))
    reasons = [f"{name} {points[name]:g}/{POINTS}: {verdict.reasons.get(name, '')}".strip(": ") for name in points]
    return Score(
        score=score,
        passed=score >= PASS_MARK,
        scored_by=judge,
        explanation="\n".join(reasons),
        metrics={
            **points,
            "reference_files": len(task.references),
            "injection_suspected": verdict.injection_suspected,
        },
        # Out of the task's hundred points, so that a section shows the mean of each scale in its own 25.
        sub_scores={name: SubScore(earned=value, possible=4.0 * POINTS) for name, value in points.items()},
        details={"mode": "rubric", "sector": task.sector, "occupation": task.occupation, **points},
    )


def compared(task: GDPvalTask, plain: Preference, swapped: Preference, judge: str) -> Score:
    """A win is 1, a tie a half. `plain` saw the answer first, `swapped` second; where they disagree it is a tie."""
    sides = (_side(plain, answer_is="first"), _side(swapped, answer_is="second"))
    flipped = sides[0] != sides[1]
    side: Side = "tie" if flipped else sides[0]
    score = {"better": 1.0, "tie": 0.5, "worse": 0.0}[side]
    return Score(
        score=score,
        passed=score >= PASS_MARK,
        scored_by=judge,
        explanation=f"answer first: {sides[0]}. {plain.reason}\nanswer second: {sides[1]}. {swapped.reason}",
        metrics={
            "position_flip": flipped,
            "reference_files": len(task.references),
            "injection_suspected": plain.injection_suspected or swapped.injection_suspected,
        },
        sub_scores={
            WIN_RATE: SubScore(earned=score, possible=1.0),
            FLIP_RATE: SubScore(earned=float(flipped), possible=1.0),
        },
        details={
            "mode": "pairwise",
            "sector": task.sector,
            "occupation": task.occupation,
            "verdict": side,
            "verdicts": list(sides),
        },
    )


def _side(preference: Preference, *, answer_is: Literal["first", "second"]) -> Side:
    if preference.verdict == "tie":
        return "tie"
    return "better" if preference.verdict == answer_is else "worse"


def _setting(task: GDPvalTask, documents: Sequence[Document]) -> tuple[Material, ...]:
    asked = f"Occupation: {task.occupation}\nSector: {task.sector}\n\n{task.request}"
    files = (
        Material(
            name=f"reference {number}",
            text=f"{document.name} ({document.kind}; {document.words})\n{document.text}",
            role="reference",
        )
        for number, document in enumerate(documents, 1)
    )
    return (Material(name="question", text=asked, role="question"), *files)
