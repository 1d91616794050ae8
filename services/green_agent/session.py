"""One conversation with the agent as a benchmark sees it: asks under a deadline and keeps every word.

What was said before a failure stays in the transcript, so no evidence is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from services.contract.assessment import META_SAMPLE
from services.contract.conversation import (
    LONGEST_FACT,
    LONGEST_WORD,
    ModelCalls,
    ModelFacts,
    Reply,
    Transcript,
    Turn,
    Usage,
)
from services.contract.outcomes import AgentFailure, Failure, Outcome
from services.contract.secrets import redact


class Asks(Protocol):
    """The part of `contract.a2a.client.Conversation` that a session needs."""

    async def ask(self, text: str, deadline: float) -> Reply:
        """Send one message; `deadline` is a loop time. Raises AgentFailure."""
        ...


class Agent(Protocol):
    """The agent under test, as far as a session needs it."""

    def conversation(self, *, metadata: Mapping[str, str]) -> Asks:
        """A fresh conversation; each of its messages carries `metadata`."""
        ...


class Shelf(Protocol):
    """Serves files to the agent while a trial lasts, see `services.green_agent.files`."""

    def offer(self, file: Path, *, name: str, trial: str) -> str:
        """The address of a file."""
        ...

    def withdraw(self, trial: str) -> None:
        """Nothing of the trial is served any more."""
        ...


@dataclass(kw_only=True, slots=True)
class Told:
    """What all conversations of a trial add up to."""

    turns: list[Turn] = field(default_factory=list)
    notes: dict[str, JsonValue] = field(default_factory=dict)
    agent_s: float = 0.0
    """Seconds spent waiting for the agent, summed over conversations."""
    waited_s: float = 0.0
    """Seconds spent waiting for a free place; they extend the trial, since they are not the agent's."""
    usage: Usage = field(default_factory=Usage)
    model: ModelFacts | None = None
    model_calls: ModelCalls | None = None

    def add(self, calls: ModelCalls | None) -> None:
        """Add what the agent says of the model calls of one message."""
        if calls is not None:
            self.model_calls = (self.model_calls or ModelCalls()) + calls


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What holds for every conversation of a trial; times in seconds, the deadline as loop time."""

    trial: str
    sample: int
    """Number of the trial, from 0: the agent is told which sample of the task is wanted, see META_SAMPLE."""
    reply_timeout_s: float
    deadline: float
    places: asyncio.Semaphore
    """Messages in flight to the agent, over all trials."""
    shelf: Shelf | None = None


class Session:
    """Satisfies `contract.conversation.AgentSession`."""

    def __init__(self, agent: Agent, terms: Terms, *, name: str = "", told: Told | None = None) -> None:
        self._agent = agent
        self._conversation = agent.conversation(metadata={META_SAMPLE: str(terms.sample)})
        self._terms = terms
        self._name = name
        self.told = Told() if told is None else told

    @property
    def transcript(self) -> Transcript:
        """All that was said so far, in every conversation of the trial."""
        return Transcript(turns=tuple(self.told.turns), notes=dict(self.told.notes))

    def branch(self, name: str) -> Session:
        """Another conversation of the same trial."""
        return Session(self._agent, self._terms, name=name, told=self.told)

    def note(self, key: str, value: JsonValue) -> None:
        """Keep something beside the words in the transcript."""
        self.told.notes[key] = value

    def offer(self, file: Path, *, name: str) -> str:
        """An address of the file, valid until the trial ends. Raises Failure when green serves no files."""
        if self._terms.shelf is None:
            raise Failure(Outcome.INFRA_ERROR, "no_shelf", "this evaluator cannot serve files to the agent")
        return self._terms.shelf.offer(file, name=name, trial=self._terms.trial)

    async def ask(self, text: str) -> Reply:
        """Send one message and await its reply. Raises AgentFailure; both sides are kept either way."""
        loop = asyncio.get_running_loop()
        waiting = loop.time()
        async with self._terms.places:
            started = loop.time()
            self.told.waited_s += started - waiting
            deadline = min(started + self._terms.reply_timeout_s, self._terms.deadline + self.told.waited_s)
            try:
                reply = await self._conversation.ask(text, deadline)
            except AgentFailure as failure:
                said = f"{failure.kind}: {failure.message}"
                calls = _masked_calls(failure.model_calls)
                self._keep(text, error=redact(f"{said}\n{failure.evidence}".strip()), calls=calls)
                self.told.add(calls)
                raise
            finally:
                self.told.agent_s += loop.time() - started
        kept = _without_secrets(reply)
        self._keep(text, reply=kept)
        self.told.add(kept.model_calls)
        self.told.usage += reply.usage or Usage()
        self.told.model = reply.model or self.told.model
        return reply

    def _keep(
        self, question: str, *, reply: Reply | None = None, error: str | None = None, calls: ModelCalls | None = None
    ) -> None:
        turn = Turn(question=redact(question), reply=reply, error=error, model_calls=calls, branch=self._name)
        self.told.turns.append(turn)


def _without_secrets(reply: Reply) -> Reply:
    """The reply as it is stored and scored: what looks like a key is masked in every text."""
    trace = reply.trace
    if trace is not None:
        masked = [
            step.model_copy(
                update={
                    "solution": None if step.solution is None else redact(step.solution),
                    "report": redact(step.report),
                    "decision": redact(step.decision),
                    "skipped": _masked_word(step.skipped),
                }
            )
            for step in trace.iterations
        ]
        settings = {
            _masked_word(name): _masked_word(value) if isinstance(value, str) else value
            for name, value in trace.settings.items()
        }
        named = {"strategy": _masked_word(trace.strategy), "settings": settings}
        trace = trace.model_copy(update={"iterations": tuple(masked), **named})
    calls = _masked_calls(reply.model_calls)
    return reply.model_copy(update={"text": redact(reply.text), "trace": trace, "model_calls": calls})


def _masked_calls(calls: ModelCalls | None) -> ModelCalls | None:
    if calls is None:
        return None
    failed = [
        one.model_copy(
            update={
                "replica": redact(one.replica)[:LONGEST_FACT],
                "kind": _masked_word(one.kind),
                "message": redact(one.message)[:LONGEST_FACT],
            }
        )
        for one in calls.failed
    ]
    answered_by = tuple(redact(url)[:LONGEST_FACT] for url in calls.answered_by)
    return calls.model_copy(update={"failed": tuple(failed), "answered_by": answered_by})


def _masked_word(word: str) -> str:
    """A short text, masked. A mask may be longer than what it hides, and who reads the row refuses longer words."""
    return redact(word)[:LONGEST_WORD]
