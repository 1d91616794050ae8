"""Evaluation suites: which data sets are asked and how they are sampled (`config/evals/*.yaml`).

Strict: unknown keys, duplicate keys and values out of range are errors, all reported together with file, line and key path.
Which value is in force when a request, a suite and the environment disagree is decided in `precedence.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, ValidationError, field_validator

from services.contract.assessment import SectionMean, Strategy, nearest
from services.contract.results import Section
from services.green_agent.benchmarks.base import MOST_WEIGHT, DatasetConfig
from services.green_agent.benchmarks.registry import UnknownBenchmarkError, benchmark_class
from services.green_agent.judge.settings import JudgeSettings
from services.green_agent.suites.document import Document, DocumentError, KeyPath, read_document
from services.green_agent.suites.faults import explained

log = structlog.get_logger()

OLD_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "eval_quick_test": "quick",
        "eval_medium": "medium",
        "eval_large": "large",
        "eval_config": "default",
        "eval_all": "default",
    }
)
"""Names that guides written for another evaluator use, and our suites of that size and of those data sets."""
Weight = Annotated[float, Field(ge=0, le=MOST_WEIGHT)]


class SuiteError(Exception):
    """A suite is missing or wrong. The text lists every fault with file and key."""


class Sampling(BaseModel):
    """How tasks are chosen from the pools."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    strategy: Strategy = "stratified"
    """stratified, random, sequential or weighted."""
    total_limit: int | None = Field(default=None, ge=1)
    """Tasks in the plan; null means all."""
    seed: int = 42
    """Run seed."""
    strict_counts: bool = False
    """Refuse the plan instead of noting a shortfall."""


class Suite(BaseModel):
    """One validated suite."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    version: str = "1.0"
    description: str = ""
    datasets: tuple[DatasetConfig, ...] = Field(min_length=1)
    sampling: Sampling = Sampling()
    llm_eval: JudgeSettings | None = None
    """The judge; absent: there is none."""
    section_weights: dict[Section, Weight] = Field(default_factory=dict)
    """Share of each section in the overall score; equal when empty. Renormalised over the sections of the plan."""
    section_mean: SectionMean = "tasks"
    """tasks: a section's score is the mean over its tasks; datasets: the mean over the means of its data sets."""
    timeout_seconds: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    """Deadline of one reply of the agent."""
    trial_timeout_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Deadline of a trial; null: `timeout_seconds` x planned messages."""
    num_trials: int = Field(default=1, ge=1)
    """Trials of each task."""
    debate: bool = False
    """One follow-up question per task, kept in the transcript, never part of the score."""
    on_dataset_error: Literal["fail", "skip"] = "fail"
    """skip: a data set that cannot be loaded is recorded and leaves the bounds of its section open."""
    allow_unscored: bool = False
    """true: a data set that only a judge can score is asked even when there is none."""

    _folder: Path | None = PrivateAttr(default=None)
    _asked_as: str | None = PrivateAttr(default=None)

    @field_validator("section_weights")
    @classmethod
    def _something_weighs(cls, weights: dict[Section, float]) -> dict[Section, float]:
        if weights and not any(weights.values()):
            raise ValueError("expected at least one weight above 0")
        return weights

    @property
    def folder(self) -> Path | None:
        """Where the file lies; relative paths in it are tried here after the working directory."""
        return self._folder

    @property
    def asked_as(self) -> str | None:
        """The old name that led to this suite, when one did."""
        return self._asked_as

    def found_in(self, folder: Path, *, asked_as: str | None) -> Suite:
        """The same suite with the place it was read from."""
        placed = self.model_copy()
        placed._folder = folder  # noqa: SLF001 - its own
        placed._asked_as = asked_as  # noqa: SLF001 - its own
        return placed


def suites_dir() -> Path:
    """Folder of the suites that come with Assay: `$ASSAY_CONFIG_DIR/evals`, else `config/evals` of the checkout."""
    configured = os.environ.get("ASSAY_CONFIG_DIR")
    root = Path(configured) if configured else Path(__file__).resolve().parents[2] / "config"
    return root / "evals"


def find_suite(name: str) -> Path:
    """The file of a suite given by path, or by a name of one that comes with Assay. Raises SuiteError."""
    path = Path(name)
    if path.is_file():
        return path
    return bundled_suite(name)


def bundled_suite(name: str) -> Path:
    """The file of a suite that comes with Assay; a request may name only these. Raises SuiteError.

    For an old name this is a path that does not exist: `load_suite` finds what it stands for, and keeps the name.
    """
    known = {path.stem: path for path in sorted(suites_dir().glob("*.yaml"))}
    stem = Path(name).stem
    if stem in known:
        return known[stem]
    if OLD_NAMES.get(stem) in known:
        return suites_dir() / f"{stem}.yaml"
    raise SuiteError(f"no suite {name!r}{nearest(stem, known)}")


def load_suite(path: Path) -> Suite:
    """Read and validate a suite file. Raises SuiteError with every fault found."""
    asked_as = None
    if not path.is_file() and path.stem in OLD_NAMES:
        asked_as, path = path.name, suites_dir() / f"{OLD_NAMES[path.stem]}.yaml"
        log.info("suite_found_by_old_name", asked=asked_as, suite=path.stem)
    try:
        document = read_document(path.read_text(encoding="utf-8"), origin=str(path), variables=os.environ)
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise SuiteError(f"{path}: not valid YAML ({error})") from None
    except DocumentError as error:
        raise SuiteError(str(error)) from None
    return suite_of(document).found_in(path.resolve().parent, asked_as=asked_as)


def suite_of(document: Document) -> Suite:
    """Validate what a file says. Raises SuiteError with every fault found."""
    raw = document.value
    if not isinstance(raw, dict):
        raise SuiteError(f"{document.where(())}: expected a mapping with name and datasets, got {type(raw).__name__}")
    faults = list(document.faults.values())
    entries = raw.get("datasets")
    listed = entries if isinstance(entries, list) else []
    parsed = [_dataset(entry, document, ("datasets", place), faults) for place, entry in enumerate(listed)]
    datasets = _with_names([config for config in parsed if config is not None])
    usable = datasets or [DatasetConfig(type="unusable")]
    try:
        suite = Suite.model_validate(raw | ({"datasets": usable} if listed else {}))
    except ValidationError as error:
        faults += explained(error, document, model=Suite)
        raise SuiteError("\n".join(sorted(faults, key=document.line_of))) from None
    if faults:
        raise SuiteError("\n".join(sorted(faults, key=document.line_of)))
    return suite


def _dataset(raw: JsonValue, document: Document, at: KeyPath, faults: list[str]) -> DatasetConfig | None:
    kind = raw.get("type") if isinstance(raw, dict) else None
    if not isinstance(kind, str):
        faults.append(f"{document.where(at)}: expected a mapping with a type")
        return None
    try:
        model = benchmark_class(kind).config_model
    except UnknownBenchmarkError as error:
        faults.append(f"{document.where((*at, 'type'))}: {error}")
        return None
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        faults += explained(error, document, model=model, at=at)
        return None


def _with_names(configs: list[DatasetConfig]) -> list[DatasetConfig]:
    """Every entry gets a unique label: its name, or its type, numbered from the second on."""
    taken: set[str] = set()
    named: list[DatasetConfig] = []
    for config in configs:
        label = config.name or config.type
        unique = next(
            name for number in count(1) if (name := label if number == 1 else f"{label}#{number}") not in taken
        )
        taken.add(unique)
        named.append(config.model_copy(update={"name": unique}))
    return named
