import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from services.contract.conversation import ModelCalls, ModelFacts, Transcript, Turn
from services.contract.judgements import Judgement
from services.contract.outcomes import Outcome
from services.contract.results import ErrorInfo, TaskResult
from services.runner.failures import ReportError
from services.runner.journal import Journal, RunRecord, RunStatus
from services.runner.report import Report, write_report
from services.runner.report.results_file import write_json
from tests.runner.support.rows import make_plan, make_row, make_run

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</pre></details><iframe src=//evil></iframe>",
    "{{ 7 * 7 }} {% raw %}",
    "<!-- ]]> \u202e right to left \x00 nul \x1b[31m",
    "</title></style></script><base href=//evil>",
]
VOID = {"meta", "input"}


class Page(HTMLParser):
    """What a browser would make of the page: elements, attributes and the text inside each element."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data


def report_of(
    folder: Path, rows: Sequence[TaskResult], run: RunRecord, *, status: RunStatus = RunStatus.COMPLETE
) -> tuple[Report, Page]:
    with closing(Journal.open(folder)) as journal:
        journal.create_run(run)
        for row in rows:
            journal.record(run.id, row)
        if run.reported:
            journal.store_reported(run.id, run.reported)
        journal.finish(run.id, status)
        report = write_report(journal, run.id, folder / run.id)
    return report, Page(report.html.read_text(encoding="utf-8"))


def titles(page: Page) -> list[str]:
    return [text for text in page.texts.get("b", []) if text[:1].isupper()]


def test_the_page_is_well_formed_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    plan = make_plan(tasks=3)

    report, page = report_of(tmp_path, [make_row(trial) for trial in plan.trials], make_run(plan))

    assert page.open == []
    links = [value for _, given in page.elements for name, value in given.items() if name in {"src", "href", "action"}]
    assert [link for link in links if not (link or "").startswith("#")] == []
    assert {tag for tag, _ in page.elements} & {"link", "img", "iframe", "object", "base"} == set()
    assert "url(" not in page.texts["style"][0]
    assert "@import" not in page.texts["style"][0]
    policy = next(given["content"] for tag, given in page.elements if given.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.texts["script"][0].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert report.html.stat().st_size < 200_000


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text_wherever_it_comes_from(tmp_path: Path, text: str) -> None:
    plan = make_plan(tasks=1)
    calm = make_row(plan.trials[0])
    row = calm.model_copy(
        update={
            "answer": text,
            "explanation": text,
            "scored_by": text,
            "metrics": {text: text},
            "transcript": Transcript(
                turns=(
                    Turn(question=text, reply=calm.transcript.turns[0].reply if calm.transcript else None, error=text),
                ),
                notes={text: text},
            ),
        }
    )
    failed = make_row(plan.trials[1], Outcome.INFRA_ERROR)
    failed = failed.model_copy(update={"error": ErrorInfo(kind=text, message=text)})
    agents = {"purple": {"name": text, "version": text}}
    run = make_run(plan).model_copy(update={"provenance": {"agents": agents, text: text}, "name": text})
    quiet = report_of(tmp_path / "calm", [calm, make_row(plan.trials[1], Outcome.INFRA_ERROR)], make_run(plan))[1]

    report, page = report_of(tmp_path / "hostile", [row, failed], run)

    assert page.open == []
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in quiet.elements} | {"details"}
    assert len([tag for tag, _ in page.elements if tag == "script"]) == 1
    assert {name for _, given in page.elements for name in given} == {
        name for _, given in quiet.elements for name in given
    }
    shown = re.sub(r"[\x00-\x08\x0b-\x1f]", "\ufffd", text)
    assert sum(shown in pre for pre in page.texts["pre"]) >= 4
    assert text not in report.markdown.read_text(encoding="utf-8") or "<" not in text


def test_the_numbers_on_the_page_are_those_of_results_json(tmp_path: Path) -> None:
    plan = make_plan(tasks=4)
    rows = [
        make_row(trial, score=1.0 if trial.benchmark == "alpha" else 0.25, attempts=trial.task_id == "beta-1")
        for trial in plan.trials
    ]

    report, page = report_of(tmp_path, rows, make_run(plan))
    document = json.loads(report.results_json.read_text())

    (result,) = document["results"]
    assert result["overall_score"]["score"] == pytest.approx(62.5)
    assert "62.5" in page.texts["strong"]
    cells = [" ".join(row.split()) for row in page.texts["tr"]]
    assert any(row.startswith("alpha 100.0 51.0 \N{EN DASH} 100.0") and "4/4" in row for row in cells)
    assert any(row.startswith("beta 25.0 unknown 25.0 \N{EN DASH} 25.0 100 % 0 %") for row in cells)
    assert [row["transcript"] for row in result["results"]] == [None] * 8
    assert len([1 for tag, given in page.elements if given.get("class") == "trial"]) == 8
    assert "Earlier attempt 1: infra error · http_503 · 100 ms" in page.texts["summary"]


def test_a_complete_run_of_a_model_bears_no_warning(tmp_path: Path) -> None:
    plan = make_plan(tasks=2)

    report, _ = report_of(tmp_path, [make_row(trial) for trial in plan.trials], make_run(plan))

    assert report.view.banners == []


def test_what_qualifies_the_number_stands_above_it(tmp_path: Path) -> None:
    plan = make_plan(tasks=2)
    rows = [make_row(trial) for trial in plan.trials]
    reply = rows[0].transcript.turns[0].reply if rows[0].transcript else None
    assert reply is not None
    spoken = reply.model_copy(
        update={"model": ModelFacts(provider="openai", model="reference", fingerprint="reference-engine-1")}
    )
    rows[0] = rows[0].model_copy(update={"transcript": Transcript(turns=(Turn(question="?", reply=spoken),))})
    run = make_run(plan).model_copy(
        update={"reported": {"sandbox": {"backend": "unsafe-subprocess", "isolated": False}}}
    )

    report, page = report_of(tmp_path, rows[:-1], run, status=RunStatus.INTERRUPTED)

    assert [banner.title for banner in report.view.banners] == [
        "Incomplete: 1 of 4 trials are not scored",
        "Reference engine, no language model",
        "Unsafe sandbox",
    ]
    assert report.view.banners[0].text.startswith("With them the score could lie anywhere from 75.0 to 100.0.")
    assert set(titles(page)) >= {banner.title for banner in report.view.banners}
    assert json.loads(report.results_json.read_text())["status"] == "canceled"


def test_model_calls_that_another_server_took_over_are_counted_where_there_were_any(tmp_path: Path) -> None:
    plan = make_plan(tasks=2)
    rows = [make_row(trial) for trial in plan.trials]
    moved = [row.model_copy(update={"model_calls": ModelCalls(switched=2)}) for row in rows[:3]]

    quiet, _ = report_of(tmp_path / "quiet", rows, make_run(plan))
    report, _ = report_of(tmp_path / "moved", [*moved, *rows[3:]], make_run(plan))

    assert ("model calls that another server took over", "6") in report.view.facts
    assert not [name for name, _ in quiet.view.facts if "another server" in name]


def test_a_trial_without_a_row_is_shown_as_missing(tmp_path: Path) -> None:
    plan = make_plan(tasks=2)

    report, page = report_of(tmp_path, [make_row(plan.trials[0])], make_run(plan), status=RunStatus.RUNNING)

    assert [trial.label for trial in report.view.trials] == ["passed", "missing", "missing", "missing"]
    assert [given["data-outcome"] for _, given in page.elements if given.get("class") == "trial"] == [
        "passed",
        "missing",
        "missing",
        "missing",
    ]


def test_a_link_stays_a_link_and_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    link, pipe, target = tmp_path / "link.json", tmp_path / "pipe", tmp_path / "target.json"
    link.symlink_to(target)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    for path in (link, pipe):
        write_json(path, {"a": 1})

    told = os.read(reader, 1000)
    os.close(reader)
    assert link.is_symlink()
    assert pipe.is_fifo()
    assert json.loads(target.read_text()) == json.loads(told) == {"a": 1}


def test_the_report_holds_of_each_transcript_no_more_than_the_page_shows(tmp_path: Path) -> None:
    plan = make_plan(tasks=1)
    row = make_row(plan.trials[0], said="x" * 50_000, question="q" * 50_000, attempts=1)

    report, _ = report_of(tmp_path, [row], make_run(plan))

    said = report.view.trials[0].said
    assert said.transcript is not None
    texts = [
        said.transcript.answer,
        *(turn.question for held in (said.transcript, *said.attempts) if held for turn in held.turns),
    ]
    assert [len(text) < 20_100 for text in texts] == [True, True, True]


def test_a_very_long_text_is_cut_visibly_and_kept_whole_in_the_journal(tmp_path: Path) -> None:
    plan = make_plan(tasks=1)
    row = make_row(plan.trials[0], said="x" * 50_000)

    report, _ = report_of(tmp_path, [row], make_run(plan))

    html = report.html.read_text()
    assert "[... 30000 more characters are in the journal]" in html
    assert len(html) < 150_000
    with closing(Journal.open(tmp_path)) as journal:
        (_, said) = next(journal.transcripts("20260101-000000-test-0000"))
    assert said.transcript is not None
    assert len(said.transcript.answer) == 50_000


def test_the_five_old_sections_are_always_there_and_scores_are_numbers(tmp_path: Path) -> None:
    plan = make_plan(tasks=1)

    report, _ = report_of(tmp_path, [make_row(trial) for trial in plan.trials], make_run(plan))
    (result,) = json.loads(report.results_json.read_text())["results"]

    assert list(result["section_scores"]) == [
        "knowledge_retrieval",
        "analytical_reasoning",
        "options_trading",
        "crypto_trading",
        "professional_tasks",
        "code",
    ]
    assert result["section_scores"]["crypto_trading"] is None
    assert isinstance(result["section_scores"]["options_trading"]["score"], float)


def test_a_run_in_which_nothing_counts_is_failed(tmp_path: Path) -> None:
    plan = make_plan(tasks=1)
    rows = [make_row(trial, Outcome.INFRA_ERROR) for trial in plan.trials]

    report, page = report_of(tmp_path, rows, make_run(plan), status=RunStatus.INCOMPLETE)

    assert json.loads(report.results_json.read_text())["status"] == "failed"
    assert "\N{EN DASH}" in page.texts["strong"]


def test_an_earlier_report_survives_a_failed_writing(tmp_path: Path) -> None:
    plan = make_plan(tasks=1)
    report, _ = report_of(tmp_path, [make_row(trial) for trial in plan.trials], make_run(plan))
    before = report.results_json.read_text()
    report.markdown.unlink()
    report.markdown.mkdir()
    (report.markdown / "in the way").touch()

    with closing(Journal.open(tmp_path)) as journal, pytest.raises(ReportError, match=r"cannot write .*report\.md"):
        write_report(journal, "latest", report.html.parent)

    assert report.results_json.read_text() == before
    assert sorted(path.name for path in report.html.parent.iterdir()) == ["report.html", "report.md", "results.json"]


def test_an_unfinished_run_says_that_its_judge_is_uncalibrated(tmp_path: Path) -> None:
    plan = make_plan(tasks=1)
    judged = [
        make_row(trial).model_copy(update={"judgements": (Judgement(purpose="correct", model="j"),)})
        for trial in plan.trials
    ]

    report, _ = report_of(tmp_path, judged[:-1], make_run(plan), status=RunStatus.INTERRUPTED)

    assert [banner.title for banner in report.view.banners][1:] == ["judge: uncalibrated (j)"]
