"""Reads result files of older formats and says what their rows are worth when errors count (finance specification 10).

The stored score is shown beside two of our own: with every error row at 0, and with errors left out. An error is a row with an
`error`, which the old mean dropped, and an error text that was graded as an answer. Old and new scores never share a ranking: an
old file does not say what exactly was asked, or how it was judged.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from pydantic import JsonValue
from pydantic_core import from_json

from services.contract.outcomes import is_error_text
from services.contract.results import Section
from services.runner.failures import ReportError

Object = dict[str, JsonValue]

SECTIONS: Final = {
    "knowledge": Section.KNOWLEDGE_RETRIEVAL,
    "analysis": Section.ANALYTICAL_REASONING,
    "options": Section.OPTIONS_TRADING,
    "crypto": Section.CRYPTO_TRADING,
    "gdpval": Section.PROFESSIONAL_TASKS,
    "professional": Section.PROFESSIONAL_TASKS,
} | {str(section): section for section in Section}
"""Names a section goes by."""
DATASETS: Final = {
    "bizfinbench": Section.KNOWLEDGE_RETRIEVAL,
    "prbench": Section.KNOWLEDGE_RETRIEVAL,
    "public_csv": Section.KNOWLEDGE_RETRIEVAL,
    "synthetic": Section.ANALYTICAL_REASONING,
    "options": Section.OPTIONS_TRADING,
    "crypto": Section.CRYPTO_TRADING,
    "gdpval": Section.PROFESSIONAL_TASKS,
}
RESULT_KEYS: Final = frozenset(
    {
        "result",
        "results",
        "parts",
        "overall_score",
        "average_score",
        "section_scores",
        "dataset_scores",
        "detailed_results",
    }
)
"""A document with one of these is meant as a result."""
OUT_OF_100: Final = frozenset({"options", "crypto"})
"""Data sets whose old rows hold 0..100."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldRow:
    """One row: a score 0..1, or an error."""

    task_id: str
    dataset: str
    score: float | None
    graded_error: bool = False
    """True when the old score counts an error text as if it were an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldResult:
    """One evaluation of an old file; scores 0..100."""

    form: str
    stored: float | None
    stored_sections: dict[str, float]
    rows: tuple[OldRow, ...]
    agent: str = ""
    """Id or name of the agent, as the file has it."""
    model: str = ""
    tasks: int | None = None
    """As the file claims it."""

    @property
    def errors(self) -> int:
        """Rows without an answer that could be scored."""
        return sum(row.score is None for row in self.rows)

    @property
    def graded_errors(self) -> int:
        """Those of them whose error text was graded as an answer."""
        return sum(row.graded_error for row in self.rows)

    @property
    def coverage(self) -> float | None:
        """Share of rows in the stored mean, which leaves rows with an `error` out; None without rows."""
        dropped = self.errors - self.graded_errors
        return 1 - dropped / len(self.rows) if self.rows else None

    @property
    def recomputed(self) -> float | None:
        """Mean of section means with every error row at 0; None without rows."""
        return _overall(self.rows)

    @property
    def errors_excluded(self) -> float | None:
        """The same over the rows without an error."""
        return _overall([row for row in self.rows if row.score is not None])


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """One evaluation as it lies in a file, of whatever age."""

    form: str
    data: Object
    detailed: JsonValue = None
    """Rows that stand beside it in the file."""
    agent: str = ""
    model: str = ""


class NoResultError(ReportError):
    """A JSON file that is something else altogether: nothing in it looks like a result."""


def read_old_results(path: Path) -> list[OldResult]:
    """Every evaluation a file holds. Raises ReportError when it is of no known form."""
    return [old_result(found) for found in read_evaluations(path)]


def read_evaluations(path: Path) -> list[Evaluation]:
    """Every evaluation a file holds, of our own form as well. Raises ReportError when it is of no known form."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: cannot be read ({error})") from None
    documents = list(_documents(path, text))
    found = [evaluation for document in documents for evaluation in _evaluations(document)]
    if not found:
        kind = ReportError if any(RESULT_KEYS & document.keys() for document in documents) else NoResultError
        raise kind(
            f"{path}: no known form of results: expected a JSON-RPC response, an artifact, {{participants, results}},"
            " {schema_version, results, detailed_results}, {config, results} or entries.ndjson"
        )
    return found


def _documents(path: Path, text: str) -> Iterator[Object]:
    """The JSON object of the file, or one a line."""
    try:
        whole = from_json(text)
    except ValueError as error:
        yield from _lines(path, text, str(error))
        return
    if not isinstance(whole, dict):
        raise NoResultError(f"{path}: not a JSON object")
    yield whole


def _lines(path: Path, text: str, fault: str) -> Iterator[Object]:
    """One object a line. A first line that is none is the beginning of one broken document, `fault` says how."""
    for number, line in enumerate((line for line in text.splitlines() if line.strip()), 1):
        try:
            document = from_json(line)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            where = f"{path}: not a JSON object ({fault})" if number == 1 else f"{path}:{number}: not a JSON object"
            raise ReportError(where)
        yield document
    if not text.strip():
        raise ReportError(f"{path}: empty")


