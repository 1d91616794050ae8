"""Which value is in force: command line, then request, then suite, then environment, then default.

Every value is recorded with its source, and a key that nothing in the selection accepts is a fault, so that nobody believes
in a setting that has no effect. Finance specification 1.4.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, JsonValue, SecretStr, ValidationError

from services.contract.assessment import AssessmentConfig, RequestError, nearest
from services.contract.secrets import MASK, redact
from services.green_agent.benchmarks.base import DatasetConfig
from services.green_agent.benchmarks.registry import BENCHMARKS, benchmark_class
from services.green_agent.judge.settings import JudgeSettings
from services.green_agent.suite import Suite
from services.green_agent.suites.requested_judge import address_faults, settings_faults, told_by_suite

MAX_TASKS: Final = 1_000_000
"""Asked counts above this are read as `all`."""
MOST_MADE: Final = 5_000
"""Tasks that a request can have a generator make for one entry; a suite may state more by `generator.count`."""
JUDGE_FACTS: Final = ("enabled", "model", "temperature", "provider", "api_base", "panel", "fallback")
"""What the record says of the judge. Never a key."""
_QUERY: Final = re.compile(r"(https?://[^\s?]{1,2000})\?\S+")
"""Addresses are signed in their query."""
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
    """With the values in force, but for its data sets and its judge."""
    entries: tuple[DatasetConfig, ...]
    """The data sets that are kept, with the request's keys in place of theirs."""
    stated: Mapping[str, DatasetConfig]
    """By entry: without the limits that only tell a generator how much could be needed."""
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

    @property
    def wants_judge(self) -> bool:
        """True when a judge is enabled."""
        return self.judge is not None and self.judge.enabled


def settle(
    config: AssessmentConfig,
    suite: Suite,
    *,
    flags: Flags | None = None,
    variables: Mapping[str, str] | None = None,
) -> Settled:
    """Decide every value. `variables`: the environment when None. Raises RequestError with every fault."""
    flags = flags or Flags()
    values = _Values(os.environ if variables is None else variables)
    values.label(config, suite)
    entries = _entries(config, suite, flags, values)
    total = _total(config, suite, values)
    in_force = _suite(config, suite, values)
    judge = _judge(config, suite, flags, values)
    # A pool that grew with the plan would make a larger random plan lose tasks of a smaller one.
    room = None if in_force.sampling.strategy == "random" else total
    if values.faults:
        raise RequestError(values.faults)
    return Settled(
        config=config,
        suite=in_force,
        entries=tuple(_with_room(entry, room) for entry in entries),
        stated={entry.name: entry for entry in entries},
        type_limits={name: limit for name, limit in config.dataset_limits.items() if limit},
        judge=judge,
        total=total,
        recorded=values.recorded,
    )


