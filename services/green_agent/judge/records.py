"""Records of calibration: how far a judge with certain prompts agrees with people. Kept beside the cache, shown in reports."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.contract.endpoints import Endpoint
from services.green_agent.judge.prompts import template_digest

log = structlog.get_logger()

LEAST_KAPPA: Final = 0.6
"""Below this a report warns."""


class Figure(BaseModel):
    """A figure with its 95 % interval; None where it is undefined."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None = None
    high: float | None = None


class CriteriaFigures(BaseModel):
    """Agreement on labels that say whether a criterion is met."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    labels: int
    judged: int
    accuracy: Figure
    precision: Figure
    recall: Figure
    kappa: Figure
    length_correlation: float | None
    """Of the verdict `met` with the length of the answer, -1..1."""
    length_correlation_of_labels: float | None
    """The same for the people's labels: what is left between the two is the judge's taste for length."""


class ScaleFigures(BaseModel):
    """Agreement on labels that give a number on a scale, in points of that scale."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    labels: int
    judged: int
    mean_absolute_error: Figure
    correlation: Figure
    length_correlation: float | None


class Flips(BaseModel):
    """How many verdicts change when only the way of asking does."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    compared: int
    flipped: int
    share: Figure


class GradedFigures(BaseModel):
    """Agreement on a data set of people's points, in points of its scale. Intervals: bootstrap over problems."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    labels: int
    judged: int
    accuracy: Figure
    """Share in which the grades agree, see `confusion`."""
    exact: Figure
    """Share in which the points are the same."""
    within_one: Figure
    mean_absolute_error: Figure
    bias: Figure
    """Mean of the judge's points less the person's; above 0 for a lenient judge."""
    kappa: Figure
    """Cohen's, with quadratic weights, of the points."""
    correlation: Figure
    """Pearson's, of the points."""
    counts: dict[str, dict[str, int]]
    """How often the person's grade met each of the judge's."""
    confusion: dict[str, dict[str, Figure]]
    """The same as shares of the person's grade."""


class Calibration(BaseModel):
    """One calibration of one judge."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    judge: str
    """Models and digest of the prompts."""
    made: str
    """Time, ISO 8601."""
    labels_sha256: str
    benchmark: str = ""
    """Data set the labels come from, with the digest of the words that ask for them; empty: a file of the user's."""
    origin: str = ""
    """Where that data set was found."""
    noticed: tuple[str, ...] = ()
    """What its rows say that does not fit together."""
    failed: dict[str, int] = Field(default_factory=dict)
    """Labels without a verdict, by kind of failure."""
    criteria: CriteriaFigures | None = None
    scales: dict[str, ScaleFigures] = Field(default_factory=dict)
    graded: GradedFigures | None = None
    paraphrased: Flips | None = None
    swapped: Flips | None = None
    cost_usd: float | None = None

    @property
    def judged(self) -> int:
        """Labels with a verdict."""
        of_scales = sum(scale.judged for scale in self.scales.values())
        return of_scales + sum(found.judged for found in (self.criteria, self.graded) if found is not None)

    @property
    def kappa(self) -> float | None:
        """Agreement with people on criteria or on points; None where it is undefined."""
        return self._kappa.value

    @property
    def _kappa(self) -> Figure:
        figures = self.criteria or self.graded
        return Figure(value=None) if figures is None else figures.kappa

    @property
    def headline(self) -> str:
        """One line for a report: kappa, with a warning where it is low."""
        kappa, low, high = self._kappa.value, self._kappa.low, self._kappa.high
        on = f"on {self.benchmark} " if self.benchmark else ""
        if kappa is None:
            return f"judge: {on}calibrated, kappa undefined"
        interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
        warning = "" if kappa >= LEAST_KAPPA else f"; warning: below {LEAST_KAPPA:g}, verdicts are not to be relied on"
        failed = sum(self.failed.values())
        size = f", {self.judged} answers" if self.benchmark else ""
        short = f", {failed} without a verdict" if self.benchmark and failed else ""
        return f"judge: {on}kappa {kappa:.2f}{interval}{size}{short}{warning}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How far a judge is known to agree with people on what it was asked."""

    headline: str
    kappa: float | None
    """The lowest; None while one of them is unknown or undefined."""
    records: dict[str, Calibration | None]
    """By data set; empty name: labels of the user's."""


PREFIX: Final = "judge: "
UNCALIBRATED: Final = f"{PREFIX}uncalibrated"


def judge_name(endpoints: Sequence[Endpoint]) -> str:
    """Models and digest of the prompts, for `scored_by` and for the record of calibration."""
    return f"{'+'.join(endpoint.model for endpoint in endpoints)}@{template_digest()[:8]}"


def standing_in(folder: Path, name: str, benchmarks: Iterable[str]) -> Standing:
    """What the last calibrations of this judge say, for each data set that speaks for what was asked."""
    records = {one: calibration_in(folder, name, one) for one in sorted(benchmarks)}
    told = [_told(benchmark, record) for benchmark, record in records.items()]
    kappas = [None if record is None else record.kappa for record in records.values()]
    known = [kappa for kappa in kappas if kappa is not None]
    return Standing(
        headline=PREFIX + "; ".join(one.removeprefix(PREFIX) for one in told),
        kappa=min(known) if len(known) == len(kappas) else None,
        records=records,
    )


def _told(benchmark: str, record: Calibration | None) -> str:
    if record is not None:
        return record.headline
    return f"{PREFIX}not calibrated on {benchmark}" if benchmark else UNCALIBRATED


def calibration_in(folder: Path, name: str, benchmark: str = "") -> Calibration | None:
    """The last calibration of the judge of this name on this data set; None when there is none that can be read."""
    try:
        return Calibration.model_validate_json(_file(folder, name, benchmark).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("judge_calibration_unreadable", judge=name, reason=str(error))
        return None


def keep_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write the record in the place of an older one; gives its file."""
    file = _file(folder, calibration.judge, calibration.benchmark)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(calibration.model_dump_json(indent=2), encoding="utf-8")
    part.replace(file)
    return file


def _file(folder: Path, name: str, benchmark: str) -> Path:
    identity = f"{name}|{benchmark}" if benchmark else name
    return folder / "calibrations" / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.json"
