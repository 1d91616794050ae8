"""The measures of a run as the terminal, Markdown and the page show them."""

from contextlib import closing
from pathlib import Path

from services.contract.conversation import Iteration, Reply, Trace, Transcript, Turn
from services.contract.outcomes import Outcome
from services.contract.results import TaskResult
from services.runner.journal import Journal
from services.runner.report import Report, write_report
from services.runner.report.measures import lines_of
from services.runner.summary import table_of
from tests.runner.support.rows import make_plan, make_row, make_run

NAMES = [
    "pass@1",
    "pass@2",
    "pass@3",
    "pass^1",
    "pass^2",
    "pass^3",
    "oracle: best of trajectory",
    "right as of iteration 0 (n trials; the first solutions)",
    "right as of iteration 1 (n trials; 0 became right, 2 wrong)",
]


def _report(folder: Path) -> Report:
    """Two tasks of two trials; those of `alpha` were right on the way and wrong in the end, those of `beta` are right."""
    plan = make_plan(tasks=2, trials=2).model_copy(update={"k": (1, 2, 3)})
    rows = [
        _given_up(make_row(trial, score=0.0)) if trial.benchmark == "alpha" else make_row(trial)
        for trial in plan.trials
    ]
    rows[0] = make_row(plan.trials[0], Outcome.INFRA_ERROR)
    rows[1] = make_row(plan.trials[1], Outcome.AGENT_ERROR)
    with closing(Journal.open(folder)) as journal:
        run = make_run(plan)
        journal.create_run(run)
        for row in rows:
            journal.record(run.id, row)
        return write_report(journal, run.id, folder / run.id)


def _given_up(row: TaskResult) -> TaskResult:
    steps = [{"passed": True, "was_refined": False}, {"passed": False, "was_refined": True}]
    metrics = {"oracle_passed": True, "trajectory_unscored": 0}
    return row.model_copy(update={"metrics": metrics, "details": {"iterations": steps}})


def test_every_measure_stands_everywhere_under_a_name_that_says_what_it_is(tmp_path: Path) -> None:
    report = _report(tmp_path)
    table, page = table_of(report), report.html.read_text(encoding="utf-8")
    markdown = report.markdown.read_text(encoding="utf-8")

    assert [line.name for line in lines_of(report.result.dataset_scores) if line.benchmark == "alpha"] == NAMES
    assert all(f"alpha {name}" in table for name in NAMES)
    assert all(f"<td>{name}</td>" in page for name in NAMES)
    assert all(f"| alpha | {name} |" in markdown for name in NAMES)


def test_what_was_right_on_the_way_is_the_oracles_and_moves_no_score(tmp_path: Path) -> None:
    report = _report(tmp_path)
    lines = {line.name: line for line in lines_of(report.result.dataset_scores) if line.benchmark == "alpha"}

    assert report.result.dataset_scores["alpha"].score == 0.0
    assert [(lines[name].value, lines[name].n) for name in ("pass@1", "oracle: best of trajectory")] == [
        (0, 2),
        (50, 2),
    ]
    assert [(lines[name].value, lines[name].n) for name in NAMES[-2:]] == [(50, 3), (0, 3)]


def test_a_k_beyond_the_trials_is_unknown_with_its_tasks_counted(tmp_path: Path) -> None:
    report = _report(tmp_path)
    lines = {line.name: line for line in lines_of(report.result.dataset_scores) if line.benchmark == "alpha"}

    assert [(lines[f"pass@{k}"].n, lines[f"pass@{k}"].left_out) for k in (1, 2, 3)] == [(2, 0), (1, 1), (0, 2)]
    assert (lines["pass@3"].value, lines["pass@3"].low) == (None, None)
    assert next(line for line in table_of(report).splitlines() if "alpha pass@3" in line).split()[2:] == [
        "-",
        "unknown",
        "0",
    ]


def test_the_page_shows_how_an_agent_says_it_came_to_its_answer_as_text(tmp_path: Path) -> None:
    plan = make_plan(tasks=1)
    trace = Trace(
        strategy="<b>chain</b>",
        iterations=(Iteration(solution="first <try>"), Iteration(report="looks right", verdict="yes")),
    )
    said = Transcript(turns=(Turn(question="?", reply=Reply(text="first <try>", trace=trace)),))
    with closing(Journal.open(tmp_path)) as journal:
        run = make_run(plan)
        journal.create_run(run)
        journal.record(run.id, make_row(plan.trials[0]).model_copy(update={"transcript": said}))
        page = write_report(journal, run.id, tmp_path / run.id).html.read_text(encoding="utf-8")

    assert "How the agent says it came to this: &lt;b&gt;chain&lt;/b&gt;, 2 solutions" in page
    assert "its own verdict: yes" in page
    assert page.count("first &lt;try&gt;") == 2  # the reply, and the solution that was carried on
    assert "<b>chain</b>" not in page
