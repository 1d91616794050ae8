"""One judge: asks its model until the reply is a verdict, within a budget, and keeps account of every call.

Full prompt, then the same with its fault named, then a short form for half of the verdicts at a time. HTTP is tried again by the
model client alone; a call that got no reply for another reason ends the question with the client's kind.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from services.contract.assessment import PlannedTrial
from services.contract.endpoints import Endpoint
from services.contract.judgements import Cut, Judgement
from services.contract.model_client import (
    CallKey,
    ChatMessage,
    Completion,
    ModelClient,
    ModelFailure,
    ModelUsage,
    ResponseFormat,
    Sampling,
)
from services.contract.outcomes import Failure, Outcome
from services.contract.seeds import derive
from services.green_agent.judge.budget import DEFAULT_CONTEXT, Budget, NoRoomError, budget_for, cut_to_fit, estimate
from services.green_agent.judge.cache import Kept, Mode, VerdictCache
from services.green_agent.judge.fences import mark_of, neutral
from services.green_agent.judge.prompts import Prompt, Refused, template_digest, write
from services.green_agent.judge.questions import Form, Question, about
from services.green_agent.judge.verdicts import InvalidVerdictError, Verdict, read, schema_of

log = structlog.get_logger()

MAX_HTTP_TRIES: Final = 5
MAX_FITTINGS: Final = 6
"""How often a text is cut a little more when the tokenizer still counts too much."""
PROBE_S: Final = 30.0
"""For the question whether a model takes a schema."""
LONGEST_RAW: Final = 20_000
_OVERFLOW: Final = "context_overflow"
_TEMPLATE_TOKENS: Final = 64
_LESS: Final[Mapping[Mode, Mode]] = {"schema": "json", "json": "prompt"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What the judges of a panel share."""

    timeout_s: float
    """Deadline of one question with all its tries."""
    max_tokens: int | None
    salt: bytes
    """Secret of the run that the marks of fences are made with."""
    places: asyncio.Semaphore
    """Calls in flight."""
    cache: VerdictCache | None
    calls: itertools.count[int] = field(default_factory=itertools.count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Hearing:
    """The trial on whose behalf a judge is asked, and where its calls are noted."""

    trial: PlannedTrial
    record: list[Judgement]


@dataclass(kw_only=True, slots=True)
class _Exchange:
    """One question under way."""

    question: Question
    hearing: Hearing
    deadline: float
    made: list[Judgement] = field(default_factory=list)
    overflowed: bool = False

    def note(self, judgement: Judgement) -> None:
        self.made.append(judgement)
        self.hearing.record.append(judgement)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Refusal:
    """A reply that is no verdict."""

    kind: str
    message: str
    raw: str

    def failure(self, model: str) -> Failure:
        return Failure(Outcome.JUDGE_ERROR, self.kind, f"{model}: {self.message}", evidence=self.raw)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """A prompt that fits, with what had to be cut for it."""

    prompt: Prompt
    budget: Budget
    cuts: tuple[Cut, ...] = ()


class Member:
    """One judge of a panel."""

    def __init__(self, endpoint: Endpoint, *, number: int, means: Means) -> None:
        self.endpoint = endpoint
        self.number = number
        self.mode: Mode | None = None
        """None until the model was asked."""
        self.context = DEFAULT_CONTEXT
        self.context_source = "assumed"
        self._means = means
        self._client = ModelClient(
            endpoint, max_connections=max(1, means.places._value), max_attempts=MAX_HTTP_TRIES
        )
        self._probing = asyncio.Lock()
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: defaultdict[str, int] = defaultdict(int)
        self._per_estimate = 1.0

    @property
    def model(self) -> str:
        """As its server knows it."""
        return self.endpoint.model
