"""Result objects with their plan and rows, read from files and checked one by one, so that they can be added up.

A file holds one object or several: our results files, platform files, and bare artifacts of green. What several files say of
each other is `merging`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose, isfinite
from pathlib import Path
from typing import Final, NoReturn

from pydantic import JsonValue, TypeAdapter, ValidationError

from services.contract.aggregation import aggregate
from services.contract.assessment import Plan, PlannedTrial
from services.contract.plan_record import PLAN, PlanRecord
from services.contract.results import SCHEMA_VERSION, STREAMED_ONLY, AssessmentResult
from services.runner.failures import RunnerError
from services.runner.scenario import GREEN

Object = dict[str, JsonValue]
SHARDS: Final = "shards"
SHARDS_MISSING: Final = "shards_missing"
"""Facts of a merged result: what it was made of, and the numbers of the shards that were not there."""
GREEN_SERVICE: Final = "green-agent"
"""What platforms call green in the provenance of a submission."""
LARGEST: Final = 1_000_000
"""Trials of a plan, as green bounds them; as many shards are more than anybody has."""
LARGEST_INTEGER: Final = 2**63 - 1
NUMBERS: Final = frozenset({"overall_score", "section_scores", "sections", "dataset_scores"})
"""What of a result must follow from its plan and rows."""
TOTALS: Final = ("num_planned", "num_successful", "outcomes", "complete", "coverage")
"""The same of its metadata."""
ESTIMATES: Final = frozenset({"interval_low", "interval_high", "measures", "by_stratum"})
"""Made from the same rows, but another release may estimate in another way."""
FAULTS_TOLD: Final = 5
"""Of the numbers of one file; one changed row moves dozens."""


class MergeError(RunnerError):
    """Results cannot be added up; `faults` lists every file with its reason."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardFile:
    """One result object that can be merged; alone it is without fault."""

    source: str
    """Its file, and its place in a file of several."""
    name: str
    """The same without folders, for records."""
    status: str | None
    """As its platform wrote it; None where nothing was written."""
    participants: Mapping[str, JsonValue]
    """Role to id or name; empty in a bare artifact."""
    record: PlanRecord
    result: AssessmentResult
    image_digests: Mapping[str, str] | None
    """By service or role; None: nothing was recorded."""

    @property
    def facts(self) -> Mapping[str, JsonValue]:
        """Its `evaluation_metadata`."""
        return self.result.evaluation_metadata

    @property
    def plan(self) -> Plan:
        """The plan of the shard."""
        config = self.facts.get("effective_config")
        return self.record.plan(config if isinstance(config, dict) else {})


def read_shards(paths: Sequence[Path]) -> list[ShardFile]:
    """Every result object of the files. Raises MergeError with all faults of all files."""
    found: list[ShardFile] = []
    faults: list[str] = []
    for path in paths:
        try:
            found += _objects_of(path)
        except MergeError as error:
            faults += error.faults
    if faults:
        raise MergeError(*faults)
    return found


def read_document(path: Path) -> Object:
    """The JSON object of a file. Raises MergeError naming the file."""
    try:
        text = path.read_text(encoding="utf-8")
        raw = json.loads(text, parse_constant=_no_number, parse_int=_integer, parse_float=_fraction)
        json.dumps(raw, ensure_ascii=False).encode()  # halves of surrogate pairs could be read but not written
    except OSError as error:
        raise MergeError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, RecursionError) as error:
        raise MergeError(f"{path}: not JSON ({error})") from None
    if not isinstance(raw, dict):
        raise MergeError(f"{path}: expected a JSON object, got a {type(raw).__name__}")
    return raw


def provenance_beside(path: Path) -> tuple[Path, Object] | None:
    """The provenance file of a submission that belongs to a results file; None when there is none.

    `results/<n>.json` has it in `submissions/`, or beside itself. Raises MergeError when it is broken.
    """
    names = [f"{path.stem}.provenance.json", f"{path.stem}-provenance.json"]
    for folder in (path.parent, path.parent.parent / "submissions"):
        for name in names:
            if (folder / name).is_file():
                return folder / name, read_document(folder / name)
    return None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is no JSON number")


def _integer(text: str) -> int:
    number = int(text)
    return number if abs(number) <= LARGEST_INTEGER else _no_number(text)