class _Values:
    """Takes the first source that speaks, keeps the record and collects faults."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.faults: list[str] = []
        self.recorded: dict[str, JsonValue] = {}

    def label(self, config: AssessmentConfig, suite: Suite) -> None:
        self.recorded["suite"] = {"value": suite.name, "source": f"suite {suite.version}"}
        if suite.asked_as is not None:
            self.recorded["suite_asked_as"] = {"value": suite.asked_as, "source": "old name"}
        asked: dict[str, JsonValue] = {
            "eval_config": config.eval_config,
            "model_id": config.model_id,
            "task_ids": list[JsonValue](config.task_ids or ()) or None,
            "k": list[JsonValue](config.k or ()) or None,
        }
        for name, value in (asked | dict(config.extra)).items():
            if value is not None:
                self.record(name, value, "request")

    def record(self, name: str, value: JsonValue, source: Source) -> None:
        self.recorded[name] = {"value": _redacted(value), "source": source}

    def first(self, name: str, default: Any, **spoken: Any) -> Any:
        """The first of `command_line`, `request`, `suite`, `environment` that is not None, else the default. Recorded."""
        order: dict[str, Source] = {
            "command_line": "command line",
            "request": "request",
            "suite": "suite",
            "environment": "environment",
        }
        for key, source in order.items():
            if spoken.get(key) is not None:
                self.record(name, spoken[key], source)
                return spoken[key]
        self.record(name, default, "default")
        return default

    def variable(self, name: str, read: Callable[[str], Any]) -> Any:
        """A variable of the environment; None when it is not set or empty."""
        text = self._variables.get(name, "").strip()
        if not text:
            return None
        try:
            return read(text)
        except ValueError as error:
            self.faults.append(f"{name}: {error}")
            return None


def _boolean(text: str) -> bool:
    known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in known:
        raise ValueError(f"expected true or false, got {text!r}")
    return known[text.lower()]


def _stated(model: BaseModel | None, name: str) -> Any:
    """A value the file states; None when it is silent."""
    return getattr(model, name) if model is not None and name in model.model_fields_set else None


def _total(config: AssessmentConfig, suite: Suite, values: _Values) -> int | None:
    total: int | None = values.first(
        "num_tasks",
        None,
        request=config.num_instances or config.num_tasks,
        suite=_stated(suite.sampling, "total_limit"),
        environment=values.variable("EVAL_NUM_TASKS", _positive),
    )
    return None if total is None or total > MAX_TASKS else total


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"expected a count of at least 1, got {value}")
    return value


def _suite(config: AssessmentConfig, suite: Suite, values: _Values) -> Suite:
    """The suite with the values in force."""
    sampling = suite.sampling.model_copy(
        update={
            "seed": values.first(
                "seed",
                suite.sampling.seed,
                request=config.seed,
                suite=_stated(suite.sampling, "seed"),
                environment=values.variable("EVAL_SCENARIO_SEED", int),
            ),
            "strategy": values.first(
                "sampling_strategy",
                suite.sampling.strategy,
                request=config.sampling_strategy,
                suite=_stated(suite.sampling, "strategy"),
            ),
        }
    )
    values.first("strict_counts", sampling.strict_counts, suite=_stated(sampling, "strict_counts"))
    debate = values.first(
        "conduct_debate",
        suite.debate,
        request=config.conduct_debate,
        suite=_stated(suite, "debate"),
        environment=values.variable("EVAL_CONDUCT_DEBATE", _boolean),
    )
    asked: dict[str, object] = {
        "num_trials": config.num_trials,
        "timeout_seconds": config.timeout_seconds,
        "trial_timeout_seconds": config.trial_timeout_seconds,
        "section_mean": None,
        "on_dataset_error": None,
        "allow_unscored": None,
    }
    chosen = {
        name: values.first(name, getattr(suite, name), request=request, suite=_stated(suite, name))
        for name, request in asked.items()
    }
    weights = {str(section): weight for section, weight in suite.section_weights.items()}
    values.first("section_weights", None, suite=weights or None)  # None: all the same
    return suite.model_copy(update={"sampling": sampling, "debate": debate, **chosen})


def _judge(config: AssessmentConfig, suite: Suite, flags: Flags, values: _Values) -> JudgeSettings | None:
    """The judge, or None when nobody speaks of one."""
    own = suite.llm_eval
    flagged = {
        "enabled": flags.eval_llm,
        "model": flags.eval_llm_model,
        "temperature": flags.eval_llm_temperature,
    }
    variables = {
        "enabled": values.variable("EVAL_USE_LLM", _boolean),
        "model": values.variable("EVAL_LLM_MODEL", str),
        "temperature": values.variable("EVAL_LLM_TEMPERATURE", float),
    }
    spoken = any(value is not None for value in flagged.values()) or config.judge is not None
    if own is None and not spoken and not variables["enabled"]:
        values.first("judge.enabled", default=False, environment=variables["enabled"])
        return None
    asked = config.judge or {}
    if faults := [*settings_faults(asked), *address_faults(asked, own)]:
        values.faults += faults
        return None
    told = told_by_suite(own, asked)
    if (asked.get("model") or flags.eval_llm_model) and not asked.get("panel"):
        told.pop("panel", None)  # who names one judge does not mean the several of the suite
    merged = (
        {name: value for name, value in variables.items() if value is not None}
        | told
        | {name: value for name, value in asked.items() if value is not None}
        | {name: value for name, value in flagged.items() if value is not None}
    )
    try:
        judge = JudgeSettings.model_validate(merged)
    except ValidationError as error:
        values.faults += [f"llm_eval.{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()]
        return None
    _record_judge(judge, values, {"command_line": flagged, "request": asked, "suite": told, "environment": variables})
    if judge.enabled and judge.model is None and not judge.panel:
        values.faults.append("llm_eval.model: the judge is enabled and has no model; name one, or set EVAL_LLM_MODEL")
    return judge


def _record_judge(judge: JudgeSettings, values: _Values, spoken: Mapping[str, Mapping[str, object]]) -> None:
    facts = judge.model_dump(mode="json", include=set(JUDGE_FACTS), exclude={"panel": {"__all__": {"api_key"}}})
    for name in JUDGE_FACTS:
        sources = {source: facts[name] for source, told in spoken.items() if told.get(name) is not None}
        values.first(f"judge.{name}", facts[name], **sources)


def _entries(config: AssessmentConfig, suite: Suite, flags: Flags, values: _Values) -> list[DatasetConfig]:
    """The suite's entries that the request keeps, with its keys in place of theirs."""
    listed = list(suite.datasets)
    types = {entry.type for entry in listed}
    if not flags.names_suite and config.eval_config is None:
        added = [name for name in config.datasets or () if name not in types and name in BENCHMARKS]
        listed += [entry for name in added if (entry := _default_entry(name, values)) is not None]
        types |= set(added)
    wanted = types if config.datasets is None else set(config.datasets)
    values.faults += [f"config.datasets: {_absent(name, types, suite)}" for name in sorted(wanted - types)]
    kept_types = wanted & types
    for name in sorted(set(config.dataset_limits) - kept_types):
        known = "left out by config.datasets" if name in types else _absent(name, types, suite)
        values.faults.append(f"config.{name}_limit: {known}")
    kept = [entry for entry in listed if entry.type in kept_types and config.dataset_limits.get(entry.type) != 0]
    if not kept and not values.faults:
        values.faults.append("the selection is empty: every data set of the suite is left out")
    values.first("datasets", sorted({entry.type for entry in suite.datasets}), request=config.datasets)
    for name, limit in sorted(config.dataset_limits.items()):
        values.record(f"{name}_limit", limit, "request")
    changed = [_limited(entry, config.dataset_limits.get(entry.type)) for entry in kept]
    changed = _with_key(changed, "fill", config.fill, values)
    changed = _with_key(changed, "max_steps", config.max_steps, values)
    for name, value in sorted(config.entry_keys.items()):
        changed = _with_key(changed, name, value, values)
    for stated, entry in zip(kept, changed, strict=True):
        _record_entry(stated, entry, values, source="suite" if stated in suite.datasets else "default")
    return changed


