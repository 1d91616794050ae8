"""Items of a question file as tasks."""

import json
from pathlib import Path

import pytest
from pydantic import JsonValue

from services.green_agent.benchmarks.base import DatasetError
from services.green_agent.benchmarks.synthetic.loader import load
from services.green_agent.benchmarks.synthetic.task import SyntheticTask
from services.green_agent.scoring.answers import Measure, Value, grade, read
from tests.green_agent.benchmarks.synthetic.file_items import row, rubric, written
from tests.support.peer_files import SYNTHETIC, needs_peer_files

USABLE = ["QUAN_0001", "QUAL_0002"] + [
    f"LOGIC_00{number:02}" for number in (8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 22, 24, 25)
]


def share(task: SyntheticTask, reply: str) -> float:
    return grade(task.quantities, task.keys, read(reply, task.quantities)).share


def final(answer: dict[str, Value]) -> str:
    return f"FINAL ANSWER: {json.dumps(answer)}"


@needs_peer_files
def test_quarantine_leaves_fifteen_items_of_the_peers_twenty() -> None:
    loaded = load(SYNTHETIC)

    assert [task.id for task in loaded.items] == [f"SYN_{name}" for name in USABLE]
    assert (loaded.report["found"], loaded.report["usable"], loaded.report["declared_count"]) == (20, 15, 22)
    assert loaded.report["count_differs"] == "the file declares 22 questions and holds 20"
    actions = {entry["id"][-4:]: entry["action"] for entry in _flagged(loaded.report)}
    assert actions == {
        "0009": "quarantined",
        "0010": "quarantined",
        "0013": "quarantined",
        "0014": "corrected",
        "0016": "corrected",
        "0021": "quarantined",
        "0023": "quarantined",
        "0025": "corrected",
    }
    assert all(entry["reason"] for entry in _flagged(loaded.report))


@needs_peer_files
def test_three_keys_are_corrected() -> None:
    tasks = {task.id: task for task in load(SYNTHETIC).items}

    assert tasks["SYN_LOGIC_0014"].keys == {"equity_investment": 3e6, "borrowing": 2e6, "net_investment": 3e6}
    assert tasks["SYN_LOGIC_0016"].keys == {
        "better_option": "A",
        "difference": pytest.approx(10_000 - 12_500 / 1.08**3, abs=0.01),
    }
    profit = 1e6 / 1.1 * 1.03 * (1.1 * 1.05 / 1.03 - 1.12)
    assert tasks["SYN_LOGIC_0025"].keys == {"opportunity": True, "profit": pytest.approx(profit, abs=1e-5)}
    assert profit == pytest.approx(1272.73, abs=0.005)


@needs_peer_files
def test_report_keeps_all_with_their_flags_and_off_takes_every_key_as_published() -> None:
    reported = {task.id: task for task in load(SYNTHETIC, audit="report").items}
    published = {task.id: task for task in load(SYNTHETIC, audit="off").items}

    assert len(reported) == len(published) == 20
    assert reported["SYN_LOGIC_0009"].flags == ("A1", "A2", "A4")
    assert reported["SYN_LOGIC_0008"].flags == ()
    assert reported["SYN_LOGIC_0014"].keys["net_investment"] == 3e6
    assert published["SYN_LOGIC_0014"].keys["net_investment"] == 1e6
    assert not any(task.flags for task in published.values())


@needs_peer_files
def test_every_right_answer_scores_one_and_the_uncorrected_key_does_not() -> None:
    for task in load(SYNTHETIC).items:
        if not task.is_prose:
            assert share(task, final(dict(task.keys))) == 1.0, task.id
    corrected = {task.id: task for task in load(SYNTHETIC).items}["SYN_LOGIC_0016"]
    assert share(corrected, final({"better_option": "A", "difference": 75.15})) == 0.5


