"""Several purples on one plan as a command prints them: side by side, with their paired differences, or as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from services.contract.results import AssessmentResult, OverallScore, SectionScore
from services.contract.secrets import redact
from services.runner.comparison import Compared, Pair, object_of, pairs_of, pairs_table
from services.runner.journal import Journal
from services.runner.purples.swapping import Swapped, worst
from services.runner.summary import aligned, summary_object

_HEAD = ("section", "purple", "score", "95 % interval", "coverage", "bounds", "n")
_OVERALL = "overall"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standings:
    """The runs, and what can be said of them together."""

    done: Sequence[Swapped]
    pairs: Sequence[Pair]
    not_compared: Sequence[str]
    """Why a purple has no place in the pairs, one line each."""


def standings(done: Sequence[Swapped], results_dir: Path) -> Standings:
    """Compare the runs that have the same plan."""
    begun = [(one.role, one.outcome.run_id) for one in done if one.outcome is not None]
    not_compared = [f"{one.role} has no run" for one in done if one.outcome is None]
    if not begun:
        return Standings(done=done, pairs=(), not_compared=not_compared)
    by_plan: dict[str, list[Compared]] = {}
    with closing(Journal.open(results_dir, create=False)) as journal:
        for role, run_id in begun:
            run = journal.run(run_id)
            by_plan.setdefault(run.plan.digest, []).append(Compared(name=role, run=run, rows=journal.rows(run_id)))
    (first, *_), *others = by_plan.values()
    not_compared += [
        f"{one.name} has plan {one.run.plan.digest[:19]}, {first.name} has {first.run.plan.digest[:19]}: green planned"
        " other tasks for it, which cannot be compared"
        for group in others
        for one in group
    ]
    pairs = [pair for group in by_plan.values() for pair in pairs_of(group)]
    return Standings(done=done, pairs=pairs, not_compared=not_compared)


def standings_table(found: Standings) -> str:
    """Sections with each purple in turn, then the differences."""
    results = [(one.role, one.outcome.report.result) for one in found.done if one.outcome and one.outcome.report]
    lines = _side_by_side(results) if results else []
    if found.pairs:
        lines += ["", pairs_table(found.pairs)]
    return "\n".join([*lines, *(f"! not compared: {reason}" for reason in found.not_compared)])


def standings_object(found: Standings) -> dict[str, JsonValue]:
    """The object of `--json`."""
    pairs: list[JsonValue] = [object_of(pair.differences, (pair.first, pair.second)) for pair in found.pairs]
    return {
        "exit_code": int(worst(found.done)),
        "runs": [_run(one) for one in found.done],
        "comparisons": pairs,
        "not_compared": [*found.not_compared],
    }


def _run(one: Swapped) -> JsonValue:
    if one.outcome is not None:
        return {"purple": one.role, **summary_object(one.outcome)}
    return {"purple": one.role, "run": None, "exit_code": int(one.exit_code), "error": redact(str(one.error))}


def _side_by_side(results: Sequence[tuple[str, AssessmentResult]]) -> list[str]:
    names = dict.fromkeys(section.section for _, result in results for section in result.sections)
    body: list[tuple[str, ...]] = []
    for name in names:
        for role, result in results:
            body += [_line(name.replace("_", " "), role, one) for one in result.sections if one.section is name]
    return aligned([_HEAD, *body, *(_overall(role, result) for role, result in results)])


def _line(name: str, role: str, score: SectionScore) -> tuple[str, ...]:
    coverage = score.counted / score.planned if score.planned else 1.0
    return (*_told(name, role, score, coverage), f"{score.counted}/{score.planned}")


def _overall(role: str, result: AssessmentResult) -> tuple[str, ...]:
    counted, planned = (sum(getattr(one, name) for one in result.sections) for name in ("counted", "planned"))
    overall = result.overall_score
    return (*_told(_OVERALL, role, overall, overall.coverage), f"{counted}/{planned}")


def _told(name: str, role: str, score: SectionScore | OverallScore, coverage: float) -> tuple[str, ...]:
    return (
        name,
        role,
        "-" if score.score is None else f"{score.score:.1f}",
        _range(score.interval_low, score.interval_high),
        f"{100 * coverage:.1f} %",
        _range(score.lower, score.upper),
    )


def _range(low: float | None, high: float | None) -> str:
    return "unknown" if low is None or high is None else f"{low:.1f}..{high:.1f}"
