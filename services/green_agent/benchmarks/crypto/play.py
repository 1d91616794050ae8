"""Plays one episode: questions out, decisions in, the cost of malformed ones. The same steps serve the conversation and scoring.

Pure but for `converse`; what was said decides everything, so a stored transcript can be played again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from services.contract.conversation import AgentSession, Transcript, Turn
from services.contract.outcomes import AgentFailure, Failure, Outcome
from services.contract.secrets import MASK, redact
from services.green_agent.benchmarks.crypto.episodes import Episode
from services.green_agent.benchmarks.crypto.simulator import Decision, EpisodeRun, Simulation
from services.green_agent.benchmarks.crypto.wire import Malformed, read_decision, request

PATIENCE: Final = 10
"""Malformed decisions in a row that end the questions of an episode."""
LONG_REPLY: Final = 20_000
"""Characters up to which a reply is read in microseconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """A finished episode."""

    episode: Episode
    run: EpisodeRun
    actions: Counter[str]
    """Decisions by action."""
    faults: Counter[str]
    """Malformed decisions by fault; unasked ones count as `unasked`."""

    @property
    def malformed(self) -> int:
        """Decisions that could not be read, or were not asked for any more."""
        return self.faults.total()

    @property
    def kept(self) -> float:
        """Share of the score that malformed decisions leave."""
        return 1 - self.malformed / self.run.decisions if self.run.decisions else 1.0


@dataclass(kw_only=True, slots=True)
class Play:
    """An episode under way: `question`, then `answer`, until there is no question, then `played`."""

    episode: Episode
    _simulation: Simulation = field(init=False)
    _since: int | None = None
    _in_a_row: int = 0
    _actions: Counter[str] = field(default_factory=Counter)
    _faults: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        market = self.episode.market
        self._simulation = Simulation(
            self.episode.bars,
            self.episode.config,
            slippage=self.episode.slippage,
            shown=market.shown,
            warm=market.warm,
        )

    @property
    def planned_questions(self) -> int:
        """Questions when the account lasts."""
        return self._simulation.planned_decisions

    def question(self) -> str | None:
        """The next request; None when the episode is over. After too many malformed decisions the rest is not asked."""
        while (view := self._simulation.advance()) is not None:
            if self._in_a_row < PATIENCE:
                text = request(self.episode.market, view, self._since, self.episode.config)
                self._since = view.bar
                return text
            self._faults["unasked"] += 1
        return None

    def answer(self, decision: Decision | Malformed) -> None:
        """Take the answer to the question."""
        if isinstance(decision, Malformed):
            self._in_a_row += 1
            self._faults[decision.kind or decision.fault] += 1
            return
        self._in_a_row = 0
        self._actions[decision.action] += 1
        self._simulation.decide(decision)

    def played(self) -> Played:
        """The finished episode. ValueError before its end."""
        return Played(episode=self.episode, run=self._simulation.result(), actions=self._actions, faults=self._faults)


async def converse(episode: Episode, agent: AgentSession) -> None:
    """Ask the agent through one episode. Raises AgentFailure for faults that are not the agent's own."""
    play = Play(episode=episode)
    while (question := play.question()) is not None:
        try:
            reply = await agent.ask(question)
        except AgentFailure as failure:
            if failure.outcome is not Outcome.AGENT_ERROR:
                raise
            play.answer(Malformed(fault="failed", kind=failure.kind))
            continue
        play.answer(await _read(redact(reply.text)))


async def converse_all(episodes: Sequence[Episode], agent: AgentSession) -> None:
    """Ask the agent through all episodes at once, each in a conversation of its own. Raises what the first failure was."""
    try:
        async with asyncio.TaskGroup() as tasks:
            # By label, which is dealt by seed: the order of the first questions must not tell the kinds.
            for episode in sorted(episodes, key=lambda one: one.market.label):
                tasks.create_task(converse(episode, agent.branch(episode.key)))
    except ExceptionGroup as group:
        raise _cause(group) from None


def replay(episode: Episode, transcript: Transcript) -> Played:
    """Play an episode with the replies of a transcript.

    Raises Failure(infra_error) when the transcript ends too soon or answers other questions than this market asks.
    """
    play = Play(episode=episode)
    turns = iter(transcript.branch(episode.key))
    while (question := play.question()) is not None:
        turn = next(turns, None)
        if turn is None:
            raise Failure(Outcome.INFRA_ERROR, "incomplete", f"the transcript of episode {episode.key} ends too soon")
        if not _fits(turn.question, redact(question)):
            raise _other_market(episode)
        play.answer(_said(turn))
    if next(turns, None) is not None:
        raise _other_market(episode)
    return play.played()


def _fits(kept: str, asked: str) -> bool:
    """Whether a stored question is the one asked, where a mask may stand for what was secret when it was stored."""
    if kept == asked:
        return True
    first, *rest = kept.split(MASK)
    if not rest or not asked.startswith(first) or 2 * sum(map(len, (first, *rest))) < len(asked):
        return False
    at = len(first)
    for piece in rest[:-1]:
        found = asked.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return len(asked) - at >= len(rest[-1]) and asked.endswith(rest[-1])


def _said(turn: Turn) -> Decision | Malformed:
    if turn.reply is None:
        return Malformed(fault="failed", kind=(turn.error or "").split(":", 1)[0])
    return read_decision(turn.reply.text)


def _other_market(episode: Episode) -> Failure:
    message = f"the transcript of episode {episode.key} was held in another market: data, config or code have changed"
    return Failure(Outcome.INFRA_ERROR, "other_market", message)


async def _read(reply: str) -> Decision | Malformed:
    """Read a reply. A hostile one of megabytes takes long; other conversations go on meanwhile."""
    if len(reply) <= LONG_REPLY:
        return read_decision(reply)
    return await asyncio.to_thread(read_decision, reply)


def _cause(group: ExceptionGroup[Exception]) -> Exception:
    """One exception for all: a defect of ours before a failure, since it must not hide."""
    leaves = list(_leaves(group))
    defects = [leaf for leaf in leaves if not isinstance(leaf, Failure)]
    return (defects or leaves)[0]


def _leaves(group: ExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, ExceptionGroup) else [error]
    return found
