"""Reads result files of older formats and says what their rows are worth when errors count (finance specification 10).

The stored score is shown beside two of our own: with every error row at 0, and with errors left out. Old and new scores never
share a ranking: an old file does not say what exactly was asked, or how it was judged.
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

from pydantic import JsonValue, TypeAdapter, ValidationError

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
OUT_OF_100: Final = frozenset({"options", "crypto"})
"""Data sets whose old rows hold 0..100."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OldRow:
    """One row: a score 0..1, or an error."""

    task_id: str
    dataset: str
    score: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class OldResult:
    """One evaluation of an old file; scores 0..100."""

    form: str
    stored: float | None
    stored_sections: dict[str, float]
    rows: tuple[OldRow, ...]

    @property
    def errors(self) -> int:
        """Rows without a score."""
        return sum(row.score is None for row in self.rows)

    @property
    def recomputed(self) -> float | None:
        """Mean of section means with every error row at 0; None without rows."""
        return _overall(self.rows)

    @property
    def errors_excluded(self) -> float | None:
        """The same over the rows without an error, which is what the old score did."""
        return _overall([row for row in self.rows if row.score is not None])


def read_old_results(path: Path) -> list[OldResult]:
    """Every evaluation a file holds. Raises ReportError when it is of no known form."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: cannot be read ({error})") from None
    found = [result for document in _documents(path, text) for result in _results(document)]
    if not found:
        raise ReportError(
            f"{path}: no known form of results: expected a JSON-RPC response, an artifact, {{participants, results}},"
            " {schema_version, results, detailed_results}, {config, results} or entries.ndjson"
        )
    return found


def _documents(path: Path, text: str) -> Iterator[Object]:
    """The JSON object of the file, or one a line."""
    reader: TypeAdapter[Object] = TypeAdapter(Object)
    try:
        yield reader.validate_json(text)
    except ValidationError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise ReportError(f"{path}: not a JSON object") from None
        for number, line in enumerate(lines, 1):
            try:
                yield reader.validate_json(line)
            except ValidationError:
                raise ReportError(f"{path}:{number}: not a JSON object") from None


def _results(document: Object) -> Iterator[OldResult]:
    response = document.get("result")
    if isinstance(response, dict):
        for artifact in _objects(_object(response.get("task") or response).get("artifacts")):
            yield from _of_artifact(artifact, "json-rpc")
    elif "parts" in document:
        yield from _of_artifact(document, "artifact")
    elif isinstance(document.get("results"), dict):
        yield _evaluation(_object(document["results"]), "guide", ())
    elif "detailed_results" in document:
        rows = _rows(document["detailed_results"])
        yield from (_evaluation(entry, "green 1.0", rows) for entry in _objects(document.get("results")))
    elif "participants" in document and isinstance(document.get("results"), list):
        yield from (_evaluation(entry, "leaderboard", ()) for entry in _objects(document["results"]))
    elif _is_evaluation(document):
        yield _evaluation(document, "entry" if "scenario_id" in document else "artifact", ())


def _of_artifact(artifact: Object, form: str) -> Iterator[OldResult]:
    for part in _objects(artifact.get("parts")):
        root = _object(part.get("root") or part)
        data = root.get("data")
        if not isinstance(data, dict):
            data = _parsed(root.get("text"))
        if _is_evaluation(data):
            yield _evaluation(data, form, ())


def _is_evaluation(data: Mapping[str, JsonValue]) -> bool:
    return any(name in data for name in ("overall_score", "average_score", "section_scores", "dataset_scores"))


def _evaluation(data: Object, form: str, rows: tuple[OldRow, ...]) -> OldResult:
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
    found = rows or _rows(data.get("results")) or _rows(data.get("detailed_results"))
    return OldResult(form=form, stored=stored, stored_sections=sections, rows=found)


def _rows(raw: JsonValue) -> tuple[OldRow, ...]:
    return tuple(_row(entry, number) for number, entry in enumerate(_objects(raw)))


def _row(entry: Object, number: int) -> OldRow:
    dataset = str(entry.get("dataset_type") or entry.get("benchmark") or "unknown")
    score = _number(entry.get("score"))
    if score is not None and dataset in OUT_OF_100 and "outcome" not in entry:
        score /= 100
    failed = bool(entry.get("error")) or score is None
    task_id = str(entry.get("example_id") or entry.get("task_id") or number)
    return OldRow(
        task_id=task_id, dataset=dataset, score=None if failed or score is None else min(1.0, max(0.0, score))
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
