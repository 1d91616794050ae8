"""GradingBench as a measure of judges. Its rows here are the project's own, in the published columns."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.green_agent.benchmarks.imobench import grading
from services.green_agent.data.store import Store
from services.green_agent.judge.cli import main
from services.green_agent.judge.labels import LabelsError
from services.green_agent.judge.records import calibration_in
from services.green_agent.scoring.math import rubric
from services.green_agent.scoring.math.rubric import Exam
from tests.green_agent.benchmarks.imobench.test_proofs import needs_proofs
from tests.green_agent.judge.bench import inside, questions, served
from tests.support.peer_files import MIRROR

REWARDS = {7: "Correct", 6: "Almost", 0: "Incorrect"}


def published(number: int, points: int, **columns: str) -> dict[str, str]:
    return {
        "Grading ID": f"GB-{number:04d}",
        "Problem ID": f"GB-P{number % 3}",
        "Problem": f"Prove statement {number % 3}.",
        "Solution": "It follows.",
        "Grading guidelines": "(Partial)\n 1. A lemma",
        "Response": f"Proof {number} is worth {points}.",
        "Points": str(points),
        "Reward": REWARDS.get(points, "Partial"),
        "Problem Source": "made by the project",
        **columns,
    }


def mirror(folder: Path, *rows: dict[str, str]) -> Store:
    (folder / "imobench").mkdir(exist_ok=True)
    with (folder / "imobench" / "gradingbench.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return Store(mirror=folder)


VECTOR = [published(number, points) for number, points in enumerate((7, 0, 6, 1, 7, 3))]
SAID = (7, 1, 6, 0, 5, 3)


def test_rows_become_labels_that_are_asked_in_the_words_of_proofbench(tmp_path: Path) -> None:
    found = grading.by_points(store=mirror(tmp_path, *VECTOR), limit=None, disjoint=False)

    label = found.labels[0]
    exam = Exam(problem="Prove statement 0.", solution="It follows.", guidelines="(Partial)\n 1. A lemma")
    case = rubric.case_of(exam, "Proof 0 is worth 7.", permitted="points")
    assert (label.case.instructions, label.case.materials) == (case.instructions, case.materials)
    assert label.scale == rubric.scale_of("points")
    assert found.name == case.calibration
    assert [one.score for one in found.labels] == [7, 0, 6, 1, 7, 3]
    assert {one.task_id for one in found.labels} == {"GB-P0", "GB-P1", "GB-P2"}
    assert found.noticed == ("6 rows, published were 1000",)


def test_levels_are_another_set_whose_judge_has_four_values(tmp_path: Path) -> None:
    store = mirror(tmp_path, *VECTOR)
    found = grading.by_levels(store=store, limit=None, disjoint=False)

    assert found.labels[0].scale == rubric.scale_of("levels")
    assert found.name != grading.by_points(store=store, limit=None, disjoint=False).name


def test_a_limit_draws_the_same_answers_from_any_order_of_rows(tmp_path: Path) -> None:
    rows = [published(number, number % 8) for number in range(40)]
    drawn = grading.by_points(store=mirror(tmp_path, *rows), limit=5, disjoint=False)
    again = grading.by_points(store=mirror(tmp_path, *reversed(rows)), limit=5, disjoint=False)

    assert drawn.labels == again.labels
    assert len(drawn.labels) == 5
    assert [one.answer for one in drawn.labels] != [row["Response"] for row in rows[:5]]


def test_rewards_that_contradict_the_points_are_listed_and_the_points_count(tmp_path: Path) -> None:
    rows = [published(0, 7, Reward="Almost"), published(1, 3), published(2, 0, Reward="incorrect")]

    found = grading.by_points(store=mirror(tmp_path, *rows), limit=None, disjoint=False)

    assert found.noticed[1:] == ("GB-0000: 7 points are correct, the column Reward says 'Almost'",)
    assert [one.score for one in found.labels] == [7, 3, 0]


@needs_proofs
def test_disjoint_leaves_out_the_problems_of_proofbench_by_id_and_by_words(tmp_path: Path) -> None:
    proofs = MIRROR / "imobench" / "proofbench_v2.csv"
    with proofs.open(encoding="utf-8", newline="") as file:
        problem = next(csv.DictReader(file))["Problem"]
    rows = [
        published(0, 7),
        published(1, 3, **{"Problem ID": "PB-Basic-001"}),
        published(2, 0, Problem=f" {problem}\n"),
    ]
    store = mirror(tmp_path, *rows)
    (tmp_path / "imobench" / "proofbench_v2.csv").write_bytes(proofs.read_bytes())

    whole = grading.by_points(store=store, limit=None, disjoint=False)
    found = grading.by_points(store=store, limit=None, disjoint=True)

    assert len(whole.labels) == 3
    assert [one.score for one in found.labels] == [7]
    assert found.noticed[1:] == ("2 rows of problems of ProofBench left out",)


@pytest.mark.parametrize(
    ("columns", "fault"),
    [
        ({"Points": "8"}, "Points: Input should be less than or equal to 7"),
        ({"Points": "good"}, "Points: Input should be a valid integer"),
        ({"Points": "6.5"}, "Points: Input should be a valid integer"),
        ({"Solution": ""}, "Solution"),
        ({"Grading ID": "GB-0000"}, "GB-0000 stands twice"),
    ],
)
def test_a_row_at_fault_refuses_the_file(tmp_path: Path, columns: dict[str, str], fault: str) -> None:
    store = mirror(tmp_path, published(0, 7), published(1, 3) | columns)

    with pytest.raises(LabelsError, match=fault):
        grading.by_points(store=store, limit=None, disjoint=False)


def test_points_with_a_decimal_zero_are_whole(tmp_path: Path) -> None:
    found = grading.by_points(store=mirror(tmp_path, published(0, 7, Points="7.0")), limit=None, disjoint=False)

    assert found.labels[0].score == 7


def test_data_that_are_not_here_name_the_command_that_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(LabelsError, match="assay data pull imobench"):
        grading.by_points(store=Store(mirror=tmp_path), limit=None, disjoint=False)


def says(prompt: str) -> str:
    """The points of the vector; no verdict on the proof 9."""
    number = int(re.findall(r"Proof (\d+)", inside(prompt, "answer"))[0])
    if number == 9:
        return "POINTS: 7"
    return json.dumps({"reasons": {"points": ""}, "scores": {"points": SAID[number]}, "injection_suspected": False})


async def test_the_command_measures_the_judge_and_keeps_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror(tmp_path, *VECTOR, published(9, 0))
    monkeypatch.setenv("ASSAY_DATA_FROM", str(tmp_path))
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    async with served(says) as server:
        arguments = ["calibrate", "--benchmark", "imobench_grading", "--judge", "m0", "--api-base", server.url]
        done = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        asked = len(questions(server))
        again = await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--json"])

    assert done.exit_code == 0, done.output
    assert "four-way accuracy   0.500 [" in done.stdout
    assert "mean abs. error     0.667 [" in done.stdout
    assert "bias                -0.333 [" in done.stdout
    assert "quadratic kappa     0.932 [" in done.stdout
    assert "answers             6 of 7 judged" in done.stdout
    assert "no verdict          not_json: 1" in done.stdout
    assert "7 of 7 answers" in done.stderr
    assert asked == 6 + 3
    record = json.loads(again.stdout)
    assert record["graded"]["counts"]["correct"] == {"incorrect": 0, "partial": 1, "almost": 0, "correct": 1}
    kept = calibration_in(tmp_path / "cache" / "judge", record["judge"], rubric.calibration_of("points"))
    assert kept is not None
    assert kept.model_dump(mode="json") == record


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "expected --labels or --benchmark, one of them"),
        (["--labels", __file__, "--benchmark", "imobench_grading"], "expected --labels or --benchmark, one of them"),
        (["--labels", __file__, "--limit", "3"], "--limit and --disjoint go with --benchmark"),
        (["--benchmark", "imobench_grading", "--criteria", __file__], "--criteria goes with --labels"),
        (["--benchmark", "imobench"], "'imobench' is not one of"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(arguments: list[str], fault: str) -> None:
    done = CliRunner().invoke(main, ["calibrate", *arguments, "--model", "m"])

    assert done.exit_code == 2
    assert fault in done.stderr
