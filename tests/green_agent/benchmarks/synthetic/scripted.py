"""An agent that says what a script says."""

from __future__ import annotations

from collections.abc import Sequence

from services.green_agent.benchmarks.base import Score, ScoringTools, Setting
from services.green_agent.benchmarks.synthetic import GeneratorConfig, Synthetic, SyntheticConfig, SyntheticTask
from tests.support.scripted_judge import ScriptedJudge
from tests.support.scripted_session import ScriptedSession


def synthetic(*, count: int = 90, seed: int = 42) -> Synthetic:
    return Synthetic(SyntheticConfig(type="synthetic", generator=GeneratorConfig(count=count)), Setting(seed=seed))


async def played(
    benchmark: Synthetic, task: SyntheticTask, replies: Sequence[str], *, judge: ScriptedJudge | None = None
) -> tuple[Score, ScriptedSession]:
    """The score of a conversation in which the agent gives these replies."""
    session = ScriptedSession(*replies)
    await benchmark.converse(task, 0, session)
    return await benchmark.score(task, 0, session.transcript, ScoringTools(judge=judge)), session
