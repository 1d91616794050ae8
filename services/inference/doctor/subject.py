"""The endpoint on the examination table: how it is asked, what is known of it, and what a check found."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import JsonValue

from services.contract.fitness import Verdict
from services.contract.model_errors import HttpFault
from services.contract.model_http import fault_of
from services.inference.doctor.asking import Ask, Json, Said, Speech
from services.inference.doctor.exchange import Answer, Exchange, Streamed
from services.inference.doctor.openai_speech import collected
from services.inference.planning.presets import EngineName, Preset


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a check found."""

    verdict: Verdict
    seen: str
    cure: str = ""


def passed(seen: str) -> Result:
    """As it should be."""
    return Result(verdict="pass", seen=seen)


def warned(seen: str, cure: str) -> Result:
    """Numbers can still be trusted, with this in mind."""
    return Result(verdict="warn", seen=seen, cure=cure)


def failed(seen: str, cure: str) -> Result:
    """Numbers of this endpoint would mean something else."""
    return Result(verdict="fail", seen=seen, cure=cure)


def skipped(seen: str) -> Result:
    """It does not apply, or could not be asked."""
    return Result(verdict="skip", seen=seen)


def worst(found: Iterable[Result | None]) -> Result | None:
    """The first failure, else the first of the others; None when nothing was found."""
    results = [result for result in found if result is not None]
    return next((result for result in results if result.verdict == "fail"), results[0] if results else None)


class RefusedError(Exception):
    """The server answered a question with an HTTP error."""

    def __init__(self, fault: HttpFault) -> None:
        super().__init__(f"HTTP {fault.status}: {fault.message}")
        self.fault = fault

    @property
    def by_request(self) -> bool:
        """It is about what was asked, not about the server, its key or its load."""
        return self.fault.status in {400, 404, 405, 415, 422, 501}


@dataclass(kw_only=True, slots=True)
class Subject:
    """One endpoint."""

    exchange: Exchange
    speech: Speech
    has_key: bool
    model: str | None
    """As asked for; after D01 as served."""
    preset: Preset | None = None
    engine: EngineName | None = None
    wanted_len: int | None = None
    """Tokens that the caller needs."""
    deterministic: bool = False
    """Batch-invariant mode is claimed."""
    served_len: int | None = None
    """Tokens, as reported."""
    facts: dict[str, str] = field(default_factory=dict)
    _answers: dict[str, Said] = field(default_factory=dict)
    """By request: checks that ask the same share an answer."""

    @property
    def max_tokens(self) -> int:
        """Room for an answer: enough for a model that thinks first, and at most half of the context."""
        return min(1024, (self.served_len or 4096) // 2)

    def payload(self, ask: Ask) -> dict[str, JsonValue]:
        """The request body of a question."""
        return self.speech.payload(self.model or "", ask)

    async def send(self, payload: Json, *, anonymous: bool = False) -> Answer:
        """One request as it stands; `anonymous`: without the key. Raises NoAnswerError."""
        return await self.exchange.post(self.exchange.base + self.speech.path, payload, anonymous=anonymous)

    async def said(self, ask: Ask) -> Said:
        """The answer to a question, asked once for all checks. Raises NoAnswerError, RefusedError, UnreadableError."""
        key = json.dumps(self.payload(ask), sort_keys=True)
        if key not in self._answers:
            self._answers[key] = await self.said_now(ask)
        return self._answers[key]

    async def said_now(self, ask: Ask) -> Said:
        """The same, asked again each time."""
        answer = await self.send(self.payload(ask))
        if answer.status != 200:
            raise refused(answer)
        return self.speech.read(answer.body)

    async def streamed(self, ask: Ask) -> tuple[Said, Streamed]:
        """The answer as a stream, with its usage. Raises NoAnswerError, RefusedError, UnreadableError."""
        payload = self.payload(ask) | {"stream": True, "stream_options": {"include_usage": True}}
        stream = await self.exchange.stream(self.exchange.base + self.speech.path, payload)
        if stream.status != 200:
            raise refused(Answer(status=stream.status, text=stream.text))
        return collected(stream), stream

    async def tokenized(self, ask: Ask) -> dict[str, JsonValue] | None:
        """What /tokenize beside the API makes of a question's messages; None where it is not offered."""
        kept: dict[str, JsonValue] = {"return_token_strs": True}
        kept |= {name: value for name, value in self.payload(ask).items() if name in {"model", "messages", "tools"}}
        answer = await self.exchange.post(f"{self.exchange.root}/tokenize", kept)
        body = answer.body
        return body if answer.status == 200 and isinstance(body, dict) else None


def refused(answer: Answer) -> RefusedError:
    """The error in an answer."""
    return RefusedError(fault_of(answer.status, answer.text.encode(), {}))


def excerpt(text: str | None, most: int = 80) -> str:
    """The beginning of a text, in quotes."""
    if text is None:
        return "null"
    return repr(text if len(text) <= most else f"{text[:most]}...")
