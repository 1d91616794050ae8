"""Shards added up: one result from the results of all shards of a plan, with the numbers of the unsharded run. Pure.

Nothing of the shards' own numbers is used: plan and rows are put together and counted as if they had come from one assessment
(interop specification 4.3). Reading of files, and what each must hold alone, is `shards`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import JsonValue

from services.contract.aggregation import aggregate
from services.contract.plan_record import PLAN, PlanRecord
from services.contract.printing import Printed, Shown
from services.contract.results import AssessmentResult
from services.runner.journal import RunRecord
from services.runner.report.results_file import SHARD_KEYS
from services.runner.report.view import Banner, labels
from services.runner.submissions.shards import MergeError, Object, ShardFile
from services.runner.submissions.whole import SHARDS, SHARDS_MISSING, unnamed_faults, whole_faults, whole_plan

NUMBERS_TOLD: Final = 20
"""Of missing shards, in a sentence."""
OF_ONE_SHARD: Final = frozenset(
    {"run_id", "run_status", "started_at", "duration_s", "models", "provenance", "rescored"}
)
"""Facts that are told for each shard, or added up."""
SELECTED: Final = "selected_on_scoring_tests"
"""Fact that the agent could choose among its answers by the very tests that scored them."""
T = TypeVar("T")
_AS_PRINTED: Final = Shown(max_chars=0, truncate=False)
_WORST: Final = ("failed", "rejected", "canceled")
"""Words of a platform that carry over to the merged result, the worst first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """The whole result. `missing`: numbers of the shards that were not there; their trials count as not scored."""

    document: Object
    """As a results file holds it."""
    result: AssessmentResult
    shards: int
    missing: tuple[int, ...]
    labels: tuple[Banner, ...]
    """What qualifies the number of any shard, each once."""


def merge(shards: Sequence[ShardFile], *, partial: bool = False) -> Merged:
    """Add shards up; with `partial` some may be missing. Raises MergeError with every reason why they do not belong together."""
    shards = sorted(shards, key=lambda shard: shard.record.shard_index)
    faults = [*_partial_merges(shards)] or [*_other_assessments(shards)]
    if faults := faults or [*_crossing(shards), *_gaps(shards, partial=partial)]:
        raise MergeError(*faults)
    union = sorted((trial for shard in shards for trial in shard.record.trials), key=lambda trial: trial.position)
    missing = _missing(shards)
    config = {key: value for key, value in shards[0].plan.effective_config.items() if key not in SHARD_KEYS}
    plan = whole_plan(shards[0].record, union, config)
    rows = [row for shard in shards for row in shard.result.results]
    places = {trial.key: trial.position for trial in union}
    record = PlanRecord.of(plan).model_copy(update={"trials": tuple(union)}).model_dump(mode="json")
    result = aggregate(plan, sorted(rows, key=lambda row: places[row.key]), metadata={PLAN: record})
    facts = result.evaluation_metadata
    whole = result.model_copy(update={"evaluation_metadata": facts | _facts(shards, facts, missing)})
    # Rows come printed; printing them again without cutting changes none and gives old names to those that lack them.
    printed = Printed(predicted=_AS_PRINTED, question=_AS_PRINTED, expected=_AS_PRINTED).apply(whole)
    document: Object = {
        "status": _status(shards, printed),
        "participants": dict(next((shard.participants for shard in shards if shard.participants), {})),
        "results": [printed.model_dump(mode="json")],
    }
    return Merged(document=document, result=printed, shards=len(shards), missing=tuple(missing), labels=_labels(shards))


def _partial_merges(shards: Sequence[ShardFile]) -> Iterator[str]:
    for shard in shards:
        if shard.facts.get(SHARDS_MISSING):
            yield f"{shard.source}: is a partial merge: merge the files of its shards, with those it lacked"


def _labels(shards: Sequence[ShardFile]) -> tuple[Banner, ...]:
    """As the report of each shard would show them."""
    found: dict[tuple[str, str], Banner] = {}
    for shard in shards:
        models = [row.model for row in shard.result.results if row.model is not None]
        for label in labels(_as_run(shard), shard.result, models):
            found.setdefault((label.title, label.text), label)
    return tuple(found.values())


def _as_run(shard: ShardFile) -> RunRecord:
    provenance = shard.facts.get("provenance")
    return RunRecord(
        id=shard.name,
        created="",
        name=shard.name,
        scenario={},
        request={},
        plan=shard.plan,
        provenance=provenance if isinstance(provenance, dict) else {},
        reported=dict(shard.facts),
    )


