"""What a report shows of `Measures` and task types: one line each, for the terminal, Markdown and the page alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from services.contract.results import DatasetScore, Measure


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureLine:
    """One measure of one benchmark; shares of 0..100, None unknown."""

    benchmark: str
    name: str
    value: float | None
    low: float | None
    high: float | None
    n: int
    """Tasks in the mean; trials, where the name says so."""
    left_out: int
    """Tasks that could not enter it."""
    is_stratum: bool = False
    """The score of one task type; the terminal leaves those to the pages, since a benchmark may have dozens."""


def lines_of(scores: Mapping[str, DatasetScore]) -> list[MeasureLine]:
    """The measures of a result, benchmark by benchmark."""
    return [
        MeasureLine(
            benchmark=benchmark,
            name=name,
            value=None if measure.value is None else 100 * measure.value,
            low=None if measure.lower is None else 100 * measure.lower,
            high=None if measure.upper is None else 100 * measure.upper,
            n=measure.n,
            left_out=measure.left_out,
            is_stratum=is_stratum,
        )
        for benchmark, score in scores.items()
        for is_stratum, found in ((False, _named(score)), (True, _strata(score)))
        for name, measure in found
    ]


def _named(score: DatasetScore) -> Iterator[tuple[str, Measure]]:
    found = score.measures
    if found is not None:
        yield from ((f"pass@{k}", measure) for k, measure in found.pass_at.items())
        yield from ((f"pass^{k}", measure) for k, measure in found.pass_hat.items())
        facts = {
            "average pass rate": found.average_pass_rate,
            "exact match": found.exact_match,
            "oracle: best of trajectory": found.oracle_best_of_trajectory,
        }
        yield from ((name, measure) for name, measure in facts.items() if measure is not None)
        for step in found.accuracy_by_iteration:
            moved = f"{step.to_right} became right, {step.to_wrong} wrong" if step.iteration else "the first solutions"
            accuracy = Measure(value=step.accuracy, n=step.n, lower=step.lower, upper=step.upper)
            yield f"right as of iteration {step.iteration} (n trials; {moved})", accuracy


def _strata(score: DatasetScore) -> Iterator[tuple[str, Measure]]:
    yield from ((f"score of {stratum}", measure) for stratum, measure in score.by_stratum.items())
