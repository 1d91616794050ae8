"""Records of calibration: how far a judge with certain prompts agrees with people. Kept beside the cache, shown in reports."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
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


class Calibration(BaseModel):
    """One calibration of one judge."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    judge: str
    """Models and digest of the prompts."""
    made: str
    """Time, ISO 8601."""
    labels_sha256: str
    failed: dict[str, int] = Field(default_factory=dict)
    """Labels without a verdict, by kind of failure."""
    criteria: CriteriaFigures | None = None
    scales: dict[str, ScaleFigures] = Field(default_factory=dict)
    paraphrased: Flips | None = None
    swapped: Flips | None = None
    cost_usd: float | None = None

    @property
    def kappa(self) -> float | None:
        """Agreement with people on criteria; None where it is undefined."""
        return self.criteria.kappa.value if self.criteria is not None else None

    @property
    def headline(self) -> str:
        """One line for a report: kappa, with a warning where it is low."""
        kappa = self.kappa
        if kappa is None:
            return "judge: calibrated, kappa undefined"
        low, high = (self.criteria.kappa.low, self.criteria.kappa.high) if self.criteria is not None else (None, None)
        interval = "" if low is None or high is None else f" [{low:.2f}, {high:.2f}]"
        warning = "" if kappa >= LEAST_KAPPA else f"; warning: below {LEAST_KAPPA:g}, verdicts are not to be relied on"
        return f"judge: kappa {kappa:.2f}{interval}{warning}"


UNCALIBRATED: Final = "judge: uncalibrated"


def judge_name(endpoints: Sequence[Endpoint]) -> str:
    """Models and digest of the prompts, for `scored_by` and for the record of calibration."""
    return f"{'+'.join(endpoint.model for endpoint in endpoints)}@{template_digest()[:8]}"


def calibration_in(folder: Path, name: str) -> Calibration | None:
    """The last calibration of the judge of this name; None when there is none that can be read."""
    try:
        return Calibration.model_validate_json(_file(folder, name).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.warning("judge_calibration_unreadable", judge=name, reason=str(error))
        return None


def keep_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write the record in the place of an older one; gives its file."""
    file = _file(folder, calibration.judge)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_text(calibration.model_dump_json(indent=2), encoding="utf-8")
    part.replace(file)
    return file


def _file(folder: Path, name: str) -> Path:
    return folder / "calibrations" / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"