@needs_peer_files
def test_units_are_those_of_the_formatted_key() -> None:
    tasks = {task.id: task for task in load(SYNTHETIC).items}
    units = {
        (task.id[-4:], quantity.key): quantity.unit
        for task in tasks.values()
        for quantity in task.quantities
        if quantity.is_number
    }

    assert units["0001", "answer"] == "USD"
    assert units["0019", "std_dev"] == "%"
    assert units["0019", "leverage"] == "x"
    assert units["0022", "shares"] == ""
    assert tasks["SYN_LOGIC_0020"].keys == {"answer": -16.67}
    assert share(tasks["SYN_LOGIC_0020"], "FINAL ANSWER: -16.7%") == 1.0
    assert share(tasks["SYN_LOGIC_0020"], final({"answer": -0.1667})) == 0.0
    assert share(tasks["SYN_QUAN_0001"], "FINAL ANSWER: $134.7B") == 1.0


@needs_peer_files
def test_the_one_key_in_prose_goes_to_the_judge_with_its_rubric_and_without_steps() -> None:
    (prose,) = [task for task in load(SYNTHETIC).items if task.is_prose]

    assert (prose.id, prose.quantities, prose.messages) == ("SYN_QUAL_0002", (), 1)
    assert prose.prompt == "Describe AAPL's main business and products."
    assert prose.weights == (0.4, 0.3, 0.3)
    assert prose.rubric[1].endswith("(expected: TECHNOLOGY)")
    assert "Retrieved company overview" not in prose.prose_reference + "".join(prose.rubric)


def test_the_prompt_ends_with_the_form_and_never_holds_steps_or_key(tmp_path: Path) -> None:
    (task,) = load(written(tmp_path, row())).items

    assert task.prompt.startswith("A share rises from $50 to $60. By how much?\n\nRequired quantities:\n- answer: ")
    assert task.prompt.endswith('FINAL ANSWER: {"answer": <number>}')
    assert "20%" not in task.prompt
    assert "1.2" not in task.prompt
    assert (task.expected, task.stratum, task.messages) == ("answer = 20", "Financial Logic", 2)


def test_one_per_cent_is_tolerated_and_a_hundredth_around_zero(tmp_path: Path) -> None:
    zero = row(
        question_id="Q2", ground_truth_value=0, ground_truth_formatted="$0", calculation_steps=[], rubric=rubric(None)
    )
    twenty, none = load(written(tmp_path, row(), zero)).items

    assert [share(twenty, final({"answer": value})) for value in (20.2, 19.8, 20.21, 19.79)] == [1.0, 1.0, 0.0, 0.0]
    assert [share(none, final({"answer": value})) for value in (0.01, -0.01, 0.011)] == [1.0, 1.0, 0.0]


def test_a_small_key_is_not_swallowed_by_the_rounding_margin(tmp_path: Path) -> None:
    small = row(ground_truth_value=0.00123, ground_truth_formatted="0.00123", calculation_steps=[], rubric=rubric(None))
    (task,) = load(written(tmp_path, small)).items

    assert share(task, final({"answer": 0.00123})) == 1.0
    assert share(task, final({"answer": 0.00125})) == 0.0


def test_labels_come_from_the_options_of_the_question_and_an_open_label_is_not_asked(tmp_path: Path) -> None:
    choice = row(
        question="Which is better, (A) a bond or (B) a bill, and by how much?",
        ground_truth_value={"better": "B", "gap": 3, "why": "duration"},
        ground_truth_formatted="B by $3",
        calculation_steps=[],
        rubric=rubric(None),
    )
    loaded = load(written(tmp_path, choice))
    (task,) = loaded.items

    assert [(q.key, q.measure, q.labels) for q in task.quantities] == [
        ("better", Measure.LABEL, ("A", "B")),
        ("gap", Measure.RELATIVE, ()),
    ]
    assert loaded.report["not_asked"] == {"Q1": ["why"]}
    assert share(task, final({"better": "A", "gap": 3})) == 0.5


def test_a_newly_flagged_item_is_dropped_and_a_changed_item_loses_its_settlement(tmp_path: Path) -> None:
    doubtful = row(question_id="Q2", calculation_steps=["Hmm", "r = 20%"])
    loaded = load(written(tmp_path, row(), doubtful))

    assert [task.id for task in loaded.items] == ["Q1"]
    assert [(entry["id"], entry["action"]) for entry in _flagged(loaded.report)] == [("Q2", "dropped")]
    assert [task.flags for task in load(written(tmp_path, row(), doubtful), audit="report").items] == [(), ("A1",)]