def _fraction(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _no_number(text)


def _objects_of(path: Path) -> list[ShardFile]:
    document = read_document(path)
    if _is_result(document):
        document = {"results": [document]}
    objects = document.get("results")
    if not isinstance(objects, list) or not all(isinstance(item, dict) and _is_result(item) for item in objects):
        raise MergeError(
            f"{path}: no known form: expected {{status, participants, results: [object, ...]}}"
            " or the artifact `evaluation_result` of green"
        )
    if not objects:
        raise MergeError(f"{path}: holds no result (status {document.get('status')!r})")
    beside = provenance_beside(path)
    found: list[ShardFile] = []
    faults: list[str] = []
    for number, item in enumerate(objects):
        place = f" results[{number}]" if len(objects) > 1 else ""
        try:
            found.append(_shard(item, document, beside, source=f"{path}{place}", name=f"{path.name}{place}"))
        except MergeError as error:
            faults += error.faults
    if faults:
        raise MergeError(*faults)
    return found


def _is_result(item: Mapping[str, JsonValue]) -> bool:
    return "overall_score" in item and "evaluation_metadata" in item


def _shard(
    item: JsonValue, document: Object, beside: tuple[Path, Object] | None, *, source: str, name: str
) -> ShardFile:
    result = _result(item, source)
    facts = result.evaluation_metadata
    if result.schema_version.partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise MergeError(f"{source}: schema_version {result.schema_version!r}, this `assay` merges {SCHEMA_VERSION}")
    if facts.get(STREAMED_ONLY):
        raise MergeError(f"{source}: holds no rows, they were streamed: merge the results file that the runner wrote")
    if facts.get(SHARDS_MISSING):
        raise MergeError(f"{source}: is a partial merge: merge the files of its shards, with those it lacked")
    participants, status = document.get("participants"), document.get("status")
    shard = ShardFile(
        source=source,
        name=name,
        status=status if isinstance(status, str) else None,
        participants=participants if isinstance(participants, dict) else {},
        record=_record(facts, source),
        result=result,
        image_digests=_image_digests(facts, beside, source),
    )
    if faults := list(_faults(shard)):
        raise MergeError(*(f"{source}: {fault}" for fault in faults))
    return shard


def _result(item: JsonValue, source: str) -> AssessmentResult:
    try:
        return AssessmentResult.model_validate(item)
    except ValidationError as error:
        raise MergeError(f"{source}: {_first(error)}") from None


def _record(facts: Mapping[str, JsonValue], source: str) -> PlanRecord:
    if PLAN not in facts:
        raise MergeError(f"{source}: has no evaluation_metadata.{PLAN}: it was written before results could be merged")
    try:
        return PlanRecord.model_validate(facts[PLAN])
    except ValidationError as error:
        raise MergeError(f"{source}: evaluation_metadata.{PLAN}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    more = f" (and {error.error_count() - 1} more faults)" if error.error_count() > 1 else ""
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}{more}"


def _image_digests(
    facts: Mapping[str, JsonValue], beside: tuple[Path, Object] | None, source: str
) -> dict[str, str] | None:
    """Of the provenance file when there is one, and of the provenance inside the result; the two must agree."""
    provenance = facts.get("provenance")
    inside = _texts(provenance.get("image_digests")) if isinstance(provenance, dict) else None
    if beside is None:
        return inside
    outside = _texts(beside[1].get("image_digests"))
    if outside is None:
        raise MergeError(f"{beside[0]}: image_digests: expected an object of service: digest")
    outside = {GREEN if name == GREEN_SERVICE else name: digest for name, digest in outside.items()}
    for name in sorted(outside.keys() & (inside or {}).keys()):
        if inside is not None and outside[name] != inside[name]:
            raise MergeError(f"{source}: image of {name} is {inside[name]}, {beside[0]} says {outside[name]}")
    return (inside or {}) | outside


def _texts(value: JsonValue) -> dict[str, str] | None:
    try:
        return TypeAdapter(dict[str, str]).validate_python(value)
    except ValidationError:
        return None


def _faults(shard: ShardFile) -> Iterator[str]:
    """What is wrong with an object alone: its plan, its rows, and numbers that do not follow from them."""
    wrong = list(_plan_faults(shard.record, shard.facts))
    wrong = wrong or list(_row_faults(shard))
    yield from wrong or _number_faults(shard)


def _plan_faults(record: PlanRecord, facts: Mapping[str, JsonValue]) -> Iterator[str]:
    if facts.get("plan_digest") != record.digest:
        yield f"plan_digest is {facts.get('plan_digest')!r}, its plan says {record.digest!r}"
    if not _is_possible(record):
        yield f"a plan of {record.num_tasks} tasks, {record.num_trials} trials each, in {record.num_shards} shards cannot be"
        return
    if not 0 <= record.shard_index < record.num_shards:
        yield f"shard {record.shard_index} of {record.num_shards} does not exist"
        return
    dealt = len(range(record.shard_index, record.num_tasks, record.num_shards)) * record.num_trials
    if len(record.trials) != dealt:
        yield (
            f"its plan holds {len(record.trials)} trials, shard {record.shard_index} of {record.num_shards} has {dealt}:"
            " an artifact of a resumed request is no whole shard; merge the results file that the runner wrote"
        )
    sections = {benchmark.name: benchmark.section for benchmark in record.benchmarks}
    places = Counter(trial.position for trial in record.trials)
    for trial in record.trials:
        if sections.get(trial.benchmark) is not trial.section:
            yield f"trial {trial.key!r}: the plan has no benchmark {trial.benchmark!r} in section {trial.section}"
        elif not _has_place(trial, record) or places[trial.position] > 1:
            yield f"trial {trial.key!r} cannot stand at position {trial.position} of the plan"


def _is_possible(record: PlanRecord) -> bool:
    counts = (record.num_trials, record.num_shards, record.num_tasks * record.num_trials)
    return min(counts[:2]) >= 1 and record.num_tasks >= 0 and max(counts) <= LARGEST


def _has_place(trial: PlannedTrial, record: PlanRecord) -> bool:
    """The trials of a task follow each other."""
    whole = record.num_tasks * record.num_trials
    return 0 <= trial.position < whole and trial.position % record.num_trials == trial.trial


def _row_faults(shard: ShardFile) -> Iterator[str]:
    planned = {trial.key: trial for trial in shard.record.trials}
    benchmarks = {benchmark.name: benchmark for benchmark in shard.record.benchmarks}
    seen: set[str] = set()
    for row in shard.result.results:
        trial = planned.get(row.key)
        if trial is None:
            yield f"row {row.key!r} is not in its plan"
        elif row.key in seen:
            yield f"two rows for trial {row.key!r}"
        elif row.section is not trial.section or row.stratum not in {"", trial.stratum}:
            yield f"row {row.key!r} is of {row.section}/{row.stratum}, planned as {trial.section}/{trial.stratum}"
        elif row.digests.scorer not in {"", benchmarks[row.benchmark].scorer}:
            yield f"row {row.key!r} was scored by {row.digests.scorer}, planned was {benchmarks[row.benchmark].scorer}"
        seen.add(row.key)


def _number_faults(shard: ShardFile) -> Iterator[str]:
    """Numbers somebody changed, or rows: the one does not follow from the other any more."""
    again = aggregate(shard.plan, shard.result.results, metadata={})
    told, given = (result.model_dump(mode="json", include=set(NUMBERS)) for result in (shard.result, again))
    told |= {name: shard.facts.get(name) for name in TOTALS}
    given |= {name: again.evaluation_metadata[name] for name in TOTALS}
    faults = [f"{place} is {here!r}, its rows give {there!r}" for place, here, there in _differences(told, given)]
    yield from faults[:FAULTS_TOLD]
    if len(faults) > FAULTS_TOLD:
        yield f"{len(faults) - FAULTS_TOLD} more numbers do not follow from its rows"


def _differences(told: JsonValue, given: JsonValue, place: str = "") -> Iterator[tuple[str, JsonValue, JsonValue]]:
    """Where two values differ: place, the one, the other. Estimates are left out."""
    if isinstance(given, dict) and isinstance(told, dict):
        for name in (name for name in given if name not in ESTIMATES):
            yield from _differences(told.get(name), given[name], f"{place}.{name}".lstrip("."))
        yield from ((f"{place}.{name}", told[name], None) for name in told.keys() - given.keys() if told[name])
    elif isinstance(given, list) and isinstance(told, list) and len(given) == len(told):
        for number, (here, there) in enumerate(zip(told, given, strict=True)):
            yield from _differences(here, there, f"{place}[{number}]")
    elif not _same(told, given):
        yield place, told, given


def _same(first: JsonValue, second: JsonValue) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return isclose(first, second, rel_tol=1e-9, abs_tol=1e-9)
    return first == second
