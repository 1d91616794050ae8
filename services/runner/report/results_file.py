"""`results.json`: the file that leaderboards read (interop specification 6), written atomically."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from services.contract.aggregation import aggregate
from services.contract.assessment import RequestError, parse_config
from services.contract.conversation import ModelFacts
from services.contract.plan_record import PLAN
from services.contract.printing import Printed
from services.contract.results import STREAMED_ONLY, AssessmentResult, Section, TaskResult
from services.runner.failures import ReportError
from services.runner.journal import RunRecord, RunStatus

NAME: Final = "results.json"
GUIDE_SECTIONS: Final = {
    Section.KNOWLEDGE_RETRIEVAL: "knowledge",
    Section.ANALYTICAL_REASONING: "analysis",
    Section.OPTIONS_TRADING: "options",
    Section.CRYPTO_TRADING: "crypto",
    Section.PROFESSIONAL_TASKS: "gdpval",
}
SHARD_KEYS: Final = frozenset({"shard_index", "num_shards"})
"""Keys of a config that say which shard of an assessment is asked, and nothing else of it."""
COMPUTED: Final = frozenset(
    {
        "num_tasks",
        "num_planned",
        "num_successful",
        "num_nonzero",
        "outcomes",
        "complete",
        "coverage",
        "plan_digest",
        PLAN,
        STREAMED_ONLY,
    }
)
"""Facts of green's artifact that a resumed run computes anew from its rows, or that hold for the artifact alone."""


def result_of(run: RunRecord, rows: Sequence[TaskResult], models: Sequence[ModelFacts]) -> AssessmentResult:
    """The result of a run, from its plan and rows; what green said of itself and the provenance go beside the numbers."""
    kept = {key: value for key, value in run.reported.items() if key not in COMPUTED}
    config = run.request.get("config")
    told: dict[str, JsonValue] = {"conduct_debate": _debate(run), "ignored_keys": []}
    own: dict[str, JsonValue] = {
        "purple_agent": kept.get("purple_agent") or _card(run),
        "run_id": run.id,
        "run_status": str(run.status),
        "model_id": config.get("model_id") if isinstance(config, dict) else None,
        "models": [model.model_dump(mode="json") for model in models],
        "provenance": _provenance(run),
    }
    return aggregate(run.plan, rows, metadata=told | kept | own)


def _card(run: RunRecord) -> JsonValue:
    """Who was examined, of a run whose green was lost before it could say so; None: not known."""
    roles = list(participants(run))
    agents = run.provenance.get("agents")
    card = agents.get(roles[0]) if isinstance(agents, dict) and len(roles) == 1 else None
    return {name: card.get(name) for name in ("name", "version")} if isinstance(card, dict) else None


def _debate(run: RunRecord) -> bool:
    asked = run.plan.effective_config.get("conduct_debate")
    return isinstance(asked, dict) and asked.get("value") is True


def _provenance(run: RunRecord) -> dict[str, JsonValue]:
    """With the config as it was read: "10" and 10 are one value, and a field has one JSON type in every file."""
    config = run.provenance.get("config")
    if not isinstance(config, dict):
        return run.provenance
    try:
        read = parse_config(config).model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    except RequestError:
        return run.provenance
    return run.provenance | {"config": read}


def results_document(run: RunRecord, result: AssessmentResult) -> dict[str, JsonValue]:
    """`{"status", "participants", "results"}` with one result object. Long answers are cut visibly; the journal has them.

    The words of `status` are those of the platform's gateway: the last state of green's task. A shard in which nothing could be
    scored is `completed` like green's task: it is one part of something.
    """
    unfinished = {RunStatus.INTERRUPTED: "canceled", RunStatus.LOST: "failed", RunStatus.RUNNING: "failed"}
    alone = run.plan.num_shards == 1 and bool(run.plan.trials)
    nothing_counted = alone and not any(section.counted for section in result.sections)
    status = unfinished.get(run.status, "failed" if nothing_counted else "completed")
    return {
        "status": status,
        "participants": participants(run),
        "results": [Printed().apply(result).model_dump(mode="json")],
    }


def guide_document(run: RunRecord, result: AssessmentResult) -> dict[str, JsonValue]:
    """The short form of the finance guide: `{timestamp, config, results}` with plain numbers and short section names.

    A section without a score is left out: a number there would be a lie. Coverage and bounds do not fit this form.
    """
    config = run.request.get("config")
    return {
        "timestamp": run.created,
        "config": config if isinstance(config, dict) else {},
        "results": {
            "overall_score": result.overall_score.score,
            "section_scores": {
                GUIDE_SECTIONS.get(section.section, str(section.section)): section.score
                for section in result.sections
                if section.score is not None
            },
            "dataset_scores": {
                name: score.score / 100 for name, score in result.dataset_scores.items() if score.score is not None
            },
        },
    }


def participants(run: RunRecord) -> dict[str, JsonValue]:
    """Role to AgentBeats id, or to the configured name."""
    agents = run.scenario.get("participants")
    tables = [agent for agent in agents if isinstance(agent, dict)] if isinstance(agents, list) else []
    return {str(agent["role"]): agent.get("agentbeats_id") or agent["role"] for agent in tables}


def write_json(path: Path, document: JsonValue) -> None:
    """Write JSON so that a reader sees the old file or the new one. Raises ReportError."""
    try:
        text = json.dumps(document, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        text.encode()
    except ValueError as error:
        raise ReportError(f"cannot write {path}: something in it is none of JSON ({error})") from None
    write_text(path, text)


def write_text(path: Path, text: str) -> None:
    """Write a file atomically and durably; a link stays a link. Raises ReportError naming the path and the remedy."""
    try:
        if path.exists() and not path.is_file():
            path.write_text(text, encoding="utf-8")  # a device or a pipe: replacing it would destroy it
        else:
            _replace(path.resolve(), text)
    except OSError as error:
        raise ReportError(
            f"cannot write {path} ({error.strerror or error}): free space or make the folder writable, then try again"
            " (`assay report` for the results of a run: the journal is whole)"
        ) from None


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