@needs_peer_files
def test_a_corrected_item_whose_text_was_changed_is_dropped(tmp_path: Path) -> None:
    rows = json.loads(SYNTHETIC.read_text(encoding="utf-8"))["questions"]
    changed = next(one for one in rows if one["question_id"] == "SYN_LOGIC_0016") | {"difficulty": "easy"}

    loaded = load(written(tmp_path, row(), changed))

    assert [task.id for task in loaded.items] == ["Q1"]


def test_a_bare_list_is_read_and_the_order_of_keys_does_not_move_the_digest(tmp_path: Path) -> None:
    bare = tmp_path / "bare.json"
    bare.write_text(json.dumps([dict(reversed(row().items()))]), encoding="utf-8")

    assert load(bare).items[0].digest == load(written(tmp_path, row())).items[0].digest
    assert load(bare).report["declared_count"] is None


def test_everything_that_decides_moves_the_digest(tmp_path: Path) -> None:
    changes: list[dict[str, JsonValue]] = [
        {},
        {"question": "And now?"},
        {"ground_truth_formatted": "20 %"},
        {"rubric": rubric(None)},
    ]
    digests = {load(written(tmp_path, row(**change))).items[0].digest for change in changes}

    assert len(digests) == len(changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not JSON"),
        ("[NaN]", "not JSON"),
        ('[{"ground_truth_value": 1e999}]', "inf where a finite one is expected"),
        ("[" * 100_000, "not JSON"),
        ("{}", "expected a list of objects"),
        ('{"questions": [1]}', "expected a list of objects"),
        ('{"questions": []}', "holds no question"),
    ],
)
def test_a_file_that_is_no_question_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "questions.json"
    path.write_text(text)

    with pytest.raises(DatasetError, match=rf"questions\.json: .*{message}"):
        load(path)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"ground_truth_value": None}, "ground_truth_value"),
        ({"ground_truth_value": [1]}, "ground_truth_value"),
        ({"ground_truth_value": {"a": {"b": 1}}}, "ground_truth_value"),
        ({"ground_truth_value": {}}, "ground_truth_value"),
        ({"question": ""}, "question"),
        ({"question": 7}, "question"),
        ({"question": "x" * 20_001}, "question"),
        ({"calculation_steps": "one"}, "calculation_steps"),
        ({"calculation_steps": ["x" * 2_001]}, "calculation_steps"),
        ({"rubric": {}}, "rubric"),
        ({"rubric": {"components": [{"name": "a", "description": "b", "weight": -1}]}}, "rubric"),
    ],
)
def test_a_bad_row_is_named_with_its_field(tmp_path: Path, change: dict[str, JsonValue], field: str) -> None:
    path = written(tmp_path, row(question_id="good"), row(**change))

    with pytest.raises(DatasetError, match=rf"row 1 \(Q1\): {field}"):
        load(path)


def test_missing_fields_and_double_ids_are_reported_together(tmp_path: Path) -> None:
    without = {key: value for key, value in row().items() if key != "rubric"}

    with pytest.raises(DatasetError, match=r"row 0 \(Q1\): rubric: Field required.*'Q1' stands there 2 times"):
        load(written(tmp_path, without, row()))


def test_a_file_that_is_absent_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere\.json: cannot be read"):
        load(tmp_path / "nowhere.json")


def test_an_audit_that_leaves_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="leaves none of 1 items"):
        load(written(tmp_path, row(calculation_steps=["Hmm"])))


def test_prose_without_a_rubric_is_an_error(tmp_path: Path) -> None:
    prose = row(
        ground_truth_value="It sells telephones.", ground_truth_formatted="Telephones.", rubric={"components": []}
    )

    with pytest.raises(DatasetError, match="Q1: its key is prose and its rubric has no component"):
        load(written(tmp_path, prose))


def _flagged(report: object) -> list[dict[str, str]]:
    assert isinstance(report, dict)
    flagged: list[dict[str, str]] = report["flagged"]
    return flagged
