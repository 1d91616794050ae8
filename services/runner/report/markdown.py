"""`report.md`: the result for people who read text."""

from __future__ import annotations

from collections.abc import Sequence

from services.contract.results import DatasetScore, SectionScore
from services.runner.report.formats import (
    UNKNOWN,
    count,
    line,
    moment,
    percent,
    points,
    seconds,
    span,
    title_words,
    usd,
    words,
)
from services.runner.report.view import ReportView, SectionView


def render_markdown(view: ReportView) -> str:
    """The report as GitHub Markdown."""
    overall = view.overall
    parts = [
        f"# {_cell(view.headline_purple)}: {points(overall.score)} of 100",
        *(f"> **{_cell(banner.title)}.** {_cell(banner.text)}" for banner in view.banners),
        _headline(view),
        _table(
            ["", "score", "95 % interval", "bounds", "coverage", "passed", "n"],
            [row for section in view.sections for row in _section_rows(section)],
        ),
        *(
            f"{title_words(section.score.section)}: "
            + ", ".join(f"{words(name)} {points(value)}" for name, value in section.score.sub_scores.items())
            for section in view.sections
            if section.score.sub_scores
        ),
        *_measures(view),
        "## Who decided",
        _table(
            ["benchmark", "rule, method or judge, with its trials"],
            [
                [name, ", ".join(f"{decider} {number}" for decider, number in score.scored_by.items()) or UNKNOWN]
                for name, score in view.result.dataset_scores.items()
            ],
        ),
        *_known_issues(view),
        "## Outcomes",
        _table(["outcome", "trials"], [[words(label), str(number)] for label, number in view.outcomes]),
        *_faults(view),
        "## Agent time and usage",
        _usage(view),
        _record(view),
    ]
    return "\n\n".join(parts) + "\n"


def _section_rows(section: SectionView) -> list[list[str]]:
    head = _score_row(f"**{title_words(section.score.section)}**", section.score)
    return [head, *(_score_row(benchmark.name, benchmark.score) for benchmark in section.benchmarks)]


def _score_row(name: str, score: SectionScore | DatasetScore) -> list[str]:
    return [
        name,
        points(score.score),
        span(score.interval_low, score.interval_high),
        span(score.lower, score.upper),
        percent(score.counted / score.planned if score.planned else 1.0),
        percent(score.accuracy),
        f"{score.counted}/{score.planned}",
    ]


def _faults(view: ReportView) -> list[str]:
    if not view.faults:
        return []
    rows = [[words(f.outcome), f.kind, f.benchmark, str(f.count), line(f.example)] for f in view.faults]
    return ["## Failures by kind", _table(["outcome", "kind", "benchmark", "trials", "first message"], rows)]


def _measures(view: ReportView) -> list[str]:
    if not view.measures:
        return []
    rows = [
        [item.benchmark, item.name, points(item.value), span(item.low, item.high), str(item.n), str(item.left_out)]
        for item in view.measures
    ]
    return ["## Measures", _table(["benchmark", "measure", "value", "95 % interval", "n", "tasks left out"], rows)]


def _known_issues(view: ReportView) -> list[str]:
    if not view.known_issues:
        return []
    rows = [[issue.benchmark, words(issue.kind), str(issue.tasks)] for issue in view.known_issues]
    return ["## Known faults of the tasks asked", _table(["benchmark", "fault", "tasks"], rows)]


def _usage(view: ReportView) -> str:
    times = view.agent_s
    return _table(
        ["median", "90 %", "99 %", "tokens in", "tokens out", "model calls", "cost"],
        [
            [
                *(
                    (seconds(times.p50), seconds(times.p90), seconds(times.p99))
                    if times
                    else (UNKNOWN, UNKNOWN, UNKNOWN)
                ),
                count(view.usage.input_tokens),
                count(view.usage.output_tokens),
                count(view.usage.calls),
                usd(view.usage.cost_usd),
            ]
        ],
    )


def _headline(view: ReportView) -> str:
    overall = view.overall
    likely = span(overall.interval_low, overall.interval_high)
    grade = "" if overall.grade is None else f", grade {overall.grade}"
    bounds = span(overall.lower, overall.upper)
    return f"95 % interval {likely}, bounds {bounds}, coverage {percent(overall.coverage)}{grade}."


def _record(view: ReportView) -> str:
    run = view.run
    facts = f"status {run.status}, plan `{run.plan.digest}`, seed {run.plan.seed}"
    return f"Run `{run.id}` of {moment(run.created)}, {facts}."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in cells) + " |" for cells in lines)


def _cell(text: str) -> str:
    """Text that cannot leave its cell or become markup; our own emphasis stays."""
    flat = line(text).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return flat.replace("[", "\\[").replace("`", "\\`")
