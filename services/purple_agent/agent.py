"""The agent with a model: one conversation = strategy + model + tools.

Importing this module loads the model client, so the server does it after its port is open.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import OrderedDict
from typing import Final

from services.contract.endpoints import Endpoint
from services.contract.model_call import ChatMessage
from services.contract.model_client import ModelClient
from services.contract.outcomes import AgentFailure
from services.purple_agent.answer import Answer, NoAnswer
from services.purple_agent.models.session import Draw, ModelSession
from services.purple_agent.settings import Settings
from services.purple_agent.strategies.base import Solved
from services.purple_agent.strategies.registry import STRATEGIES
from services.purple_agent.strategies.traces import bounded
from services.purple_agent.tools.equipment import Equipment
from services.purple_agent.tools.references import ReferenceFiles
from services.purple_agent.tools.toolbox import Toolbox
from services.purple_agent.trading import Desk, read_request

SYSTEM_PROMPT: Final = (
    "You are a careful analyst and programmer. Answer the question you are given completely and in the format it asks "
    "for. Use the tools for calculations they cover instead of estimating. Name the assumptions you need to make, and "
    "say so when something cannot be known."
)

MAX_OPENINGS: Final = 65_536
"""Distinct first messages whose repeats are told apart, where the evaluator does not number them."""


class ModelAgent:
    """Opens conversations and owns what they share: the model client, the tools, the count of openings."""

    def __init__(self, endpoint: Endpoint, settings: Settings, *, max_connections: int = 64) -> None:
        self.endpoint = endpoint
        self.settings = settings
        self.client = ModelClient(endpoint, max_connections=max_connections)
        self.strategy = STRATEGIES[settings.strategy](settings)
        self.equipment = Equipment(
            os.environ, sandbox_url=settings.sandbox_url, simulation_date=settings.simulation_date
        )
        self._repeats: OrderedDict[str, int] = OrderedDict()

    def conversation(self, sample: int | None = None) -> Conversation:
        """A conversation that remembers nothing yet. `sample`: which one of its task, where the evaluator says so."""
        return Conversation(self, sample)

    def draw(self, opening: str, sample: int | None) -> Draw:
        """What the seeds of a conversation that begins with the message `opening` derive from."""
        digest = hashlib.sha256(opening.encode()).hexdigest()
        repeat = self._repeat(digest) if sample is None else sample
        return Draw(run_seed=self.settings.seed, opening=digest, repeat=repeat)

    def _repeat(self, digest: str) -> int:
        """How many conversations of this process have begun so before; this one counts from now on."""
        repeat = self._repeats.pop(digest, 0)
        self._repeats[digest] = repeat + 1
        if len(self._repeats) > MAX_OPENINGS:
            self._repeats.popitem(last=False)
        return repeat

    async def aclose(self) -> None:
        """Close the connections to model and sandbox."""
        await self.client.aclose()
        await self.equipment.aclose()


class Conversation:
    """One conversation. See `Responder`."""

    def __init__(self, agent: ModelAgent, sample: int | None) -> None:
        self._agent = agent
        self._sample = sample
        self._toolbox = Toolbox(())
        self._references = ReferenceFiles()
        self._history: tuple[ChatMessage, ...] = (ChatMessage(role="system", content=SYSTEM_PROMPT),)
        self._desk = Desk()
        self._draw: Draw | None = None
        self._calls = 0

    async def answer(self, text: str) -> Answer | NoAnswer:
        """Answer one message. The memory grows by it only when there is an answer."""
        session = self._session(text)
        self._references.saw(text)
        self._toolbox.offer((*await self._agent.equipment.tools(), *self._references.tools))
        logged = len(self._toolbox.records)
        try:
            solved = await self._solve(text, session)
        except AgentFailure as failure:
            return NoAnswer(
                outcome=failure.outcome,
                kind=failure.kind,
                message=failure.message,
                usage=session.usage,
                model=session.facts,
                model_calls=session.model_calls,
            )
        finally:
            self._calls = session.calls
        return Answer(
            text=solved.text,
            usage=session.usage,
            model=session.facts,
            model_calls=session.model_calls,
            tool_calls=tuple(record.as_json() for record in self._toolbox.records[logged:]),
            trace=None if solved.trace is None else bounded(solved.trace),
        )

    async def _solve(self, text: str, session: ModelSession) -> Solved:
        """A trading request goes to the desk, which has a memory of its own; anything else to the strategy."""
        if (request := read_request(text)) is not None:
            return Solved(text=await self._desk.decide(request, text, session))
        asked = (*self._history, ChatMessage(role="user", content=text))
        solved = await self._agent.strategy.solve(asked, session, self._toolbox)
        self._history = (*asked, *solved.messages)
        return solved

    def _session(self, text: str) -> ModelSession:
        agent, settings = self._agent, self._agent.settings
        if self._draw is None:
            self._draw = agent.draw(text, self._sample)
        return ModelSession(
            agent.client,
            agent.endpoint,
            draw=self._draw,
            first_call=self._calls,
            deadline=asyncio.get_running_loop().time() + settings.reply_timeout_s,
        )
