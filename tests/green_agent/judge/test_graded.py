"""A judge measured with people's points: figures, failures, the record, what reports say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from services.green_agent.judge.calibration import Judged
from services.green_agent.judge.graded import graded_figures, measure
from services.green_agent.judge.labels import Grade, GradedSet, Label
from services.green_agent.judge.records import calibration_in, keep_calibration
from tests.green_agent.judge.bench import TRIAL, case, inside, opened, served

GRADES = tuple(
    Grade(name=name, lowest=lowest, highest=highest)
    for name, lowest, highest in (("incorrect", 0, 0), ("partial", 1, 5), ("almost", 6, 6), ("correct", 7, 7))
)
PEOPLE, JUDGE = (7, 0, 6, 1, 7, 3), (7, 1, 6, 0, 5, 3)


def label(number: int, score: int, answer: str = "") -> Label:
    return Label(
        task_id=f"p{number}",
        criterion_id="points",
        answer=answer or f"proof {number}",
        score=score,
        criterion="7 is correct",
        lowest=0,
        highest=7,
    )


def graded_set(*labels: Label) -> GradedSet:
    return GradedSet(name="grading@1", labels=labels, grades=GRADES, origin="here")


def says(prompt: str) -> str:
    """The points of the vector, by the number in the answer; prose for an answer without one."""
    number = inside(prompt, "answer").removeprefix("proof ")
    if not number.isdigit():
        return "hard to say"
    return json.dumps({"scores": {"points": JUDGE[int(number)]}, "reasons": {"points": ""}})


def test_figures_of_the_vector_of_the_specification() -> None:
    labels = [label(number, score) for number, score in enumerate(PEOPLE)]
    judged = [Judged(label=one, said=float(said)) for one, said in zip(labels, JUDGE, strict=True)]

    found = graded_figures(judged, graded_set(*labels))

    assert (found.labels, found.judged) == (6, 6)
    values = [found.accuracy, found.exact, found.mean_absolute_error, found.bias, found.kappa]
    assert [one.value for one in values] == pytest.approx([0.5, 0.5, 0.666667, -0.333333, 0.931818], abs=1e-6)
    assert all(one.low is not None and one.high is not None for one in values)


@pytest.mark.parametrize(("value", "name"), [(0, "incorrect"), (0.5, "incorrect"), (5, "partial"), (6.5, "almost")])
def test_half_a_point_of_a_panel_counts_for_the_lower_grade(value: float, name: str) -> None:
    assert graded_set(label(0, 7)).grade(value) == name


async def test_each_answer_is_asked_once_over_http_and_progress_is_told() -> None:
    labels = [label(number, score) for number, score in enumerate(PEOPLE)]
    heard: list[int] = []
    async with served(says) as server, opened(server.url) as panel:
        found = await measure(panel, graded_set(*labels), told=heard.append)

    assert found.graded is not None
    assert found.graded.kappa.value == pytest.approx(0.931818, abs=1e-6)
    assert found.graded.confusion["correct"]["partial"].value == 0.5
    assert found.graded.counts["incorrect"] == {"incorrect": 0, "partial": 1, "almost": 0, "correct": 0}
    assert sorted(heard) == [1, 2, 3, 4, 5, 6]
    assert len(server.seen) == 1 + 6
    assert found.headline.startswith("judge: on grading@1 kappa 0.93 [")


async def test_answers_without_a_verdict_are_counted_and_not_guessed() -> None:
    labels = [label(0, 7), label(2, 6), label(3, 1, "no number")]
    async with served(says) as server, opened(server.url) as panel:
        found = await measure(panel, graded_set(*labels), told=lambda _: None)

    assert found.failed == {"not_json": 1}
    assert found.graded is not None
    assert (found.graded.labels, found.graded.judged, found.graded.exact.value) == (3, 2, 1.0)
    assert found.headline.startswith("judge: on grading@1 kappa 1.00, 2 answers, 1 without a verdict")


async def test_a_judge_that_never_gives_a_verdict_has_no_figures() -> None:
    async with served(lambda _: "POINTS: 7") as server, opened(server.url) as panel:
        found = await measure(panel, graded_set(label(0, 7)), told=lambda _: None)

    assert (found.graded, found.judged, found.kappa, found.failed) == (None, 0, None, {"not_json": 1})


async def test_a_report_says_how_the_judge_is_calibrated_on_what_it_was_asked(tmp_path: Path) -> None:
    """Each data set has a record of its own beside that of a user's labels; what was not asked is not told."""
    proof = replace(case("proof 0"), calibration="grading@1")
    scale = label(0, 7).scale
    labels = [label(number, score) for number, score in enumerate(PEOPLE)]
    async with served(says) as server, opened(server.url, folder=tmp_path) as panel:
        silent = panel.description()["headline"]
        await panel.for_trial(TRIAL, []).scales(proof, [scale])
        before = panel.description()
        record = await measure(panel, graded_set(*labels), told=lambda _: None)
        keep_calibration(tmp_path, record)
    async with served(says) as server, opened(server.url, folder=tmp_path) as panel:
        untouched = panel.description()
        await panel.for_trial(TRIAL, []).scales(proof, [scale])
        after = panel.description()
        await panel.for_trial(TRIAL, []).scales(replace(proof, calibration="other@2"), [scale])
        partly = panel.description()

    assert silent == untouched["headline"] == "judge: uncalibrated"
    assert (before["headline"], before["kappa"]) == ("judge: not calibrated on grading@1", None)
    assert before["calibrations"] == {"grading@1": None}
    assert str(after["headline"]).startswith("judge: on grading@1 kappa 0.93 [")
    assert after["kappa"] == pytest.approx(0.931818, abs=1e-6)
    assert after["calibrations"] == {"grading@1": record.model_dump(mode="json")}
    assert calibration_in(tmp_path, record.judge, "grading@1") == record
    assert calibration_in(tmp_path, record.judge) is None
    assert str(partly["headline"]).endswith("; not calibrated on other@2")
    assert partly["kappa"] is None
