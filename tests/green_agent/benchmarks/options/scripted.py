"""An agent that says what a script says."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from services.contract.conversation import Reply, Transcript, Turn
from services.green_agent.benchmarks.base import Score, ScoringTools
from services.green_agent.benchmarks.options import GeneratorConfig, Options, OptionsConfig, OptionsTask


class ScriptedSession:
    """Gives its replies in order and keeps the transcript, as the session of an assessment does."""

    def __init__(self, *replies: str) -> None:
        self._replies = list(replies)
        self.turns: list[Turn] = []
        self.notes: dict[str, JsonValue] = {}

    async def ask(self, text: str) -> Reply:
        reply = Reply(text=self._replies.pop(0))
        self.turns.append(Turn(question=text, reply=reply))
        return reply

    def note(self, key: str, value: JsonValue) -> None:
        self.notes[key] = value

    @property
    def transcript(self) -> Transcript:
        return Transcript(turns=tuple(self.turns), notes=self.notes)


def options(*, count: int = 90, seed: int = 42) -> Options:
    return Options(OptionsConfig(type="options", generator=GeneratorConfig(count=count)), seed=seed)


async def played(benchmark: Options, task: OptionsTask, replies: Sequence[str]) -> tuple[Score, ScriptedSession]:
    """The score of a conversation in which the agent gives these replies."""
    session = ScriptedSession(*replies)
    await benchmark.converse(task, 0, session)
    return await benchmark.score(task, 0, session.transcript, ScoringTools()), session
