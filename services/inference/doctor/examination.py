"""All checks in their order, each within its deadline; what follows from one that failed; and the exit code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from services.contract.fitness import Finding, Fitness
from services.contract.secrets import redact
from services.inference.doctor import determinism, formats, identity, limits, talking, tools
from services.inference.doctor.anthropic_speech import AnthropicSpeech
from services.inference.doctor.asking import Speech, UnreadableError
from services.inference.doctor.exchange import Exchange, NoAnswerError
from services.inference.doctor.openai_speech import OpenAISpeech
from services.inference.doctor.subject import RefusedError, Result, Subject, failed, skipped, warned
from services.inference.failures import ExitCode
from services.inference.planning.presets import EngineName, Preset
from services.inference.servers.wording import plain

DEADLINE_S: Final = 30.0
_MAX_SEEN: Final = 300
_UNREACHABLE: Final = "start the server, or correct the address; `inference list` shows those of the registry"
_SILENT: Final = (
    "the server takes too long: is it overloaded, still loading, or stuck? Read the end of its log; a slow one gets more time by"
    " --timeout SECONDS"
)
_BROKEN: Final = "the connection broke: the server died, or a proxy closed it; read the end of its log"


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One check. `run` may raise NoAnswerError, RefusedError, UnreadableError and TimeoutError."""

    id: str
    title: str
    run: Callable[[Subject], Awaitable[Result]]
    generates: bool = True
    """Asks the model: not tried when it does not answer at all."""
    streams: bool = False
    openai: bool = False
    """Not part of Anthropic's API."""


CHECKS: Final = (
    Check(id="D01", title="model", run=identity.model, generates=False),
    Check(id="D02", title="context length", run=identity.length, generates=False),
    Check(id="D03", title="one token", run=talking.one_token, generates=False),
    Check(id="D04", title="stream", run=talking.stream, streams=True),
    Check(id="D05", title="tool call, forced", run=tools.forced),
    Check(id="D06", title="tool call, forced, streamed", run=tools.forced_stream, streams=True),
    Check(id="D07", title="tool call, automatic", run=tools.automatic),
    Check(id="D08", title="tool call, automatic, streamed", run=tools.automatic_stream, streams=True),
    Check(id="D09", title="turn after a tool's result", run=tools.result_turn),
    Check(id="D10", title="JSON by schema", run=formats.schema),
    Check(id="D11", title="reasoning", run=formats.reasoning),
    Check(id="D12", title="log probabilities", run=formats.logprobs, openai=True),
    Check(id="D13", title="overflow", run=limits.overflows),
    Check(id="D14", title="usage", run=talking.usage),
    Check(id="D15", title="determinism", run=determinism.repeats),
    Check(id="D16", title="chat template", run=identity.template, generates=False, openai=True),
    Check(id="D17", title="facts", run=identity.facts, generates=False),
    Check(id="D18", title="open door", run=identity.door, generates=False),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a server is, and the key that goes there and nowhere else."""

    url: str
    """Base URL ending in /v1; Anthropic's has no /v1."""
    key: SecretStr | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be examined, and against what."""

    model: str | None = None
    preset: Preset | None = None
    engine: EngineName | None = None
    anthropic: bool = False
    only: Collection[str] = ()
    """Ids of checks; empty: all."""
    deterministic: bool = False
    max_model_len: int | None = None
    deadline_s: float = DEADLINE_S
    """Of each check."""


async def examine(places: Sequence[Place], wanted: Wanted) -> tuple[Fitness, ...]:
    """Every server, all at once, then compared with the first: they are replicas of one model."""
    found = await asyncio.gather(*(_examine(place, wanted) for place in places))
    return identity.compared(found)


def exit_code(found: Sequence[Fitness]) -> ExitCode:
    """4 when one is unreachable, 1 when a check failed, else 0."""
    if not all(fitness.reachable for fitness in found):
        return ExitCode.NOT_READY
    return ExitCode.FAILED if any(fitness.failed for fitness in found) else ExitCode.DONE


async def _examine(place: Place, wanted: Wanted) -> Fitness:
    speech: Speech = AnthropicSpeech() if wanted.anthropic else OpenAISpeech()
    async with Exchange(place.url, _headers(place, wanted)) as exchange:
        subject = Subject(
            exchange=exchange,
            speech=speech,
            has_key=place.key is not None,
            model=wanted.model,
            preset=wanted.preset,
            engine=wanted.engine,
            wanted_len=wanted.max_model_len,
            deterministic=wanted.deterministic,
        )
        return await _Examination(subject, wanted).hold()


def _headers(place: Place, wanted: Wanted) -> dict[str, str]:
    key = None if place.key is None else place.key.get_secret_value()
    if wanted.anthropic:
        return {"anthropic-version": "2023-06-01"} | ({} if key is None else {"x-api-key": key})
    return {} if key is None else {"authorization": f"Bearer {key}"}


class _Examination:
    """One server. D01 is always asked, since every other check needs the model's name."""

    def __init__(self, subject: Subject, wanted: Wanted) -> None:
        self._subject = subject
        self._wanted = wanted
        self._reachable = True
        self._obstacle = ""
        """Why no further check can be asked."""
        self._mute = ""
        """Why no check that generates can be asked."""

    async def hold(self) -> Fitness:
        findings = [finding for check in CHECKS if (finding := await self._checked(check)) is not None]
        return Fitness(
            url=self._subject.exchange.base,
            model=self._subject.model,
            reachable=self._reachable,
            findings=tuple(findings),
            facts={name: one_line(value) for name, value in sorted(self._subject.facts.items())},
        )

    async def _checked(self, check: Check) -> Finding | None:
        asked = not self._wanted.only or check.id in self._wanted.only
        if not asked and check.id != "D01":
            return None
        result = await self._result(check)
        if result.verdict == "fail" and check.id == "D01":
            self._obstacle = "not asked: D01 failed"
        if result.verdict == "fail" and check.id == "D03":
            self._mute = "not asked: the server does not generate (D03)"
        if not asked and result.verdict == "pass":
            return None
        return Finding(
            id=check.id,
            title=check.title,
            verdict=result.verdict,
            seen=one_line(result.seen),
            cure=one_line(result.cure, most=2 * _MAX_SEEN),
        )

    async def _result(self, check: Check) -> Result:
        if obstacle := self._obstacle or (self._mute if check.generates else ""):
            return skipped(obstacle)
        if self._wanted.anthropic and (check.streams or check.openai):
            return skipped("not examined on Anthropic's API")
        try:
            async with asyncio.timeout(self._wanted.deadline_s):
                return await check.run(self._subject)
        except NoAnswerError as error:
            if check.id == "D01":
                self._reachable = False
                return failed(f"unreachable: {error}", _UNREACHABLE)
            return failed(f"no answer: {error}", _BROKEN)
        except TimeoutError:
            if check.id == "D01":
                self._reachable = False
            return failed(f"no answer within {self._wanted.deadline_s:g} s", _SILENT)
        except RefusedError as error:
            if error.fault.status == 429:
                return warned(f"not examined: {error}", talking.BUSY)
            return failed(str(error), "the server refuses what the check asks: read the text, and the end of its log")
        except UnreadableError as error:
            return failed(str(error), "the server answers with HTTP 200 what is no answer: update or change the engine")


def one_line(text: str, *, most: int = _MAX_SEEN) -> str:
    """The text redacted, on one line, printable and not too long."""
    flat = plain(redact(text)[: 4 * most])
    return flat if len(flat) <= most else f"{flat[: most - 3]}..."
