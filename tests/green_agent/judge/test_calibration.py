"""A judge compared with people: figures, flips, the record that reports show."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.green_agent.judge.calibration import Judged, calibrate, criteria_figures
from services.green_agent.judge.cli import main
from services.green_agent.judge.labels import Label, LabelsError, read_labels
from services.green_agent.judge.records import calibration_in, keep_calibration
from services.inference.reference_engine.app import Settings
from tests.green_agent.judge.bench import ids_in, inside, met, opened, outside, served
from tests.support.engine import running_engine
from tests.support.raw_http import response


def label(task: str, answer: str, criterion: str, *, met: bool) -> Label:
    return Label(task_id=task, criterion_id=criterion, answer=answer, met=met, criterion=f'says "{criterion}"')


def reads(prompt: str) -> str:
    """A judge that looks for the quoted word of each criterion in the answer."""
    words = dict(re.findall(r'^(c\d\d): says "(\w+)"', outside(prompt), re.MULTILINE))
    answer = inside(prompt, "answer")
    return met(*(one for one, word in words.items() if word in answer), of=ids_in(prompt))


TABLE = [*[(True, True)] * 4, *[(False, False)] * 3, *[(True, False)] * 2, (False, True)]


def test_figures_of_the_table_of_the_specification() -> None:
    """Person and judge yes 4, both no 3, only the person 2, only the judge 1."""
    labels = [label(f"t{n}", "x" * 10, "a", met=person) for n, (person, _) in enumerate(TABLE)]
    judged = [Judged(label=one, said=float(said)) for one, (_, said) in zip(labels, TABLE, strict=True)]

    found = criteria_figures(judged, labels)

    assert found is not None
    assert (found.labels, found.judged) == (10, 10)
    assert [found.accuracy.value, found.precision.value, found.recall.value] == [0.7, 0.8, pytest.approx(4 / 6)]
    assert found.kappa.value == pytest.approx(0.4)
    assert found.kappa.low is not None
    assert found.kappa.high is not None
    assert found.kappa.low < 0.4 < found.kappa.high
    assert found.accuracy.low == pytest.approx(0.3968, abs=1e-4)
    assert found.accuracy.high == pytest.approx(0.8922, abs=1e-4)
    assert found.length_correlation is None


def test_a_taste_for_length_shows() -> None:
    labels = [label(f"t{n}", "x" * n, "a", met=n % 2 == 0) for n in range(20)]
    judged = [Judged(label=one, said=float(n >= 10)) for n, one in enumerate(labels)]

    found = criteria_figures(judged, labels)

    assert found is not None
    assert found.length_correlation == pytest.approx(0.867, abs=1e-3)
    assert found.length_correlation_of_labels == pytest.approx(-0.087, abs=1e-3)


async def test_a_judge_that_sees_it_like_people_has_kappa_1_and_no_flips() -> None:
    labels = [
        label(f"t{n}", f"the {word} rose", criterion, met=word == criterion)
        for n, word in enumerate(("margin", "debt", "margin", "cash"))
        for criterion in ("margin", "debt")
    ]
    async with served(reads) as server, opened(server.url) as panel:
        found = await calibrate(panel, labels)

    assert found.criteria is not None
    assert (found.criteria.judged, found.criteria.kappa.value) == (8, 1.0)
    assert found.paraphrased is not None
    assert found.swapped is not None
    assert [(one.compared, one.flipped) for one in (found.paraphrased, found.swapped)] == [(8, 0), (8, 0)]
    assert found.headline == "judge: kappa 1.00 [1.00, 1.00]"


async def test_a_judge_that_goes_by_position_flips() -> None:
    def says(prompt: str) -> str:
        return met(*ids_in(prompt)[:1], of=ids_in(prompt))

    labels = [label(f"t{n}", "nothing", criterion, met=False) for n in range(5) for criterion in ("a", "b")]
    async with served(says) as server, opened(server.url) as panel:
        found = await calibrate(panel, labels)

    assert found.swapped is not None
    assert found.paraphrased is not None
    assert (found.paraphrased.flipped, found.swapped.flipped) == (0, 10)
    assert "warning: below 0.6" in found.headline


async def test_labels_without_a_verdict_are_counted_by_kind_and_not_guessed() -> None:
    labels = [label("t1", "good", "good", met=True), label("t2", "bad luck", "bad", met=True)]
    async with (
        served(lambda prompt: "prose" if "luck" in prompt else reads(prompt)) as server,
        opened(server.url) as panel,
    ):
        found = await calibrate(panel, labels)

    assert found.failed == {"not_json": 1}
    assert found.criteria is not None
    assert (found.criteria.labels, found.criteria.judged) == (2, 1)


async def test_scales_have_an_error_in_points_and_a_correlation() -> None:
    def says(prompt: str) -> str:
        return json.dumps({"scores": {"completion": len(inside(prompt, "answer")) + 1}, "reasons": {}})

    labels = [
        Label(task_id=f"t{n}", criterion_id="completion", answer="x" * n, score=n, criterion="low to high")
        for n in range(1, 9)
    ]
    async with served(says) as server, opened(server.url) as panel:
        found = (await calibrate(panel, labels)).scales["completion"]

    assert (found.judged, found.mean_absolute_error.value) == (8, 1.0)
    assert found.correlation.value == pytest.approx(1.0)


async def test_the_record_is_found_by_model_and_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    async with served(reads) as server, opened(server.url, folder=tmp_path / "judge") as panel:
        record = await calibrate(panel, [label("t1", "good", "good", met=True)])
        keep_calibration(tmp_path / "judge", record)
        told = panel.description()["calibration"]

    assert told == record.model_dump(mode="json")
    assert calibration_in(tmp_path / "judge", record.judge) == record
    assert calibration_in(tmp_path / "judge", "another@prompt") is None


def test_labels_take_their_texts_from_a_second_file(tmp_path: Path) -> None:
    labels, criteria = tmp_path / "labels.jsonl", tmp_path / "criteria.jsonl"
    labels.write_text('{"task_id": "t1", "criterion_id": "a", "answer": "x", "met": true}\n\n')
    criteria.write_text('{"task_id": "t1", "criterion_id": "a", "criterion": "says x", "references": ["r"]}\n')

    [found] = read_labels(labels, criteria)

    assert (found.criterion, found.references, found.met) == ("says x", ("r",), True)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"task_id": "t1", "criterion_id": "a", "answer": "x", "met": true}', "criterion: Field required"),
        ('{"task_id": "t1", "criterion_id": "a", "answer": "x", "criterion": "c"}', "expected met"),
        ('{"task_id": "t1", "criterion_id": "a", "answer": "x", "criterion": "c", "score": 26}', "0 to 25, got 26"),
        ("[1]", "expected an object, got list"),
        ("{", "not JSON"),
        ("", "no label in it"),
    ],
)
def test_every_bad_line_is_named(tmp_path: Path, line: str, fault: str) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text(line + "\n")

    with pytest.raises(LabelsError, match=r"labels\.jsonl.*" + re.escape(fault)):
        read_labels(file, None)


def test_the_command_prints_the_figures_and_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "labels.jsonl"
    rows = [
        {
            "task_id": f"t{n}", "criterion_id": "a", "answer": str(10 + n % 2), "met": n % 2 == 0,
            "criterion": "right number", "references": ["10"],
        }
        for n in range(10)
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with running_engine(settings=Settings()) as engine:
        arguments = ["calibrate", "--labels", str(file), "--model", "reference", "--api-base", engine.url]
        done = CliRunner().invoke(main, arguments)
        again = CliRunner().invoke(main, [*arguments, "--json"])
        calls = engine.metrics.finished

    assert done.exit_code == 0, done.output
    assert "judge: kappa 1.00" in done.stdout
    assert "accuracy            1.000 [0.722, 1.000]" in done.stdout
    assert "flips swapped       0 of 10" in done.stdout
    assert json.loads(again.stdout)["criteria"]["judged"] == 10
    assert calls == 2 + 3 * 10 - 3 * 8  # two probes; equal answers to equal criteria are asked once, in three wordings


def test_the_command_says_why_there_is_no_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    for name in ("OPENAI_API_KEY", "OPENAI_EVAL_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_BASE_URL", "OPENAI_API_BASE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "labels.jsonl"
    file.write_text('{"task_id": "t", "criterion_id": "a", "answer": "x", "met": true, "criterion": "c"}\n')

    done = CliRunner().invoke(main, ["calibrate", "--labels", str(file), "--model", "m"])

    assert done.exit_code == 1
    assert "no model endpoint is configured" in done.stderr


async def test_what_has_no_order_is_not_counted_among_the_swapped() -> None:
    labels = [label("t1", "the margin rose", "margin", met=True)]
    async with served(reads) as server, opened(server.url) as panel:
        found = await calibrate(panel, labels)

    assert found.swapped is not None
    assert found.paraphrased is not None
    assert (found.swapped.compared, found.paraphrased.compared) == (0, 1)


async def test_the_cost_of_replies_without_a_count_of_tokens_is_unknown() -> None:
    body = {"choices": [{"message": {"content": met("c01", of=["c01"])}, "finish_reason": "stop"}]}
    async with served(lambda _: response(body)) as server, opened(server.url) as panel:
        found = await calibrate(panel, [label("t1", "the margin rose", "margin", met=True)])

    assert found.cost_usd is None


def test_a_line_separator_inside_an_answer_ends_no_line(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    row = {"task_id": "t", "criterion_id": "a", "answer": "one\u2028two\x85", "met": True, "criterion": "c"}
    file.write_text(json.dumps(row, ensure_ascii=False) + "\r\n", encoding="utf-8")

    assert [one.answer for one in read_labels(file, None)] == ["one\u2028two\x85"]


def test_a_line_that_is_nested_too_deeply_is_named(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    file.write_text("[" * 100_000)

    with pytest.raises(LabelsError, match=r"labels\.jsonl:1: not JSON"):
        read_labels(file, None)


def test_figures_that_cannot_be_kept_are_printed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "file" / "cache"))
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"task_id": "t", "criterion_id": "a", "answer": "10", "met": true, "criterion": "c"}\n')
    with running_engine() as engine:
        arguments = ["calibrate", "--labels", str(labels), "--model", "reference", "--api-base", engine.url]
        done = CliRunner().invoke(main, arguments)

    assert done.exit_code == 1
    assert "accuracy" in done.stdout
    assert "could not be kept" in done.stderr
