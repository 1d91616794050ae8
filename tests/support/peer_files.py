"""The peer's question files, where they are here, and a judge that follows a rule, for tests of their items."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal

import pytest

from services.contract.outcomes import Failure, Outcome
from services.green_agent.data.store import Store
from services.green_agent.judge.asking import BinaryVerdict, Case, CriteriaVerdict, Preference, Scale, ScalesVerdict

MIRROR: Final = Path(os.environ.get("ASSAY_DATA_FROM", Path(__file__).parents[3] / "shared" / "data"))
SYNTHETIC: Final = MIRROR / "agentbusters" / "synthetic_questions" / "questions.json"
OPTIONS: Final = MIRROR / "agentbusters" / "options" / "questions.json"
STORE: Final = Store(mirror=MIRROR)

needs_peer_files = pytest.mark.skipif(
    not (SYNTHETIC.exists() and OPTIONS.exists()), reason="no agentbusters/ in the folder ASSAY_DATA_FROM"
)


class RuleJudge:
    """Decides each criterion by a function of (case, criterion) and keeps what it was asked."""

    name = "rule"
    fallback: Literal["none", "rule"] = "none"

    def __init__(self, meets: Callable[[Case, str], bool]) -> None:
        self._meets = meets
        self.cases: list[Case] = []

    async def criteria(self, case: Case, criteria: Sequence[str]) -> CriteriaVerdict:
        self.cases.append(case)
        met = tuple(self._meets(case, criterion) for criterion in criteria)
        return CriteriaVerdict(met=met, reasons=tuple("by rule" for _ in met))

    async def scales(self, case: Case, scales: Sequence[Scale]) -> ScalesVerdict:
        raise Failure(Outcome.JUDGE_ERROR, "not_asked", "no scales here")

    async def correct(self, case: Case) -> BinaryVerdict:
        raise Failure(Outcome.JUDGE_ERROR, "not_asked", "no verdict here")

    async def compare(self, case: Case, first: str, second: str, *, swapped: bool) -> Preference:
        raise Failure(Outcome.JUDGE_ERROR, "not_asked", "no comparison here")
