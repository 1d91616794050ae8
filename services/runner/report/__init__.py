"""The report of a run: `results.json` for machines, `report.md` and `report.html` for people. Reads the journal only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.contract.results import AssessmentResult
from services.runner.journal import Journal
from services.runner.report.formats import excerpt
from services.runner.report.results_file import NAME, result_of, results_document, write_json, write_text
from services.runner.report.view import ReportView, build_view, models_that_answered

__all__ = ["Report", "read_report", "write_report"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """A report and where its files are."""

    result: AssessmentResult
    view: ReportView
    results_json: Path
    markdown: Path
    html: Path


def read_report(journal: Journal, reference: str, folder: Path) -> Report:
    """The report of a run as `folder` would hold it; writes nothing."""
    run = journal.run(reference)
    rows = journal.rows(run.id)
    transcripts = {key: excerpt(said) for key, said in journal.transcripts(run.id)}
    result = result_of(run, rows, models_that_answered(transcripts.values()))
    return Report(
        result=result,
        view=build_view(run, result, rows, transcripts),
        results_json=folder / NAME,
        markdown=folder / "report.md",
        html=folder / "report.html",
    )


def write_report(journal: Journal, reference: str, folder: Path, *, copy_to: Path | None = None) -> Report:
    """Write the report of a run to `folder`, and `results.json` also to `copy_to`.

    Raises ReportError when a file cannot be written; `results.json` is written first.
    """
    from services.runner.report.html import render_html  # noqa: PLC0415 - jinja2 is only needed here
    from services.runner.report.markdown import render_markdown  # noqa: PLC0415

    report = read_report(journal, reference, folder)
    document = results_document(report.view.run, report.result)
    for path in (report.results_json, copy_to):
        if path is not None:
            write_json(path, document)
    write_text(report.markdown, render_markdown(report.view))
    write_text(report.html, render_html(report.view))
    return report