def _other_assessments(shards: Sequence[ShardFile]) -> Iterator[str]:
    """Files of another plan or, among those of one plan, of another configuration, agent, model or image."""
    first = shards[0]
    others = [shard for shard in shards if shard.record.digest != first.record.digest]
    if others:
        yield from (
            f"{other.source}: plan {other.record.digest}, {first.source} has {first.record.digest}" for other in others
        )
        return
    head, config = _head(first.record), _config(first)
    for other in shards[1:]:
        yield from _different(other, "plan.", _head(other.record), first, head)
        yield from _different(other, "config ", _config(other), first, config)
    for what, read in _IDENTITIES.items():
        for other, here, before, there in _against_first(shards, read):
            if here != there:
                yield f"{other.source}: {what} {here!r}, {before.source} has {there!r}"
    for other, mine, before, theirs in _against_first(shards, _models):
        if not mine & theirs:
            yield f"{other.source}: answered by {_listed(mine)}, {before.source} by {_listed(theirs)}"
    for other, images, before, known in _against_first(shards, lambda shard: shard.image_digests):
        for name in sorted(name for name in images.keys() | known.keys() if images.get(name) != known.get(name)):
            yield (
                f"{other.source}: image of {name} is {images.get(name, 'not recorded')},"
                f" {before.source} has {known.get(name, 'not recorded')}"
            )


def _against_first(
    shards: Sequence[ShardFile], read: Callable[[ShardFile], T | None]
) -> Iterator[tuple[ShardFile, T, ShardFile, T]]:
    """Each shard that says something, beside the first one that does; None: the file does not say."""
    known = [(shard, found) for shard in shards if (found := read(shard)) is not None]
    for shard, found in known[1:]:
        yield shard, found, *known[0]


def _different(
    other: ShardFile, what: str, told: Mapping[str, JsonValue], first: ShardFile, known: Mapping[str, JsonValue]
) -> Iterator[str]:
    for name in sorted(told.keys() | known.keys()):
        if (here := told.get(name)) != (there := known.get(name)):
            yield f"{other.source}: {what}{name} is {here!r}, {first.source} has {there!r}"


def _head(record: PlanRecord) -> Mapping[str, JsonValue]:
    """What the record says of the whole plan. How the loading of a data set failed may be told in other words."""
    head: Object = record.model_dump(mode="json", exclude={"trials", "shard_index", "benchmarks", "shortfalls"})
    head["benchmarks"] = [
        benchmark.model_dump(mode="json") | {"skipped": bool(benchmark.skipped)} for benchmark in record.benchmarks
    ]
    head["shortfalls"] = [shortfall.model_dump(mode="json", exclude={"reason"}) for shortfall in record.shortfalls]
    return head


def _config(shard: ShardFile) -> Mapping[str, JsonValue]:
    """Values in force, whoever said them; which shard it is may differ."""
    config = shard.facts.get("effective_config")
    entries = config if isinstance(config, dict) else {}
    values = {key: entry.get("value") if isinstance(entry, dict) else entry for key, entry in entries.items()}
    return {key: value for key, value in values.items() if key not in SHARD_KEYS}


def _card(shard: ShardFile) -> JsonValue:
    card = shard.facts.get("purple_agent")
    return f"{card['name']} {card.get('version', '')}".strip() if isinstance(card, dict) and card.get("name") else None


def _judge(shard: ShardFile) -> JsonValue:
    """Who judges and how. Where it is asked and how it was calibrated are matters of a machine."""
    told = shard.facts.get("judge_config")
    if not isinstance(told, dict):
        return None
    members = [member for member in _list(told.get("members")) if isinstance(member, dict)]
    named = [{key: member.get(key) for key in ("provider", "model", "temperature", "max_tokens")} for member in members]
    return {"template": told.get("template"), "fallback": told.get("fallback"), "members": list[JsonValue](named)}


_IDENTITIES: Final[Mapping[str, Callable[[ShardFile], JsonValue]]] = {
    "participants": lambda shard: dict(shard.participants) or None,
    "model_id": lambda shard: shard.facts.get("model_id"),
    "agent": _card,
    "judge": _judge,
}
"""Who took part; None: the file does not say."""


def _models(shard: ShardFile) -> frozenset[tuple[str, str]] | None:
    """Provider and model of what answered. A router may name several, so shards need one in common."""
    rows = (row.model for row in shard.result.results)
    return frozenset((model.provider, model.model) for model in rows if model is not None) or None


def _listed(models: Iterable[tuple[str, str]]) -> str:
    return ", ".join("/".join(model) for model in sorted(models))


def _crossing(shards: Sequence[ShardFile]) -> Iterator[str]:
    """What is there twice."""
    by_index: dict[int, ShardFile] = {}
    for shard in shards:
        index = shard.record.shard_index
        if index in by_index:
            yield f"{shard.source}: shard {index} is in {by_index[index].source} already"
        by_index.setdefault(index, shard)
    owners: dict[str, ShardFile] = {}
    places: dict[int, ShardFile] = {}
    for shard in by_index.values():
        for trial in shard.record.trials:
            if trial.key in owners:
                yield f"{shard.source}: trial {trial.key!r} is in {owners[trial.key].source} already"
            elif trial.position in places:
                before = places[trial.position].source
                yield f"{shard.source}: position {trial.position} of the plan is taken in {before} already"
            owners.setdefault(trial.key, shard)
            places.setdefault(trial.position, shard)


