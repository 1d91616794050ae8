"""Files to entries. What cannot be read, or contradicts itself, is left out aloud; nothing is guessed."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import JsonValue, ValidationError

from services.contract.assessment import plan_digest
from services.contract.plan_record import PLAN, PlanRecord
from services.contract.results import STREAMED_ONLY, AssessmentResult
from services.runner.failures import ReportError
from services.runner.leaderboard.combining import Combined, Part, combined
from services.runner.leaderboard.contradictions import contradictions
from services.runner.leaderboard.entries import Comparable, Entry, OldEntry
from services.runner.old_results import Evaluation, NoResultError, old_result, read_evaluations
from services.runner.submissions.shards import SHARDS_MISSING

OURS: Final = (2, 2)
"""The schema version that began to keep the plan; ranks need it."""
NEWEST_MAJOR: Final = 2
LARGEST_FILE: Final = 512 * 1024 * 1024
"""Bytes."""
PROVENANCE: Final = (".provenance.json", "-provenance.json")
QUERIES: Final = "leaderboard.json"
"""Names of files that stand beside results and are none."""
REFERENCE_FINGERPRINT: Final = "reference-engine"
Object = dict[str, JsonValue]


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A file, or a part of it, that is not ranked."""

    file: str
    reason: str


@dataclass(kw_only=True, slots=True)
class Found:
    """Everything of some folders."""

    entries: list[Entry] = field(default_factory=list)
    old: list[OldEntry] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    platform_files: list[Path] = field(default_factory=list)
    """Those in the form `{participants, results}`, which the queries of platforms read."""
    other_forms: list[str] = field(default_factory=list)
    """Those in another form."""
    no_results: list[str] = field(default_factory=list)
    """JSON below a folder that is something else."""


def read_folders(places: Sequence[Path]) -> Found:
    """Every result below the folders; a file may be named as well."""
    found = Found()
    shared = os.path.commonpath([Path.cwd() / (place if place.is_dir() else place.parent) for place in places])
    seen: set[str] = set()
    for place in places:
        for path in _files(place):
            real = os.path.realpath(path)
            if real not in seen:
                seen.add(real)
                name = os.fsencode(os.path.relpath(path, shared)).decode(errors="replace")
                _read(path, name, found, named=path == place)
    return found


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for path in sorted(place.rglob("*.json")):
        hidden = any(part.startswith(".") for part in path.relative_to(place).parts)
        if not hidden and path.name != QUERIES and not path.name.endswith(PROVENANCE):
            yield path


def _read(path: Path, name: str, found: Found, *, named: bool) -> None:
    try:
        evaluations = _evaluations(path)
    except NoResultError as error:
        if named:
            found.skipped.append(Skipped(file=name, reason=_without(path, error)))
        else:
            found.no_results.append(name)
        return
    except (ReportError, OSError) as error:
        found.skipped.append(Skipped(file=name, reason=_without(path, error)))
        return
    if all(evaluation.form == "leaderboard" for evaluation in evaluations):
        found.platform_files.append(path)
    else:
        found.other_forms.append(name)
    parts: list[tuple[Part, Evaluation]] = []
    for evaluation in evaluations:
        try:
            if _is_ours(evaluation.data):
                parts.append((_part(evaluation.data), evaluation))
            else:
                found.old.append(_old_entry(name, evaluation))
        except ReportError as error:
            found.skipped.append(Skipped(file=name, reason=str(error)))
    for group in _assessments(parts):
        _add(name, group, found)


def _without(path: Path, error: Exception) -> str:
    return str(error).removeprefix(f"{path}").removeprefix(":").strip()


def _evaluations(path: Path) -> list[Evaluation]:
    if not path.is_file():
        raise ReportError("not a file")
    if path.stat().st_size > LARGEST_FILE:
        raise ReportError(f"larger than {LARGEST_FILE >> 20} MiB")
    return read_evaluations(path)


def _is_ours(data: Object) -> bool:
    """Raises ReportError for a version that is newer than this reader, or older than the plan in its results."""
    if not str(data.get("benchmark", "")).startswith("Assay"):
        return False
    version = str(data.get("schema_version", ""))
    try:
        major, minor = map(int, version.split("."))
    except ValueError:
        raise ReportError(f"schema_version {version!r} is none of ours") from None
    if major > NEWEST_MAJOR:
        raise ReportError(f"schema_version {version} is newer than this `assay` reads; update it")
    if _object(data.get("evaluation_metadata")).get(STREAMED_ONLY):
        raise ReportError("holds no rows, they were streamed; rank the results file that the runner wrote")
    if (major, minor) < OURS or PLAN not in _object(data.get("evaluation_metadata")):
        raise ReportError("written before results kept their plan; `assay report RUN` writes it again")
    return True


