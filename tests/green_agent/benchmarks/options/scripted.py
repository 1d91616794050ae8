"""An agent that says what a script says."""

from __future__ import annotations

from collections.abc import Sequence

from services.green_agent.benchmarks.base import Score, ScoringTools, Setting
from services.green_agent.benchmarks.options import GeneratorConfig, Options, OptionsConfig, OptionsTask
from tests.support.scripted_session import ScriptedSession


def options(*, count: int = 90, seed: int = 42) -> Options:
    return Options(OptionsConfig(type="options", generator=GeneratorConfig(count=count)), Setting(seed=seed))


async def played(benchmark: Options, task: OptionsTask, replies: Sequence[str]) -> tuple[Score, ScriptedSession]:
    """The score of a conversation in which the agent gives these replies."""
    session = ScriptedSession(*replies)
    await benchmark.converse(task, 0, session)
    return await benchmark.score(task, 0, session.transcript, ScoringTools()), session
