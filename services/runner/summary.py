"""What a command prints at its end: the table of sections, or one JSON object."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from services.contract.results import AssessmentResult, DatasetScore, SectionScore
from services.runner.journal import RunSummary
from services.runner.old_results import OldResult
from services.runner.report import Report
from services.runner.run import RunOutcome

_HEAD = ("section", "score", "95 % interval", "coverage", "bounds", "n")


def table_of(report: Report) -> str:
    """Sections, their benchmarks and the overall score as aligned text, after what qualifies them."""
    lines = [f"! {banner.title}. {banner.text}" for banner in report.view.banners]
    return "\n".join([*lines, *([""] if lines else []), *result_table(report.result), *_measures(report)])


def result_table(result: AssessmentResult) -> list[str]:
    """The lines of sections, their benchmarks and the overall score."""
    body: list[tuple[str, ...]] = []
    for section in result.sections:
        body.append(_row(section.section.replace("_", " "), section))
        body += [
            _row(f"  {name}", score)
            for name, score in result.dataset_scores.items()
            if score.section is section.section
        ]
    overall = result.overall_score
    counted, planned = (sum(getattr(section, name) for section in result.sections) for name in ("counted", "planned"))
    total = (
        "overall",
        _points(overall.score),
        _range(overall.interval_low, overall.interval_high),
        f"{100 * overall.coverage:.1f} %",
        _range(overall.lower, overall.upper),
        f"{counted}/{planned}",
    )
    return aligned([_HEAD, *body, total])


def _measures(report: Report) -> list[str]:
    """Nothing for single trials that measure nothing beside their score."""
    body = [
        (f"{item.benchmark} {item.name}", _points(item.value), _range(item.low, item.high), str(item.n))
        for item in report.view.measures
        if not item.is_stratum
    ]
    return ["", *aligned([("measure", "value", "95 % interval", "n"), *body])] if body else []


def summary_object(outcome: RunOutcome) -> dict[str, JsonValue]:
    """The object of `--json`."""
    found: dict[str, JsonValue] = {
        "run": outcome.run_id,
        "exit_code": int(outcome.exit_code),
        "error": None if outcome.error is None else str(outcome.error),
    }
    if outcome.report is None:
        return found
    result = outcome.report.result
    return found | {
        "overall_score": result.overall_score.model_dump(mode="json"),
        "sections": [section.model_dump(mode="json") for section in result.sections],
        "outcomes": result.evaluation_metadata["outcomes"],
        "labels": [banner.title for banner in outcome.report.view.banners],
        "results_json": str(outcome.report.results_json),
        "report_html": str(outcome.report.html),
    }


def runs_table(runs: Sequence[tuple[RunSummary, str]]) -> str:
    """`assay results list`; each run with how it stands."""
    head = ("run", "status", "trials", "plan")
    body = [(run.id, status, f"{run.final}/{run.planned}", run.plan_digest[:19]) for run, status in runs]
    return "\n".join(aligned([head, *body]))


def old_results_table(found: Sequence[OldResult]) -> str:
    """One line an evaluation of an old file."""
    head = ("form", "stored", "recomputed", "errors excluded", "rows", "errors")
    body = [
        (
            old.form,
            *map(_points, (old.stored, old.recomputed, old.errors_excluded)),
            str(len(old.rows)),
            str(old.errors),
        )
        for old in found
    ]
    note = "recomputed: every error row counts 0. Scores of old files are never ranked with new ones."
    return "\n".join([*aligned([head, *body]), note])


def old_results_object(found: Sequence[OldResult]) -> dict[str, JsonValue]:
    """The object of `--json`."""
    return {
        "results": [
            {
                "form": old.form,
                "stored": old.stored,
                "stored_sections": {**old.stored_sections},
                "recomputed": old.recomputed,
                "errors_excluded": old.errors_excluded,
                "rows": len(old.rows),
                "errors": old.errors,
            }
            for old in found
        ]
    }


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width; the first is left-aligned, the others right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _row(name: str, score: SectionScore | DatasetScore) -> tuple[str, ...]:
    return (
        name,
        _points(score.score),
        _range(score.interval_low, score.interval_high),
        f"{100 * (score.counted / score.planned if score.planned else 1):.1f} %",
        _range(score.lower, score.upper),
        f"{score.counted}/{score.planned}",
    )


def _points(score: float | None) -> str:
    return "-" if score is None else f"{score:.1f}"


def _range(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"{low:.1f}..{high:.1f}"