def _part(data: Object) -> Part:
    """Raises ReportError when the object is broken, or says two things."""
    try:
        result = AssessmentResult.model_validate(data)
        plan = PlanRecord.model_validate(result.evaluation_metadata[PLAN])
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise ReportError(f"broken: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    part = Part(result=result, plan=plan)
    faults = list(contradictions(part))
    if faults:
        raise ReportError(f"contradicts itself: {'; '.join(faults[:3])}")
    return part


def _assessments(parts: Sequence[tuple[Part, Evaluation]]) -> Iterator[list[tuple[Part, Evaluation]]]:
    """Shards of one plan are one assessment, whatever else lies in the file."""
    shards: dict[tuple[str, int], list[tuple[Part, Evaluation]]] = defaultdict(list)
    for part, evaluation in parts:
        if part.plan.num_shards == 1:
            yield [(part, evaluation)]
        else:
            shards[part.plan.digest, part.plan.num_shards].append((part, evaluation))
    yield from shards.values()


def _add(name: str, group: Sequence[tuple[Part, Evaluation]], found: Found) -> None:
    parts = [part for part, _ in group]
    if fault := _shards_fault(parts):
        found.skipped.append(Skipped(file=name, reason=fault))
    else:
        found.entries.append(_entry(name, parts, [evaluation for _, evaluation in group]))


def _shards_fault(parts: Sequence[Part]) -> str:
    """Why objects of one file are not shards of one plan; empty when they are."""
    plans = [part.plan for part in parts]
    first = plans[0]
    counts = Counter(plan.shard_index for plan in plans)
    if twice := sorted(index for index, count in counts.items() if count > 1):
        return f"holds shard {twice[0]} of {first.num_shards} more than once"
    own = {"shard_index": 0, "trials": ()}
    if any(plan.model_copy(update=own) != first.model_copy(update=own) for plan in plans):
        return "its shards do not agree on their plan"
    trials = sorted((trial for plan in plans for trial in plan.trials), key=lambda trial: trial.position)
    if len({trial.key for trial in trials}) < len(trials):
        return "contradicts itself: two of its shards hold the same trial"
    held = Counter(trial.benchmark for trial in trials)
    if over := [b.name for b in first.benchmarks if held[b.name] > b.tasks * first.num_trials]:
        return f"contradicts itself: {held[over[0]]} trials of {over[0]}, more than its plan has"
    planned = first.num_trials * first.num_tasks
    lost = any(part.result.evaluation_metadata.get(SHARDS_MISSING) for part in parts)
    whole = len(plans) == first.num_shards and not lost
    if whole and len(trials) < planned:
        return f"contradicts itself: {len(trials)} trials in a plan of {planned}"
    if whole and first.digest != plan_digest(seed=first.seed, trials=trials, benchmarks=first.benchmarks):
        return f"contradicts itself: the plan it keeps does not have the digest {first.digest[:19]}"
    return ""


def _entry(name: str, parts: Sequence[Part], evaluations: Sequence[Evaluation]) -> Entry:
    plan, metadata = parts[0].plan, [part.result.evaluation_metadata for part in parts]
    numbers = combined(parts)
    identifier = evaluations[0].agent
    agent = _text(_object(metadata[0].get("purple_agent")).get("name"))
    return Entry(
        model=_model(metadata) or agent or identifier,
        agent=agent,
        id=identifier,
        file=name,
        identity=_text(metadata[0].get("run_id")) or _fingerprint(identifier, *(told.data for told in evaluations)),
        comparable=Comparable(
            plan_digest=plan.digest,
            section_mean=plan.section_mean,
            weights=tuple((str(section), round(weight, 6)) for section, weight in numbers.weights.items()),
            datasets=tuple((b.name, str(b.section), b.tasks, bool(b.skipped)) for b in plan.benchmarks),
            trials=plan.num_trials,
            selected_on_scoring_tests=any(told.get("selected_on_scoring_tests") is True for told in metadata),
        ),
        suite=plan.suite,
        tasks=plan.num_tasks,
        trials=plan.num_trials,
        seed=plan.seed,
        overall=numbers.overall,
        sections=numbers.sections,
        passed=sum(_count(told.get("num_successful")) for told in metadata),
        outcomes=_outcomes(metadata, numbers),
        judges=tuple(sorted({name for told in metadata for name in _names(_object(told.get("judge")).get("models"))})),
        marks=tuple(_marks(parts, numbers, metadata)),
    )


def _marks(parts: Sequence[Part], numbers: Combined, metadata: Sequence[Object]) -> Iterator[str]:
    of = parts[0].plan.num_shards
    if not numbers.overall.complete:
        yield "incomplete"
    if len(parts) < of:
        yield f"{len(parts)} of {of} shards"
    fingerprints = [_text(model.get("fingerprint")) for told in metadata for model in _objects(told.get("models"))]
    reference = any(_object(told.get("provenance")).get("reference_engine") is True for told in metadata)
    if reference or any(name.startswith(REFERENCE_FINGERPRINT) for name in fingerprints):
        yield "reference engine, no language model"
    if any(_object(told.get("sandbox")).get("isolated") is False for told in metadata):
        yield "unsafe sandbox"


def _outcomes(metadata: Sequence[Object], numbers: Combined) -> dict[str, int]:
    """Trials by how they ended; a trial without a row is `missing`, those of a missing shard too."""
    counts: Counter[str] = Counter()
    for told in metadata:
        counts.update(
            {name: _count(count) for name, count in _object(told.get("outcomes")).items() if name != "missing"}
        )
    counts["missing"] = max(0, numbers.overall.planned - counts.total())
    return {name: count for name, count in sorted(counts.items()) if count}


def _old_entry(name: str, evaluation: Evaluation) -> OldEntry:
    return OldEntry(file=name, identity=_fingerprint(evaluation.agent, evaluation.data), result=old_result(evaluation))


def _fingerprint(*told: JsonValue) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _model(metadata: Sequence[Object]) -> str:
    """As the run was told, else as the agent reports it."""
    named = next((name for told in metadata if (name := _text(told.get("model_id")))), "")
    reported = {_text(model.get("model")) for told in metadata for model in _objects(told.get("models"))}
    return named or ", ".join(sorted(reported - {""}))


def _object(raw: JsonValue) -> Object:
    return raw if isinstance(raw, dict) else {}


def _objects(raw: JsonValue) -> list[Object]:
    return [entry for entry in raw if isinstance(entry, dict)] if isinstance(raw, list) else []


def _names(raw: JsonValue) -> list[str]:
    return [name for name in raw if isinstance(name, str)] if isinstance(raw, list) else []


def _text(raw: JsonValue) -> str:
    return raw if isinstance(raw, str) else ""


def _count(raw: JsonValue) -> int:
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else 0
