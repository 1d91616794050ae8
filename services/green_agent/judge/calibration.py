"""How far a judge agrees with people: asks it for the labels' verdicts, also in other words and in another order."""

from __future__ import annotations

import asyncio
import hashlib
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import atanh, sqrt, tanh
from typing import Final

from services.contract import agreement, estimators
from services.contract.assessment import PlannedTrial
from services.contract.judgements import Judgement
from services.contract.outcomes import Failure
from services.contract.results import Section
from services.contract.seeds import derive
from services.green_agent.judge.asking import Judge
from services.green_agent.judge.labels import Label
from services.green_agent.judge.panel import JudgePanel
from services.green_agent.judge.questions import Wording
from services.green_agent.judge.records import Calibration, CriteriaFigures, Figure, Flips, ScaleFigures

UNDEFINED: Final = Figure(value=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A label with what the judge said; a boolean for a criterion, a number for a scale."""

    label: Label
    said: float


@dataclass(kw_only=True, slots=True)
class Heard:
    """Everything the judge said in one wording."""

    judged: dict[int, Judged] = field(default_factory=dict)
    """By place of the label."""
    failed: Counter[str] = field(default_factory=Counter)
    told: Callable[[int], None] = lambda _: None

    @property
    def done(self) -> int:
        """Labels that were asked about."""
        return len(self.judged) + self.failed.total()


async def calibrate(panel: JudgePanel, labels: Sequence[Label]) -> Calibration:
    """Ask the judge for every label and compare. Labels without a verdict are counted by kind, not guessed."""
    record: list[Judgement] = []
    plain = await hear(panel, labels, record, "plain")
    paraphrased = await hear(panel, labels, record, "paraphrased")
    swapped = await hear(panel, labels, record, "swapped")
    return Calibration(
        judge=panel.name,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        labels_sha256=digest_of(labels),
        failed=dict(plain.failed),
        criteria=criteria_figures([one for one in plain.judged.values() if one.label.met is not None], labels),
        scales=_scales(plain, labels),
        paraphrased=_flips(plain, paraphrased),
        swapped=_flips(plain, swapped),
        cost_usd=cost_of(record),
    )


def cost_of(record: Sequence[Judgement]) -> float | None:
    """What these calls cost now; None when the price of one is unknown."""
    costs = [made.cost_usd for made in record if not made.cached and (not made.kind or made.input_tokens is not None)]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def criteria_figures(judged: Sequence[Judged], labels: Sequence[Label]) -> CriteriaFigures | None:
    """Figures over verdicts on criteria; None when there are no such labels."""
    asked = sum(label.met is not None for label in labels)
    if not asked:
        return None
    counts = Counter((bool(one.label.met), bool(one.said)) for one in judged)
    right = counts[True, True] + counts[False, False]
    said_met, truly_met = counts[True, True] + counts[False, True], counts[True, True] + counts[True, False]
    lengths = [len(one.label.answer) for one in judged]
    return CriteriaFigures(
        labels=asked,
        judged=len(judged),
        accuracy=_share(right, len(judged)),
        precision=_share(counts[True, True], said_met),
        recall=_share(counts[True, True], truly_met),
        kappa=_kappa(judged),
        length_correlation=_correlation([one.said for one in judged], lengths),
        length_correlation_of_labels=_correlation([float(bool(one.label.met)) for one in judged], lengths),
    )


def scale_figures(judged: Sequence[Judged], *, labels: int) -> ScaleFigures:
    """Figures over the ratings on one scale."""
    given = [float(one.label.score or 0) for one in judged]
    said = [one.said for one in judged]
    errors = [abs(a - b) for a, b in zip(given, said, strict=True)]
    return ScaleFigures(
        labels=labels,
        judged=len(judged),
        mean_absolute_error=_mean(errors),
        correlation=_fisher(_correlation(given, said), len(judged)),
        length_correlation=_correlation(said, [len(one.label.answer) for one in judged]),
    )


async def hear(
    panel: JudgePanel,
    labels: Sequence[Label],
    record: list[Judgement],
    wording: Wording,
    *,
    told: Callable[[int], None] = lambda _: None,
) -> Heard:
    """Ask about every answer once, all of its criteria together. `told` hears how many labels are done."""
    heard = Heard(told=told)
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, label in enumerate(labels):
        groups[_group(label)].append(place)
    async with asyncio.TaskGroup() as group:
        for places in groups.values():
            if wording == "swapped" and not _has_order([labels[place] for place in places]):
                continue  # the prompt would be the same, and no flip of it says anything
            trial = _trial(labels[places[0]])
            judge = panel.for_trial(trial, record, wording=wording)
            group.create_task(_ask(judge, {place: labels[place] for place in places}, heard))
    return heard


def _has_order(labels: Sequence[Label]) -> bool:
    """Whether there are texts or criteria that can come in the reverse order."""
    first = labels[0]
    return bool(first.question or first.references) or (first.met is not None and len(labels) > 1)


def _group(label: Label) -> tuple[object, ...]:
    return (
        label.task_id, label.answer, label.question, label.references, label.instructions, label.score is None
    )  # fmt: skip


async def _ask(judge: Judge, labels: Mapping[int, Label], heard: Heard) -> None:
    try:
        said = await _said(judge, [*labels.values()])
    except Failure as failure:
        heard.failed[failure.kind] += len(labels)
    else:
        heard.judged |= {
            place: Judged(label=label, said=value) for (place, label), value in zip(labels.items(), said, strict=True)
        }
    heard.told(heard.done)


async def _said(judge: Judge, labels: Sequence[Label]) -> list[float]:
    case = labels[0].case
    if labels[0].met is not None:
        verdict = await judge.criteria(case, [label.criterion for label in labels])
        return [float(met) for met in verdict.met]
    scales = {label.criterion_id: label.scale for label in labels}
    rated = await judge.scales(case, [*scales.values()])
    return [rated.scores[label.criterion_id] for label in labels]


def _trial(label: Label) -> PlannedTrial:
    section = Section.PROFESSIONAL_TASKS
    return PlannedTrial(
        benchmark="calibration", section=section, stratum="calibration", task_id=label.task_id, task_digest=""
    )


def _scales(heard: Heard, labels: Sequence[Label]) -> dict[str, ScaleFigures]:
    asked = Counter(label.criterion_id for label in labels if label.score is not None)
    return {
        name: scale_figures(
            [one for one in heard.judged.values() if one.label.score is not None and one.label.criterion_id == name],
            labels=count,
        )
        for name, count in sorted(asked.items())
    }


def _flips(plain: Heard, other: Heard) -> Flips:
    """Verdicts that exist in both wordings and differ."""
    both = [place for place in plain.judged if place in other.judged]
    flipped = sum(plain.judged[place].said != other.judged[place].said for place in both)
    return Flips(compared=len(both), flipped=flipped, share=_share(flipped, len(both)))


def _kappa(judged: Sequence[Judged]) -> Figure:
    if not judged:
        return UNDEFINED
    clusters: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for one in judged:
        clusters[one.label.task_id].append((bool(one.label.met), bool(one.said)))
    people, judge = zip(*(pair for pairs in clusters.values() for pair in pairs), strict=True)
    interval = agreement.cohen_kappa_interval([*clusters.values()], seed=derive(0, "calibration", "kappa"))
    return figure(agreement.cohen_kappa(people, judge), interval)


def _share(part: int, whole: int) -> Figure:
    if not whole:
        return UNDEFINED
    return figure(part / whole, estimators.wilson(successes=part, trials=whole))


def _mean(values: Sequence[float]) -> Figure:
    if not values:
        return UNDEFINED
    # The bootstrap cannot see beyond its sample: equal values would give an interval of no width.
    spread = len(set(values)) > 1
    interval = estimators.bootstrap_mean(values, seed=derive(0, "calibration", "error")) if spread else None
    return figure(statistics.fmean(values), interval)


def _correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's r; None where one side does not vary."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return None
    return statistics.correlation(first, second)


def _fisher(r: float | None, count: int) -> Figure:
    """R with the interval of its z-transform; without one for four pairs or fewer, and for a perfect r."""
    if r is None or count <= 4 or abs(r) >= 1:
        return Figure(value=r)
    half = estimators.Z95 / sqrt(count - 3)
    return Figure(value=r, low=tanh(atanh(r) - half), high=tanh(atanh(r) + half))


def figure(value: float | None, interval: estimators.Interval | None) -> Figure:
    """A figure for the record."""
    if value is None or interval is None:
        return Figure(value=value)
    return Figure(value=value, low=interval.low, high=interval.high)


def digest_of(labels: Sequence[Label]) -> str:
    """The sha256 of the labels, in hex."""
    return hashlib.sha256("\n".join(label.model_dump_json() for label in labels).encode()).hexdigest()
