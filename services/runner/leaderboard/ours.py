"""A result of ours, its shards merged, as an entry."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Final

from pydantic import JsonValue

from services.contract.results import AssessmentResult, OverallScore, SectionScore
from services.runner.leaderboard.entries import Comparable, Entry, Standing
from services.runner.submissions.merging import SELECTED
from services.runner.submissions.shards import ShardFile
from services.runner.submissions.whole import SHARDS, SHARDS_MISSING

REFERENCE_FINGERPRINT: Final = "reference-engine"
Object = dict[str, JsonValue]


def entry_of(name: str, shard: ShardFile, result: AssessmentResult) -> Entry:
    """The entry of a whole result. `shard`: one of those it was made of, or itself; it says what was asked, and of whom."""
    plan, facts = shard.record, result.evaluation_metadata
    agent, identifier = _text(_object(facts.get("purple_agent")).get("name")), _participant(shard)
    weights = {str(section.section): section.weight for section in result.sections}
    skipped = {benchmark.section for benchmark in plan.benchmarks if benchmark.skipped}
    return Entry(
        model=_model(facts) or agent or identifier,
        agent=agent,
        id=identifier,
        file=name,
        identity=_run_id(facts) or fingerprint(identifier, result.model_dump(mode="json")),
        comparable=Comparable(
            plan_digest=plan.digest,
            section_mean=plan.section_mean,
            weights=tuple((section, round(weight, 6)) for section, weight in weights.items()),
            datasets=tuple((b.name, str(b.section), b.tasks, bool(b.skipped)) for b in plan.benchmarks),
            trials=plan.num_trials,
            selected_on_scoring_tests=facts.get(SELECTED) is True,
        ),
        suite=plan.suite,
        tasks=plan.num_tasks,
        trials=plan.num_trials,
        seed=plan.seed,
        overall=_overall(result, left_out=bool(skipped)),
        sections={
            s.section: _standing(s, s.counted, s.planned, left_out=s.section in skipped) for s in result.sections
        },
        passed=_count(facts.get("num_successful")),
        outcomes={end: _count(count) for end, count in sorted(_object(facts.get("outcomes")).items())},
        judges=tuple(sorted(_names(_object(facts.get("judge")).get("models")))),
        marks=tuple(_marks(facts)),
    )


def fingerprint(*told: JsonValue) -> str:
    """A digest that two copies of one file share."""
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()


def _overall(result: AssessmentResult, *, left_out: bool) -> Standing:
    counted, planned = (sum(getattr(section, name) for section in result.sections) for name in ("counted", "planned"))
    return _standing(result.overall_score, counted, planned, left_out=left_out)


def _standing(score: OverallScore | SectionScore, counted: int, planned: int, *, left_out: bool) -> Standing:
    return Standing(
        score=score.score,
        lower=score.lower,
        upper=score.upper,
        counted=counted,
        planned=planned,
        interval_low=score.interval_low,
        interval_high=score.interval_high,
        left_out=left_out,
    )


def _marks(facts: Object) -> Iterator[str]:
    if not facts.get("complete"):
        yield "incomplete"
    if isinstance(missing := facts.get(SHARDS_MISSING), list) and missing:
        there = len(_objects(facts.get(SHARDS)))
        yield f"{there} of {there + len(missing)} shards"
    fingerprints = [_text(model.get("fingerprint")) for model in _objects(facts.get("models"))]
    reference = _object(facts.get("provenance")).get("reference_engine") is True
    if reference or any(name.startswith(REFERENCE_FINGERPRINT) for name in fingerprints):
        yield "reference engine, no language model"
    if _object(facts.get("sandbox")).get("isolated") is False:
        yield "unsafe sandbox"


def _run_id(facts: Object) -> str:
    """Of shards that of the first one, however they were put together."""
    shards = _objects(facts.get(SHARDS))
    return _text(facts.get("run_id")) or (_text(shards[0].get("run_id")) if shards else "")


def _participant(shard: ShardFile) -> str:
    return next((_text(agent) for agent in shard.participants.values()), "")


def _model(facts: Object) -> str:
    """As the run was told, else as the agent reports it."""
    reported = {_text(model.get("model")) for model in _objects(facts.get("models"))}
    return _text(facts.get("model_id")) or ", ".join(sorted(reported - {""}))


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
