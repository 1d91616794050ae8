"""How many tokens an answer may have: what is asked, or what the context leaves. Nothing is ever truncated."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from services.contract.model_call import Dialect, ModelRequest
from services.contract.model_errors import HttpFault

log = structlog.get_logger()

RESERVE: Final = 16
"""Tokens left free for what a template may add at the end."""
MIN_OUTPUT: Final = 256
"""Answers that could only be shorter than this are not asked for."""
BYTES_PER_TOKEN: Final = 3
TEMPLATE_TOKENS: Final = 1024
"""More than any chat template adds of its own; with one token a byte it bounds a prompt without counting it."""
TEMPLATE_TOKENS_PER_MESSAGE: Final = 32
PATIENCE_S: Final = 5.0
"""A tokenizer that is silent for longer is not asked again: waiting would take the time in which the model answers."""


class NoRoomError(Exception):
    """The prompt leaves less of the context than an answer needs."""

    def __init__(self, *, prompt_tokens: int, limit: int) -> None:
        super().__init__(
            f"a prompt of {prompt_tokens} tokens leaves {max(0, limit - prompt_tokens - RESERVE)} of {limit} for the answer"
        )
        self.prompt_tokens = prompt_tokens
        self.limit = limit


@dataclass(kw_only=True, slots=True)
class ContextBudget:
    """The context of one replica. A length that is not configured is asked for once."""

    dialect: Dialect
    limit: int | None
    patience_s: float = PATIENCE_S
    _asked: bool = False
    _unheard: int = 0
    """How often nobody said the length."""
    _has_tokenizer: bool = True
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fit(self, request: ModelRequest) -> ModelRequest:
        """The request with `max_tokens` cut to what the context leaves. Raises NoRoomError."""
        asked, limit = request.sampling.max_tokens, await self.length()
        if limit is None or asked is None or _bytes(request) + _most_added(request) + asked + RESERVE <= limit:
            return request
        prompt = await self._count(request)
        room = limit - prompt - RESERVE
        if room < min(MIN_OUTPUT, asked):
            raise NoRoomError(prompt_tokens=prompt, limit=limit)
        return replace(request, sampling=replace(request.sampling, max_tokens=min(asked, room)))

    async def length(self) -> int | None:
        """Tokens of the context; None when it is unknown."""
        unheard = self._unheard
        async with self._asking:
            # Of the calls that wait together one asks. What is wrong with a server that does not say, the call itself will tell.
            if self.limit is None and not self._asked and self._unheard == unheard:
                try:
                    async with asyncio.timeout(self.patience_s):
                        self.limit = await self.dialect.context_length()
                    self._asked = True
                except (HttpFault, TimeoutError):
                    self._unheard += 1
        return self.limit

    async def tokens(self, request: ModelRequest) -> int | None:
        """Tokens of the prompt by the server's tokenizer; None when it has none or cannot be reached."""
        if not self._has_tokenizer:
            return None
        count = None
        try:
            async with asyncio.timeout(self.patience_s):
                count = await self.dialect.count_tokens(request)
        except HttpFault:
            return None
        except TimeoutError:
            log.warning("tokenizer_silent", waited_s=self.patience_s)
        self._has_tokenizer = count is not None
        return count

    async def _count(self, request: ModelRequest) -> int:
        counted = await self.tokens(request)
        return -(-_bytes(request) // BYTES_PER_TOKEN) if counted is None else counted


def _bytes(request: ModelRequest) -> int:
    texts = [message.content or "" for message in request.messages]
    texts += [call.name + call.arguments for message in request.messages for call in message.tool_calls]
    texts += [f"{tool.name}{tool.description}{json.dumps(dict(tool.parameters))}" for tool in request.tools]
    return sum(len(text.encode(errors="replace")) for text in texts)  # What no encoder takes, the request will say.


def _most_added(request: ModelRequest) -> int:
    return TEMPLATE_TOKENS + TEMPLATE_TOKENS_PER_MESSAGE * (len(request.messages) + len(request.tools))
