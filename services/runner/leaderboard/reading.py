"""Files to entries. What cannot be read, or contradicts itself, is left out aloud; nothing is guessed."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from services.runner.failures import ReportError, RunnerError
from services.runner.leaderboard.entries import Entry, OldEntry
from services.runner.leaderboard.ours import entry_of, fingerprint
from services.runner.old_results import Evaluation, NoResultError, old_result, read_evaluations
from services.runner.submissions.merging import merge
from services.runner.submissions.shards import ContradictionError, MergeError, ShardFile, shard_of

FAULTS_TOLD: Final = 3
"""Of one object; the first tell enough."""
LARGEST_FILE: Final = 512 * 1024 * 1024
"""Bytes."""
PROVENANCE: Final = (".provenance.json", "-provenance.json")
QUERIES: Final = "leaderboard.json"
"""Names of files that stand beside results and are none."""
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
    shards: list[ShardFile] = []
    for number, evaluation in enumerate(evaluations):
        try:
            if _is_ours(evaluation.data):
                shards.append(_shard(evaluation, f"results[{number}]"))
            else:
                found.old.append(_old_entry(name, evaluation))
        except RunnerError as error:
            found.skipped.append(Skipped(file=name, reason=str(error)))
    _add(name, shards, found)


def _without(path: Path, error: Exception) -> str:
    return str(error).removeprefix(f"{path}").removeprefix(":").strip()


def _evaluations(path: Path) -> list[Evaluation]:
    if not path.is_file():
        raise ReportError("not a file")
    if path.stat().st_size > LARGEST_FILE:
        raise ReportError(f"larger than {LARGEST_FILE >> 20} MiB")
    return read_evaluations(path)


def _is_ours(data: Object) -> bool:
    return str(data.get("benchmark", "")).startswith("Assay")


def _shard(evaluation: Evaluation, place: str) -> ShardFile:
    """Raises MergeError when the object is broken, or says two things."""
    document: Object = {"participants": {"agent": evaluation.agent}}
    try:
        return shard_of(evaluation.data, document, source=place, name=place)
    except ContradictionError as error:
        raise MergeError(f"contradicts itself: {'; '.join(error.faults[:FAULTS_TOLD])}") from None


def _add(name: str, shards: Sequence[ShardFile], found: Found) -> None:
    """Shards of one plan are one assessment, whatever else lies in the file."""
    groups: dict[tuple[str, int], list[ShardFile]] = defaultdict(list)
    for shard in shards:
        if shard.record.num_shards == 1:
            found.entries.append(entry_of(name, shard, shard.result))
        else:
            groups[shard.record.digest, shard.record.num_shards].append(shard)
    for group in groups.values():
        try:
            found.entries.append(entry_of(name, group[0], merge(group, partial=True).result))
        except MergeError as error:
            told = "; ".join(error.faults[:FAULTS_TOLD])
            found.skipped.append(Skipped(file=name, reason=f"its shards cannot be added up: {told}"))


def _old_entry(name: str, evaluation: Evaluation) -> OldEntry:
    return OldEntry(file=name, identity=fingerprint(evaluation.agent, evaluation.data), result=old_result(evaluation))
