"""One or several judges behind one face: majority a criterion, median a scale."""

from __future__ import annotations

from services.contract.assessment import PlannedTrial
from services.contract.judgements import Judgement
from services.green_agent.judge.asking import Judge
from services.green_agent.judge.settings import JudgeSettings


class JudgeUnavailableError(Exception):
    """There is no usable judge. The text says why and what would help."""


class JudgePanel:
    """The judges of an assessment."""

    def for_trial(self, trial: PlannedTrial, record: list[Judgement]) -> Judge:
        """The judge for one trial; every call is appended to `record`, failed ones included."""
        raise NotImplementedError

    async def aclose(self) -> None:
        """Close connections and the cache."""
        raise NotImplementedError


async def open_judge(settings: JudgeSettings) -> JudgePanel:
    """The judge of these settings. Raises JudgeUnavailableError."""
    raise NotImplementedError
