"""How much of an answer the rows of a result file show: the files stay small, the journal holds everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.contract.results import AssessmentResult

CUT_MARK: Final = " [...]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Printed:
    """How much of an answer the rows of the artifact show. Transcripts stay whole; they travel with the streamed rows."""

    answers: bool = True
    truncate: bool = True
    max_chars: int = 200

    def apply(self, result: AssessmentResult) -> AssessmentResult:
        """The result with its rows' answers left out or cut visibly."""
        rows = [row.model_copy(update={"answer": self._cut(row.answer)}) for row in result.results]
        return result.model_copy(update={"results": rows})

    def _cut(self, answer: str) -> str:
        if not self.answers:
            return ""
        if not self.truncate or len(answer) <= self.max_chars:
            return answer
        return answer[: self.max_chars] + CUT_MARK