def numbers_of(shards: Sequence[int]) -> str:
    """Numbers of shards for a reader, who wants the first ones."""
    more = f" and {len(shards) - NUMBERS_TOLD} more" if len(shards) > NUMBERS_TOLD else ""
    return ", ".join(map(str, shards[:NUMBERS_TOLD])) + more


def _missing(shards: Sequence[ShardFile]) -> list[int]:
    there = {shard.record.shard_index for shard in shards}
    return [index for index in range(shards[0].record.num_shards) if index not in there]


def _gaps(shards: Sequence[ShardFile], *, partial: bool) -> Iterator[str]:
    """What is not there, and a union that is not the plan whose digest all claim."""
    record, sources = shards[0].record, ", ".join(shard.source for shard in shards)
    lacking = _missing(shards)
    if lacking and not partial:
        numbers = numbers_of(lacking)
        yield f"{sources}: shard {numbers} of {record.num_shards} is missing; --partial merges what is there"
        return
    union = sorted((trial for shard in shards for trial in shard.record.trials), key=lambda trial: trial.position)
    faults = [*whole_faults(record, union), *unnamed_faults(record, union)]
    yield from (f"{sources}: {fault}" for fault in faults)


def _facts(shards: Sequence[ShardFile], computed: Mapping[str, JsonValue], missing: Sequence[int]) -> Object:
    """The metadata that no row says: what all shards say alike, sums, and each shard's own."""
    names = dict.fromkeys(name for shard in shards for name in shard.facts if name not in computed)
    shared = {name: _common([shard.facts.get(name) for shard in shards]) for name in names if name not in OF_ONE_SHARD}
    unsafe = [
        told for shard in shards if isinstance(told := shard.facts.get("sandbox"), dict) and not told.get("isolated")
    ]
    shared |= {"sandbox": unsafe[0]} if unsafe else {}
    if any(shard.facts.get(SELECTED) is True for shard in shards):
        shared[SELECTED] = True
    models = [model for shard in shards for model in _list(shard.facts.get("models"))]
    starts = [start for shard in shards if (start := _number(shard.facts.get("started_at"))) is not None]
    summed: Object = {
        "purple_agent": next((shard.facts.get("purple_agent") for shard in shards if _card(shard)), None),
        "run_id": None,
        "run_status": "complete" if computed["complete"] else "incomplete",
        "started_at": min(starts, default=None),
        "duration_s": sum(_number(shard.facts.get("duration_s")) or 0.0 for shard in shards),
        "rescored": sum(n for shard in shards if isinstance(n := shard.facts.get("rescored"), int)),
        "models": list({json.dumps(model, sort_keys=True): model for model in models}.values()),
        "provenance": _provenance(shards),
        SHARDS: [_told(shard) for shard in shards],
        SHARDS_MISSING: list[JsonValue](missing),
    }
    return {**shared, **summed}


def _told(shard: ShardFile) -> Object:
    """One shard, for the record."""
    kept: Object = {
        name: shard.facts.get(name)
        for name in ("run_id", "run_status", "started_at", "duration_s", "models", "sandbox", "purple_agent")
    }
    counts: Object = {"planned": len(shard.record.trials), "counted": sum(s.counted for s in shard.result.sections)}
    place: Object = {"shard_index": shard.record.shard_index, "file": shard.name, "status": shard.status}
    return place | counts | kept | {"provenance": shard.facts.get("provenance")}


def _provenance(shards: Sequence[ShardFile]) -> Object:
    """What all were made with; the time is that of the last one."""
    told = [found for shard in shards if isinstance(found := shard.facts.get("provenance"), dict)]
    names = dict.fromkeys(name for found in told for name in found if name != "earlier_executions")
    kept: Object = {name: _common([_unsharded(name, found.get(name)) for found in told]) for name in names}
    times = [time for found in told if isinstance(time := found.get("timestamp"), str)]
    digests: Object = {name: text for shard in shards for name, text in (shard.image_digests or {}).items()}
    # A label must not be lost because one shard did without what it warns of.
    reference = any(found.get("reference_engine") is True for found in told)
    return kept | {"timestamp": max(times, default=None), "image_digests": digests, "reference_engine": reference}


def _unsharded(name: str, value: JsonValue) -> JsonValue:
    if name != "config" or not isinstance(value, dict):
        return value
    return {key: item for key, item in value.items() if key not in SHARD_KEYS}


def _common(values: Sequence[JsonValue]) -> JsonValue:
    """What all say that say something; None when they differ: each shard's own is in its file."""
    known = [value for value in values if value is not None]
    return known[0] if known and all(value == known[0] for value in known) else None


def _list(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _status(shards: Sequence[ShardFile], result: AssessmentResult) -> str:
    """In the words of the platform: what a shard ended as carries over; missing shards show in coverage and bounds."""
    told = {shard.status for shard in shards}
    planned, counted = (sum(getattr(section, name) for section in result.sections) for name in ("planned", "counted"))
    return next((word for word in _WORST if word in told), "failed" if planned and not counted else "completed")
