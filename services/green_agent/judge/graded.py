"""A judge measured against people's points for answers: one question an answer, in the words that runs use."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from services.contract import agreement
from services.contract.judgements import Judgement
from services.contract.seeds import derive
from services.green_agent.judge.calibration import Judged, cost_of, digest_of, figure, hear
from services.green_agent.judge.labels import GradedSet
from services.green_agent.judge.panel import JudgePanel
from services.green_agent.judge.records import Calibration, Figure, GradedFigures


async def measure(panel: JudgePanel, graded: GradedSet, *, told: Callable[[int], None]) -> Calibration:
    """Ask the judge for the points of every answer and compare. `told` hears how many are done.

    Answers without a verdict are counted by kind, not guessed.
    """
    record: list[Judgement] = []
    heard = await hear(panel, graded.labels, record, "plain", told=told)
    return Calibration(
        judge=panel.name,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        labels_sha256=digest_of(graded.labels),
        benchmark=graded.name,
        origin=graded.origin,
        noticed=graded.noticed,
        failed=dict(heard.failed),
        graded=graded_figures(heard.judged.values(), graded) if heard.judged else None,
        cost_usd=cost_of(record),
    )


def graded_figures(judged: Iterable[Judged], graded: GradedSet) -> GradedFigures:
    """Figures over at least one answer with points. Answers to one problem stand and fall together."""
    clusters: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for one in judged:
        clusters[one.label.task_id].append((float(one.label.score or 0), one.said))
    found = agreement.of_points(
        [*clusters.values()],
        grade=graded.grade,
        grades=[grade.name for grade in graded.grades],
        seed=derive(0, "calibration", "points"),
    )
    return GradedFigures(
        labels=len(graded.labels),
        judged=found.units,
        accuracy=_shown(found.same_grade),
        exact=_shown(found.exact),
        within_one=_shown(found.within_one),
        mean_absolute_error=_shown(found.mean_absolute_error),
        bias=_shown(found.bias),
        kappa=_shown(found.quadratic_kappa),
        correlation=_shown(found.correlation),
        counts={first: dict(row) for first, row in found.counts.items()},
        confusion={first: {name: _shown(cell) for name, cell in row.items()} for first, row in found.shares.items()},
    )


def _shown(estimate: agreement.Estimate) -> Figure:
    return figure(estimate.value, estimate.interval)
