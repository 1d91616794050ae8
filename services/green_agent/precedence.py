"""Which value is in force: command line, then request, then suite, then environment, then default.

Pure but for reading variables. Every value is recorded with its source, and a key that nothing in the selection accepts is a
fault, so that nobody believes in a setting that has no effect. Finance specification 1.4.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, JsonValue, SecretStr, ValidationError

from services.contract.assessment import AssessmentConfig, RequestError, nearest
from services.green_agent.benchmarks.base import DatasetConfig
from services.green_agent.benchmarks.registry import BENCHMARKS, benchmark_class
from services.green_agent.judge.settings import JudgeSettings
from services.green_agent.suite import Suite

MAX_TASKS: Final = 1_000_000
"""Asked counts above this are read as `all`."""
Source = Literal["command line", "request", "suite", "environment", "default"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Flags:
    """What the command line of `green-agent serve` decides; None: nothing."""

    eval_llm: bool | None = None
    eval_llm_model: str | None = None
    eval_llm_temperature: float | None = None
    names_suite: bool = True
    """False when green serves its default suite: a request may then ask for any data set, with default keys."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """What is asked, with every value decided."""

    config: AssessmentConfig
    suite: Suite
    """With the values in force, but for its data sets."""
    entries: tuple[DatasetConfig, ...]
    """The data sets that are kept, with the request's keys in place of theirs."""
    asked: Mapping[str, DatasetConfig]
    """By entry, as the suite states it, without what was set here for generators."""
    type_limits: Mapping[str, int]
    """Tasks of a type over all its entries."""
    judge: JudgeSettings | None
    total: int | None
    """Tasks of the plan; None: all."""
    recorded: Mapping[str, JsonValue]
    """Every value in force with its source, without secrets."""

    @property
    def types(self) -> frozenset[str]:
        """The benchmarks that take part."""
        return frozenset(entry.type for entry in self.entries)


def settle(
    config: AssessmentConfig, suite: Suite, *, flags: Flags | None = None, variables: Mapping[str, str] | None = None
) -> Settled:
    """Decide every value. `variables`: the environment when None. Raises RequestError with every fault."""
    flags = flags or Flags()
    values = _Values(config, os.environ if variables is None else variables)
    values.name_suite(suite)
    settled = _settled_suite(suite, config, values)
    total = _total(suite, config, values)
    judge = _Judge(config, suite, flags, values).settled()
    entries = _entries(config, suite, flags, values)
    if values.faults:
        raise RequestError(values.faults)
    values.record_entries(entries)
    return Settled(
        config=config,
        suite=settled,
        entries=tuple(_with_room(entry, config.dataset_limits.get(entry.type), total) for entry in entries),
        asked={entry.name: entry for entry in entries},
        type_limits={name: limit for name, limit in config.dataset_limits.items() if limit},
        judge=judge,
        total=total,
        recorded=values.recorded,
    )


@dataclass(kw_only=True, slots=True)
class _Candidate:
    """A value and where it comes from; None: that source is silent."""

    source: Source
    value: Any  # values of different keys have no common type


class _Values:
    """Takes the first source that speaks, and keeps the record."""

    def __init__(self, config: AssessmentConfig, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.faults: list[str] = []
        labels = {"model_id": config.model_id} | config.extra
        self.recorded: dict[str, JsonValue] = {
            name: {"value": value, "source": "request"} for name, value in labels.items() if value is not None
        }

    def name_suite(self, suite: Suite) -> None:
        self.recorded["suite"] = {"value": suite.name, "source": f"suite {suite.version}"}
        if suite.asked_as is not None:
            self.recorded["suite_asked_as"] = {"value": suite.asked_as, "source": "old name"}

    def first[T](self, name: str, candidates: Sequence[_Candidate], *, default: T) -> T:
        """The first value that is not None. Recorded."""
        chosen = next((c for c in candidates if c.value is not None), _Candidate(source="default", value=default))
        self.record(name, chosen.value, chosen.source)
        value: T = chosen.value
        return value

    def record(self, name: str, value: JsonValue, source: Source) -> None:
        self.recorded[name] = {"value": value, "source": source}

    def record_entries(self, entries: Sequence[DatasetConfig]) -> None:
        for entry in entries:
            stated = entry.model_dump(mode="json", exclude_unset=True)
            self.recorded[f"datasets.{entry.name}"] = {"value": stated, "source": "suite"}

    def variable[T](self, name: str, kind: type[T]) -> T | None:
        """A variable of the environment as a value of this kind; empty counts as not set."""
        text = self._variables.get(name, "").strip()
        if not text:
            return None
        read: dict[str, object] = {"true": True, "1": True, "false": False, "0": False}
        try:
            value = read[text.lower()] if kind is bool else kind(text)  # type: ignore[call-arg]  # int, float and str take text
        except (ValueError, KeyError):
            self.faults.append(f"{name}: expected {kind.__name__}, got {text!r}")
            return None
        return value  # type: ignore[return-value]  # a bool for bool


def _stated(model: BaseModel | None, name: str) -> Any:  # noqa: ANN401 - a field of any type
    """A value the file states; None when it is silent."""
    return getattr(model, name) if model is not None and name in model.model_fields_set else None


def _three(values: _Values, name: str, request: object, suite: object, default: object = None, **env: type) -> Any:  # noqa: ANN401
    """Request, then suite, then a variable, then default."""
    candidates = [_Candidate(source="request", value=request), _Candidate(source="suite", value=suite)]
    candidates += [_Candidate(source="environment", value=values.variable(key, kind)) for key, kind in env.items()]
    return values.first(name, candidates, default=default)