def _evaluations(document: Object) -> Iterator[Evaluation]:
    response, results = document.get("result"), document.get("results")
    config = _object(document.get("config"))
    model = _text(config.get("llm_model") or config.get("model"))
    if isinstance(response, dict):
        for artifact in _objects(_object(response.get("task") or response).get("artifacts")):
            yield from _of_artifact(artifact, "json-rpc", model)
    elif "parts" in document:
        yield from _of_artifact(document, "artifact", model)
    elif isinstance(results, dict):
        yield Evaluation(form="guide", data=results | {"num_tasks": config.get("num_tasks")}, model=model)
    elif "participants" in document and isinstance(results, list):
        agent = _agent(document["participants"])
        yield from (Evaluation(form="leaderboard", data=entry, agent=agent) for entry in _objects(results))
    elif "detailed_results" in document and not _is_evaluation(document):
        rows = document["detailed_results"]
        yield from (Evaluation(form="green 1.0", data=entry, detailed=rows) for entry in _objects(results))
    elif _is_evaluation(document):
        yield Evaluation(form="entry" if "scenario_id" in document else "artifact", data=document, model=model)


def _of_artifact(artifact: Object, form: str, model: str) -> Iterator[Evaluation]:
    for part in _objects(artifact.get("parts")):
        root = _object(part.get("root") or part)
        data = root.get("data")
        if not isinstance(data, dict):
            data = _parsed(root.get("text"))
        if _is_evaluation(data):
            yield Evaluation(form=form, data=data, model=model)


def _is_evaluation(data: Mapping[str, JsonValue]) -> bool:
    return any(name in data for name in ("overall_score", "average_score", "section_scores", "dataset_scores"))


def _agent(participants: JsonValue) -> str:
    """The only participant's id; of several the one whose role says purple, else all of them."""
    told = {role: _text(agent) for role, agent in _object(participants).items()}
    return next((told[role] for role in told if "purple" in role), ", ".join(told.values()))


def old_result(found: Evaluation) -> OldResult:
    """What an evaluation of an older format claims, and its rows."""
    data = found.data
    sections: dict[str, float] = {}
    for name, value in _object(data.get("section_scores")).items():
        score = _number(_object(value).get("score")) if isinstance(value, dict) else _number(value)
        if name in SECTIONS and score is not None:
            sections[SECTIONS[name]] = score
    for section in Section:
        score = _number(data.get(f"{section}_score"))
        if score is not None:
            sections[section] = score
    overall = data.get("overall_score")
    stored = _number(_object(overall).get("score")) if isinstance(overall, dict) else _number(overall)
    if stored is None and (mean := _number(data.get("average_score"))) is not None:
        stored = 100 * mean
    rows = _rows(found.detailed) or _rows(data.get("results")) or _rows(data.get("detailed_results"))
    metadata = _object(data.get("evaluation_metadata"))
    tasks = _number(metadata.get("num_tasks", data.get("num_tasks")))
    return OldResult(
        form=found.form,
        stored=stored,
        stored_sections=sections,
        rows=rows,
        agent=found.agent or _text(metadata.get("purple_agent")) or _text(data.get("purple_agent")),
        model=found.model,
        tasks=None if tasks is None else int(tasks),
    )


def _rows(raw: JsonValue) -> tuple[OldRow, ...]:
    return tuple(_row(entry, number) for number, entry in enumerate(_objects(raw)))


def _row(entry: Object, number: int) -> OldRow:
    dataset = str(entry.get("dataset_type") or entry.get("benchmark") or "unknown")
    score = _number(entry.get("score"))
    if score is None and (normalized := _number(entry.get("normalized_score"))) is not None:
        score = normalized / 100
    elif score is not None and dataset in OUT_OF_100 and "outcome" not in entry:
        score /= 100
    dropped = bool(entry.get("error")) or score is None
    graded_error = not dropped and is_error_text(_text(entry.get("predicted")))
    return OldRow(
        task_id=str(entry.get("example_id") or entry.get("task_id") or number),
        dataset=dataset,
        score=None if dropped or graded_error or score is None else min(1.0, max(0.0, score)),
        graded_error=graded_error,
    )


def _overall(rows: Sequence[OldRow]) -> float | None:
    by_section: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        by_section[DATASETS.get(row.dataset, row.dataset)].append(row.score or 0.0)
    return 100 * fmean(fmean(scores) for scores in by_section.values()) if by_section else None


def _objects(raw: JsonValue) -> list[Object]:
    return [entry for entry in raw if isinstance(entry, dict)] if isinstance(raw, list) else []


def _object(raw: JsonValue) -> Object:
    return raw if isinstance(raw, dict) else {}


def _text(raw: JsonValue) -> str:
    return raw if isinstance(raw, str) else ""


def _parsed(text: JsonValue) -> Object:
    try:
        return _object(json.loads(text)) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}


def _number(raw: JsonValue) -> float | None:
    """Numbers may be written as text; booleans, NaN and what no float holds are none."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        number = float(raw)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
