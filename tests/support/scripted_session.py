"""A session with an agent that says what a script says, for tests of one benchmark without a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import JsonValue

from services.contract.conversation import Reply, ReplyFile, Transcript, Turn
from services.contract.outcomes import AgentFailure

Say = Callable[[str, str], Awaitable[Reply]]
"""(branch, question) -> reply; may raise AgentFailure."""


@dataclass(kw_only=True, slots=True)
class _Kept:
    turns: list[Turn] = field(default_factory=list)
    notes: dict[str, JsonValue] = field(default_factory=dict)
    offered: dict[str, Path] = field(default_factory=dict)


class ScriptedSession:
    """Keeps the transcript as the session of an assessment does. `say` may be given instead of replies in order."""

    def __init__(self, *replies: str, say: Say | None = None, files: tuple[ReplyFile, ...] = ()) -> None:
        self._replies = list(replies)
        self._say = say or self._next
        self._files = files
        self._name = ""
        self._kept = _Kept()

    @property
    def turns(self) -> list[Turn]:
        """All turns so far."""
        return self._kept.turns

    @property
    def notes(self) -> dict[str, JsonValue]:
        """What was noted so far."""
        return self._kept.notes

    @property
    def offered(self) -> dict[str, Path]:
        """Files offered so far, by address."""
        return self._kept.offered

    @property
    def transcript(self) -> Transcript:
        """All that was said."""
        return Transcript(turns=tuple(self.turns), notes=dict(self.notes))

    def branch(self, name: str) -> ScriptedSession:
        """Another conversation of the same trial."""
        other = ScriptedSession(say=self._say, files=self._files)
        other._name, other._kept = name, self._kept
        return other

    def note(self, key: str, value: JsonValue) -> None:
        """Keep something beside the words."""
        self.notes[key] = value

    def offer(self, file: Path, *, name: str) -> str:
        """A made-up address."""
        url = f"http://127.0.0.1:9/files/{len(self.offered)}/{name}"
        self.offered[url] = file
        return url

    async def ask(self, text: str) -> Reply:
        """The next reply of the script."""
        try:
            reply = await self._say(self._name, text)
        except AgentFailure as failure:
            self.turns.append(Turn(question=text, error=f"{failure.kind}: {failure.message}", branch=self._name))
            raise
        self.turns.append(Turn(question=text, reply=reply, branch=self._name))
        return reply

    async def _next(self, branch: str, text: str) -> Reply:
        return Reply(text=self._replies.pop(0), files=self._files)
