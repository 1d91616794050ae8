"""Evaluation suites: which data sets are asked and how they are sampled (`config/evals/*.yaml`).

Strict: unknown keys, duplicate keys and values out of range are errors, all reported together with file and key.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.contract.assessment import Strategy, nearest
from services.contract.results import Section
from services.green_agent.benchmarks.base import DatasetConfig
from services.green_agent.benchmarks.registry import UnknownBenchmarkError, benchmark_class
from services.green_agent.judge.settings import JudgeSettings


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
    section_weights: dict[Section, float] = Field(default_factory=dict)
    """Share of each section in the overall score; equal when empty. Renormalised over the sections of the plan."""
    timeout_seconds: float = Field(default=300.0, gt=0)
    """Deadline of one reply of the agent."""
    trial_timeout_seconds: float | None = Field(default=None, gt=0)
    """Deadline of a trial; null: `timeout_seconds` x planned messages."""
    num_trials: int = Field(default=1, ge=1)
    """Trials of each task."""
    debate: bool = False
    """One follow-up question per task, kept in the transcript, never part of the score."""


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[str] = set()
        for key_node, _ in node.value:
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    "while reading a mapping", node.start_mark, f"duplicate key {key_node.value!r}", key_node.start_mark
                )
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def suites_dir() -> Path:
    """Folder of the suites that come with Assay: `$ASSAY_CONFIG_DIR/evals`, else `config/evals` of the checkout."""
    configured = os.environ.get("ASSAY_CONFIG_DIR")
    root = Path(configured) if configured else Path(__file__).resolve().parents[2] / "config"
    return root / "evals"


def find_suite(name: str) -> Path:
    """The file of a suite given by path, or by the name of one that comes with Assay. Raises SuiteError."""
    path = Path(name)
    if path.is_file():
        return path
    return bundled_suite(name)


def bundled_suite(name: str) -> Path:
    """The file of a suite that comes with Assay; a request may name only these. Raises SuiteError."""
    known = {path.stem: path for path in sorted(suites_dir().glob("*.yaml"))}
    stem = Path(name).stem
    if stem not in known:
        raise SuiteError(f"no suite {name!r}{nearest(stem, known)}")
    return known[stem]


def load_suite(path: Path) -> Suite:
    """Read and validate a suite file. Raises SuiteError with every fault found."""
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a safe loader that is stricter
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SuiteError(_syntax_fault(path, error)) from None
    if not isinstance(raw, dict):
        raise SuiteError(f"{path}: expected a mapping with name and datasets, got {type(raw).__name__}")
    return parse_suite(raw, origin=str(path))


def parse_suite(raw: dict[str, Any], *, origin: str) -> Suite:
    """Validate a suite that was read from `origin`. Raises SuiteError with every fault found."""
    faults: list[str] = []
    entries = raw.get("datasets")
    listed = entries if isinstance(entries, list) else []
    parsed = [_dataset(entry, f"datasets[{number}]", faults) for number, entry in enumerate(listed)]
    datasets = _with_names([config for config in parsed if config is not None])
    placeholder = DatasetConfig(type="unusable")
    try:
        suite = Suite.model_validate(raw | ({"datasets": datasets or [placeholder]} if listed else {}))
    except ValidationError as error:
        faults += _faults(error, "", Suite)
        raise SuiteError("\n".join(f"{origin}: {fault}" for fault in faults)) from None
    if faults:
        raise SuiteError("\n".join(f"{origin}: {fault}" for fault in faults))
    return suite


def _dataset(raw: object, where: str, faults: list[str]) -> DatasetConfig | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        faults.append(f"{where}: expected a mapping with a type, got {raw!r}")
        return None
    try:
        model = benchmark_class(raw["type"]).config_model
    except UnknownBenchmarkError as error:
        faults.append(f"{where}.type: {error}")
        return None
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        faults += _faults(error, where + ".", model)
        return None


def _with_names(configs: list[DatasetConfig]) -> list[DatasetConfig]:
    """Every entry gets a unique label: its name, or its type, numbered from the second on."""
    counts: dict[str, int] = {}
    named: list[DatasetConfig] = []
    for config in configs:
        label = config.name or config.type
        counts[label] = counts.get(label, 0) + 1
        unique = label if counts[label] == 1 else f"{label}#{counts[label]}"
        named.append(config.model_copy(update={"name": unique}))
    return named


def _faults(error: ValidationError, prefix: str, model: type[BaseModel]) -> list[str]:
    faults = []
    for fault in error.errors(include_url=False):
        where = prefix + ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            key = str(fault["loc"][-1])
            known = model.model_fields if len(fault["loc"]) == 1 else Sampling.model_fields
            faults.append(f"{where}: unknown key{nearest(key, known)}")
        else:
            faults.append(f"{where}: {fault['msg']}, got {fault['input']!r}")
    return faults


def _syntax_fault(path: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark is not None else str(path)
    return f"{where}: not valid YAML ({getattr(error, 'problem', None) or error})"
