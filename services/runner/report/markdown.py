"""`report.md`: the result for people who read text."""

from __future__ import annotations

from collections.abc import Sequence

from services.contract.estimators import Interval
from services.contract.results import DatasetScore, SectionScore
from services.runner.report.formats import count, line, moment, percent, points, seconds, title_words, usd, words
from services.runner.report.view import ReportView


def render_markdown(view: ReportView) -> str:
    """The report as GitHub Markdown."""
    overall = view.overall
    parts = [
        f"# {_cell(view.headline_purple)}: {points(overall.score)} of 100",
        *(f"> **{_cell(banner.title)}.** {_cell(banner.text)}" for banner in view.banners),
        f"95 % interval {_range(view.interval)}, bounds {points(overall.lower)} – {points(overall.upper)},"
        f" coverage {percent(overall.coverage)}{'' if overall.grade is None else f', grade {overall.grade}'}.",
        _table(
            ["", "score", "95 % interval", "bounds", "coverage", "passed", "n"],
            [row for section in view.sections for row in _section_rows(section.score, section.benchmarks)],
        ),
        "## Outcomes",
        _table(["outcome", "trials"], [[words(label), str(number)] for label, number in view.outcomes]),
        *_faults(view),
        "## Agent time and usage",
        _usage(view),
        f"Run `{view.run.id}` of {moment(view.run.created)}, status {view.run.status}, plan `{view.run.plan.digest}`,"
        f" seed {view.run.plan.seed}.",
    ]
    return "\n\n".join(parts) + "\n"


def _section_rows(section: SectionScore, benchmarks: Sequence[object]) -> list[list[str]]:
    from services.runner.report.view import BenchmarkView  # noqa: PLC0415

    rows = [_score_row(f"**{title_words(section.section)}**", section)]
    return rows + [_score_row(b.name, b.score) for b in benchmarks if isinstance(b, BenchmarkView)]


def _score_row(name: str, score: SectionScore | DatasetScore) -> list[str]:
    known = score.interval_low is not None and score.interval_high is not None
    return [
        name,
        points(score.score),
        f"{points(score.interval_low)} – {points(score.interval_high)}" if known else "unknown",
        f"{points(score.lower)} – {points(score.upper)}",
        percent(score.counted / score.planned if score.planned else 1.0),
        percent(score.accuracy),
        f"{score.counted}/{score.planned}",
    ]


def _faults(view: ReportView) -> list[str]:
    if not view.faults:
        return []
    rows = [[words(f.outcome), f.kind, f.benchmark, str(f.count), line(f.example)] for f in view.faults]
    return ["## Failures by kind", _table(["outcome", "kind", "benchmark", "trials", "first message"], rows)]


def _usage(view: ReportView) -> str:
    times = view.agent_s
    return _table(
        ["median", "90 %", "99 %", "tokens in", "tokens out", "model calls", "cost"],
        [
            [
                *((seconds(times.p50), seconds(times.p90), seconds(times.p99)) if times else ("–", "–", "–")),
                count(view.usage.input_tokens),
                count(view.usage.output_tokens),
                count(view.usage.calls),
                usd(view.usage.cost_usd),
            ]
        ],
    )


def _range(interval: Interval | None) -> str:
    return "unknown" if interval is None else f"{points(interval.low)} – {points(interval.high)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in cells) + " |" for cells in lines)


def _cell(text: str) -> str:
    """Text that cannot leave its cell or become markup; our own emphasis stays."""
    flat = line(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return flat.replace("[", "\\[").replace("`", "\\`")