def _record_entry(stated: DatasetConfig, entry: DatasetConfig, values: _Values, *, source: Source) -> None:
    """What an entry states as far as it is in force, and key by key what the request put in its place."""
    before, after = shown(stated), shown(entry)
    kept = {name: value for name, value in before.items() if after.get(name) == value}
    values.record(f"datasets.{entry.name}", kept, source)
    for name in sorted(after.keys() - kept.keys()):
        values.record(f"datasets.{entry.name}.{name}", after[name], "request")


def _default_entry(name: str, values: _Values) -> DatasetConfig | None:
    try:
        return benchmark_class(name).config_model.model_validate({"type": name, "name": name})
    except ValidationError as error:
        missing = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors())
        values.faults.append(f"config.datasets: {name} has no default for {missing}; name a suite that states it")
        return None


def _absent(name: str, types: set[str], suite: Suite) -> str:
    if name in BENCHMARKS:
        return f"suite {suite.name!r} has no data set {name!r}; it has {', '.join(sorted(types))}"
    return f"unknown data set {name!r}{nearest(name, types)}"


def _limited(entry: DatasetConfig, limit: int | None) -> DatasetConfig:
    """The limit of a type replaces those of its entries; a generator is told how many could be needed."""
    if limit is None:
        return entry
    fields = type(entry).model_fields
    update: dict[str, int | None] = {"limit": min(limit, MOST_MADE) if _generates(entry) or "fill" in fields else None}
    if "limit_per_task" in fields:
        update["limit_per_task"] = None
    return entry.model_copy(update=update)


def _generates(entry: DatasetConfig) -> bool:
    return benchmark_class(entry.type).endless or getattr(entry, "fill", "none") == "generate"


def _with_room(entry: DatasetConfig, total: int | None) -> DatasetConfig:
    """A data set without end is asked for as many tasks as the plan could take."""
    if entry.limit is None and total is not None and _generates(entry):
        return entry.model_copy(update={"limit": min(total, MOST_MADE)})
    return entry


def _with_key(entries: Sequence[DatasetConfig], name: str, value: JsonValue, values: _Values) -> list[DatasetConfig]:
    """The value on every entry that has the key; a fault when none has."""
    if value is None:
        return list(entries)
    takers = {entry.type for entry in entries if name in type(entry).model_fields}
    if not takers:
        values.faults.append(f"config.{name}: no data set of the selection has this key")
    values.record(name, value, "request")
    return [_changed(entry, name, value, values) if entry.type in takers else entry for entry in entries]


def _changed(entry: DatasetConfig, name: str, value: JsonValue, values: _Values) -> DatasetConfig:
    try:
        return type(entry).model_validate(entry.model_dump(exclude_unset=True) | {name: value})
    except ValidationError as error:
        values.faults += [f"config.{name}: {fault['msg']}, got {value!r}" for fault in error.errors()]
        return entry


def shown(entry: DatasetConfig) -> dict[str, JsonValue]:
    """What an entry states, secrets masked whatever the model does with them in JSON."""
    stated: dict[str, JsonValue] = json.loads(json.dumps(entry.model_dump(exclude_unset=True), default=_masked))
    return {name: _redacted(value) for name, value in stated.items()}


def _redacted(value: JsonValue) -> JsonValue:
    """The value with every text in it redacted; text by text, so that what is masked never spans two of them."""
    if isinstance(value, str):
        return _QUERY.sub(rf"\1?{MASK}", redact(value))
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if isinstance(value, dict):
        return {name: _redacted(item) for name, item in value.items()}
    return value


def _masked(value: object) -> str:
    return MASK if isinstance(value, SecretStr) else str(value)
