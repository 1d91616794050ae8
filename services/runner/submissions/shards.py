"""Result objects with their plan and rows, read from files and checked one by one, so that they can be added up.

A file holds one object or several: our results files, platform files, and bare artifacts of green. What several files say of
each other is `merging`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError

from services.contract.assessment import Plan
from services.contract.plan_record import PLAN, PlanRecord
from services.contract.results import SCHEMA_VERSION, STREAMED_ONLY, AssessmentResult
from services.runner.failures import RunnerError
from services.runner.scenario import GREEN
from services.runner.submissions.consistency import contradictions

Object = dict[str, JsonValue]
Companion = tuple[Path, Object]
"""A provenance file and what it holds."""
M = TypeVar("M", bound=BaseModel)
NEWEST_MAJOR: Final = int(SCHEMA_VERSION.partition(".")[0])
WITH_PLAN: Final = (2, 2)
"""The schema version that began to keep the plan."""
GREEN_SERVICE: Final = "green-agent"
"""What platforms call green in the provenance of a submission."""
LARGEST_INTEGER: Final = 2**63 - 1


class MergeError(RunnerError):
    """Results cannot be added up; `faults` lists every file with its reason."""

    def __init__(self, *faults: str) -> None:
        self.faults = faults
        super().__init__("\n".join(faults))


class ContradictionError(MergeError):
    """A result object says two things."""


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


def provenance_beside(path: Path) -> Companion | None:
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
    items = (
        [item for item in objects if isinstance(item, dict) and _is_result(item)] if isinstance(objects, list) else []
    )
    if items != objects:
        raise MergeError(
            f"{path}: no known form: expected {{status, participants, results: [object, ...]}}"
            " or the artifact `evaluation_result` of green"
        )
    if not items:
        raise MergeError(f"{path}: holds no result (status {document.get('status')!r})")
    beside = provenance_beside(path)
    found: list[ShardFile] = []
    faults: list[str] = []
    for number, item in enumerate(items):
        place = f" results[{number}]" if len(items) > 1 else ""
        try:
            source, name = f"{path}{place}", f"{path.name}{place}"
            found.append(shard_of(item, document, source=source, name=name, beside=beside))
        except MergeError as error:
            faults += (f"{path}{place}: {fault}" for fault in error.faults)
    if faults:
        raise MergeError(*faults)
    return found


def _is_result(item: Mapping[str, JsonValue]) -> bool:
    return "overall_score" in item and "evaluation_metadata" in item


def shard_of(item: Object, document: Object, *, source: str, name: str, beside: Companion | None = None) -> ShardFile:
    """A result object of a file that says who took part; `beside` is the file's provenance.

    Raises MergeError when it cannot be read, ContradictionError when it says two things. Faults name no file.
    """
    _check_version(item)
    result = _parsed(AssessmentResult, item, "")
    facts = result.evaluation_metadata
    record = _parsed(PlanRecord, facts[PLAN], f"evaluation_metadata.{PLAN}.")
    if faults := list(contradictions(result, record)):
        raise ContradictionError(*faults)
    participants, status = document.get("participants"), document.get("status")
    return ShardFile(
        source=source,
        name=name,
        status=status if isinstance(status, str) else None,
        participants=participants if isinstance(participants, dict) else {},
        record=record,
        result=result,
        image_digests=_image_digests(facts, beside),
    )


def _check_version(item: Object) -> None:
    """Raises MergeError for a newer form, an older one, and one without rows."""
    version, facts = item.get("schema_version"), item.get("evaluation_metadata")
    try:
        major, minor = map(int, str(version).split("."))
    except ValueError:
        raise MergeError(f"schema_version {version!r} is none of ours") from None
    if major > NEWEST_MAJOR:
        raise MergeError(f"schema_version {version} is newer than this `assay` reads; update it")
    if isinstance(facts, dict) and facts.get(STREAMED_ONLY):
        raise MergeError("holds no rows, they were streamed; take the results file that the runner wrote")
    if (major, minor) < WITH_PLAN or not isinstance(facts, dict) or PLAN not in facts:
        raise MergeError("written before results kept their plan; `assay report RUN` writes it again")


def _parsed(model: type[M], value: JsonValue, place: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        more = f" (and {error.error_count() - 1} more faults)" if error.error_count() > 1 else ""
        raise MergeError(f"broken: {place}{'.'.join(map(str, fault['loc']))}: {fault['msg']}{more}") from None


def _image_digests(facts: Mapping[str, JsonValue], beside: Companion | None) -> dict[str, str] | None:
    """Of the provenance file when there is one, and of the provenance inside the result; the two must agree."""
    provenance = facts.get("provenance")
    inside = _texts(provenance.get("image_digests")) if isinstance(provenance, dict) else None
    if beside is None:
        return inside
    outside = _texts(beside[1].get("image_digests"))
    if outside is None:
        raise MergeError(f"image_digests of {beside[0]}: expected an object of service: digest")
    outside = {GREEN if name == GREEN_SERVICE else name: digest for name, digest in outside.items()}
    for name in sorted(outside.keys() & (inside or {}).keys()):
        if inside is not None and outside[name] != inside[name]:
            raise MergeError(f"image of {name} is {inside[name]}, {beside[0]} says {outside[name]}")
    return (inside or {}) | outside


def _texts(value: JsonValue) -> dict[str, str] | None:
    try:
        return TypeAdapter(dict[str, str]).validate_python(value)
    except ValidationError:
        return None
