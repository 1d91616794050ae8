"""The rows of a result file: texts cut so that files stay small, old names beside ours so that old readers work.

The journal holds everything; only printed rows are cut. Names: finance specification 10.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from services.contract.results import AssessmentResult, TaskResult

CUT_MARK: Final = " [...]"
NATIVE_SCALES: Final = {"options": 100.0, "crypto": 100.0}
"""Benchmarks whose `score_native` is not 0..1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """How much of one text is printed."""

    max_chars: int
    store: bool = True
    truncate: bool = True

    def cut(self, text: str) -> str:
        """The text, left out or cut visibly."""
        if not self.store:
            return ""
        if not self.truncate or len(text) <= self.max_chars:
            return text
        return text[: self.max_chars] + CUT_MARK


@dataclass(frozen=True, kw_only=True, slots=True)
class Printed:
    """How rows are printed in the artifact and in result files. Transcripts stay whole; they travel with the streamed rows."""

    predicted: Shown = field(default_factory=lambda: Shown(max_chars=200))
    question: Shown = field(default_factory=lambda: Shown(max_chars=200))
    expected: Shown = field(default_factory=lambda: Shown(max_chars=100))

    def apply(self, result: AssessmentResult) -> AssessmentResult:
        """The result with its rows cut, and with the names that AgentBusters used."""
        return result.model_copy(update={"results": [self._row(row) for row in result.results]})

    def cut(self, row: TaskResult) -> TaskResult:
        """A row with its texts as they are printed."""
        return row.model_copy(
            update={
                "question": self.question.cut(row.question),
                "expected": self.expected.cut(row.expected),
                "answer": self.predicted.cut(row.answer),
            }
        )

    def _row(self, row: TaskResult) -> TaskResult:
        row = self.cut(row)
        named: dict[str, JsonValue] = {
            "example_id": row.task_id,
            "dataset_type": row.benchmark,
            "predicted": row.answer,
            "score_native": None if row.score is None else row.score * NATIVE_SCALES.get(row.benchmark, 1.0),
            "is_correct": row.passed,
            "feedback": row.explanation,
            "llm_used": any(not call.kind for call in row.judgements),
        }
        facts = {name: value for name, value in row.details.items() if name not in TaskResult.model_fields}
        judgements = tuple(call.model_copy(update={"raw": ""}) for call in row.judgements)
        return row.model_copy(update=facts | named | {"judgements": judgements})
