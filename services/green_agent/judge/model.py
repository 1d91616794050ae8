"""The model behind a judge: how it takes a schema, how long its context is, and prompts that fit into it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import structlog
from pydantic import JsonValue

from services.contract.endpoints import Endpoint
from services.contract.json_schema import conforms
from services.contract.judgements import Cut, Form
from services.contract.model_client import PROBE_S as STALL_PROBE_S
from services.contract.model_client import (
    CallKey,
    ChatMessage,
    Completion,
    ModelClient,
    ModelFailure,
    ResponseFormat,
    Sampling,
)
from services.contract.seeds import derive
from services.green_agent.judge.budget import DEFAULT_CONTEXT, Budget, NoRoomError, budget_for, cut_to_fit, estimate
from services.green_agent.judge.cache import Mode, VerdictCache
from services.green_agent.judge.fences import labels, neutral
from services.green_agent.judge.prompts import Prompt, Refused, write
from services.green_agent.judge.questions import Question
from services.green_agent.judge.verdicts import schema_of

log = structlog.get_logger()

MAX_HTTP_TRIES: Final = 5
MAX_FITTINGS: Final = 8
"""How often a text is cut a little more when the tokenizer still counts too much."""
PROBE_S: Final = 30.0
"""Deadline of the question whether a model takes a schema."""
SMALLEST_CONTEXT: Final = 1024
MOST_TOO_SMALL: Final = 4.0
UNTOLD_TOO_SMALL: Final = 4 / 3
"""Factors by which the count of a prompt is corrected after an overflow: at most, and where the engine gives no figure."""
OUR_WORDS: Final = 6_000
MATERIAL_WORDS: Final = 1_000
ID_WORDS: Final = 400
"""Bytes of a prompt that are no one else's words: once, for each text with its name, for each verdict that is asked for."""
_TEMPLATE_TOKENS: Final = 64
"""More than a chat template adds to two messages."""
_LESS: Final[Mapping[Mode, Mode]] = {"schema": "json", "json": "prompt"}
_PROBE: Final = 'Reply with the JSON object {"ok": true} and nothing else.'
_PROBE_SCHEMA: Final[dict[str, JsonValue]] = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """A prompt that fits, with what had to be cut for it."""

    prompt: Prompt
    budget: Budget
    tokens: int
    """As counted or estimated, rather too many than too few."""
    cuts: tuple[Cut, ...] = ()
    fences_replaced: int = 0
    tokens_replaced: int = 0
    """Of the whole texts, before any cut."""


class JudgeModel:
    """One model at one address."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_tokens: int | None,
        timeout_s: float,
        concurrency: int,
        cache: VerdictCache | None,
    ) -> None:
        self.endpoint = endpoint
        self.max_tokens = max_tokens
        self.mode: Mode | None = None
        """How JSON is asked for; None until the model was asked."""
        self.context = endpoint.max_model_len or DEFAULT_CONTEXT
        self.stated_context = self.context
        """Before any overflow taught better."""
        self.context_source = "configured" if endpoint.max_model_len else "assumed"
        self._cache = cache
        self._client = ModelClient(
            endpoint,
            max_connections=concurrency,
            max_attempts=MAX_HTTP_TRIES,
            probe_s=min(STALL_PROBE_S, timeout_s),
        )
        self._probe_timeout_s = min(PROBE_S, timeout_s)
        self._learning = asyncio.Lock()

    async def learn(self) -> ModelFailure | None:
        """Ask, once, for the context and for how the model takes a schema. None when both are known."""
        async with self._learning:
            if self.mode is not None:
                return None
            await self._learn_context()
            place = json.dumps([self.endpoint.provider, self.endpoint.model, self.endpoint.urls[0]])
            found = await self._probe(first=None if self._cache is None else self._cache.mode(place))
            if isinstance(found, ModelFailure):
                return found
            self.mode = found
            log.info("judge_probed", model=self.endpoint.model, mode=found, context=self.context)
            if self._cache is not None:
                await self._cache.set_mode(place, found)
            return None

    @property
    def assumed_mode(self) -> Mode:
        """How to ask. By schema where the model never answered the first question: a server that refuses it will say so."""
        return self.mode or "schema"

    def less_strict(self, refused: Mode) -> Mode | None:
        """A way to ask for JSON that more servers take; None when there is none. `refused` is what was just refused."""
        return _LESS.get(refused)

    def settle(self, mode: Mode) -> None:
        """Ask in this way from now on, since it was answered where a stricter one was refused.

        Not before: a server that refuses a question for its words refuses it in every way, and that says nothing of others.
        """
        log.warning("judge_format_refused", model=self.endpoint.model, refused=self.assumed_mode, next=mode)
        self.mode = mode

    def learn_overflow(self, ready: Ready, failure: ModelFailure) -> float:
        """Lower the context to the figure the engine gives. Returns by how much this question was counted too small.

        What its texts are like says nothing about others, so that factor is for the question alone.
        """
        if failure.context_limit is not None and failure.context_limit < self.context:
            self.context, self.context_source = max(SMALLEST_CONTEXT, failure.context_limit), "overflow"
            log.warning("judge_context_lowered", model=self.endpoint.model, context=self.context)
        if failure.prompt_tokens is not None:
            return min(MOST_TOO_SMALL, max(1.0, failure.prompt_tokens / ready.tokens))
        return 1.0 if failure.context_limit is not None else UNTOLD_TOO_SMALL

    async def parts(self, question: Question) -> tuple[Question, ...]:
        """The question, in smaller batches when that spares its texts a cut; otherwise whole."""
        size = question.size
        if size == 1 or self._surely_fits(question):
            return (question,)
        while True:
            parts = question.in_parts(size)
            largest = max(parts, key=lambda part: part.size)
            ready = await self._uncut(largest, "full", mark="0" * 16, refused=None)
            if ready.tokens <= ready.budget.prompt:
                return parts
            if size == 1:
                return (question,)
            size = -(-size // 2)

    async def fit(
        self, question: Question, form: Form, *, mark: str, refused: Refused | None, factor: float = 1.0
    ) -> Ready:
        """The prompt, cut to what the context leaves. `factor` corrects the count of tokens. Raises NoRoomError."""
        whole = await self._uncut(question, form, mark=mark, refused=refused, factor=factor)
        budget, tokens = whole.budget, whole.tokens
        if tokens <= budget.prompt:
            return whole
        materials = [replace(one, text=neutral(one.text).text) for one in question.case.materials]
        per_estimate = tokens / max(1, _estimated(whole.prompt.messages))
        excess = tokens - budget.prompt
        for _ in range(MAX_FITTINGS):
            fitted = cut_to_fit(materials, excess=excess, allowed=budget.prompt, per_estimate=per_estimate)
            prompt = write(question, form, mark=mark, texts=fitted.texts, refused=refused)
            tokens = await self._count(prompt, budget, factor)
            if tokens <= budget.prompt:
                return replace(whole, prompt=prompt, tokens=tokens, cuts=_original(fitted.cuts, question))
            excess += tokens - budget.prompt + budget.prompt // 100
        raise NoRoomError(f"a prompt of {tokens} tokens could not be cut to {budget.prompt}")

    async def complete(
        self, ready: Ready, question: Question, form: Form, *, mode: Mode, deadline: float, key: CallKey
    ) -> Completion | ModelFailure:
        """One call. The seed follows from words and round, so that a question is asked in the same way in any trial."""
        schema = schema_of(question, form, provider=self.endpoint.provider) if mode == "schema" else None
        again: list[str | int] = [ready.prompt.digest, *([question.case.round] if question.case.round else [])]
        return await self._client.complete(
            ready.prompt.messages,
            response_format=None
            if mode == "prompt"
            else ResponseFormat(name=f"{question.kind}_verdict", schema=schema),
            sampling=Sampling(max_tokens=ready.budget.output, seed=derive(0, "judge", *again) >> 32),
            deadline=deadline,
            key=key,
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _learn_context(self) -> None:
        if self.context_source != "assumed":
            return
        reported = None
        with suppress(TimeoutError):
            async with asyncio.timeout(self._probe_timeout_s):
                reported = await self._client.context_length()
        if reported is not None:
            self.context = self.stated_context = reported
            self.context_source = "reported"
        else:
            log.warning("judge_context_assumed", model=self.endpoint.model, context=self.context)

    async def _probe(self, *, first: Mode | None) -> Mode | ModelFailure:
        """The strictest way that works. What is remembered is asked first; it says nothing of the key or of today."""
        modes: tuple[Mode, ...] = (
            ("schema", "prompt") if self.endpoint.provider == "anthropic" else ("schema", "json", "prompt")
        )
        modes = modes[modes.index(first) :] if first in modes else modes
        failure: ModelFailure | None = None
        for index, mode in enumerate(modes):
            result = await self._try(mode, index)
            if isinstance(result, ModelFailure):
                failure = result
                if result.kind not in {"bad_request", "empty_content"}:
                    return result
            elif mode == "prompt" or _takes(mode, result.text):
                return mode
        return failure or "prompt"

    async def _try(self, mode: Mode, index: int) -> Completion | ModelFailure:
        formats = {"schema": ResponseFormat(name="probe", schema=_PROBE_SCHEMA), "json": ResponseFormat(name="probe")}
        return await self._client.complete(
            [ChatMessage(role="user", content=_PROBE)],
            response_format=formats.get(mode),
            sampling=Sampling(max_tokens=256, seed=0),
            deadline=time.monotonic() + self._probe_timeout_s,
            key=CallKey(run_seed=0, benchmark="judge", task_id="probe", trial=0, purpose="judge", index=index),
        )

    async def _uncut(
        self, question: Question, form: Form, *, mark: str, refused: Refused | None, factor: float = 1.0
    ) -> Ready:
        budget = self._budget(question)
        prompt = write(question, form, mark=mark, refused=refused)
        return Ready(
            prompt=prompt,
            budget=budget,
            tokens=await self._count(prompt, budget, factor),
            fences_replaced=prompt.fences_replaced,
            tokens_replaced=prompt.tokens_replaced,
        )

    def _budget(self, question: Question) -> Budget:
        return budget_for(
            question.size, context=self.context, max_tokens=self.max_tokens, extra_chars=question.extra_chars
        )

    def _surely_fits(self, question: Question) -> bool:
        """True without writing the prompt: its words are those of the question, some of them twice, and ours."""
        case = question.case
        own = [case.instructions, case.instructions, *(one.text for one in question.criteria)]
        own += [one.anchors for one in question.scales]
        words = sum(len(text.encode(errors="replace")) for text in (*own, *(one.text for one in case.materials)))
        most = words + OUR_WORDS + MATERIAL_WORDS * len(case.materials) + ID_WORDS * question.size
        budget = self._budget(question)
        return most <= budget.prompt

    async def _count(self, prompt: Prompt, budget: Budget, factor: float) -> int:
        """Tokens, by the tokenizer only where it matters: no text has more tokens than bytes."""
        most = (
            sum(len((message.content or "").encode(errors="replace")) for message in prompt.messages) + _TEMPLATE_TOKENS
        )
        if most * factor <= budget.prompt:
            return most
        estimated = int(_estimated(prompt.messages) * factor)
        if estimated > 2 * budget.context:
            return estimated  # far too long; not worth sending to the tokenizer
        counted = await self._client.count_tokens(prompt.messages)
        return estimated if counted is None else int(counted * factor)


def _estimated(messages: tuple[ChatMessage, ...]) -> int:
    return sum(estimate(message.content or "") for message in messages) + _TEMPLATE_TOKENS


def _original(cuts: tuple[Cut, ...], question: Question) -> tuple[Cut, ...]:
    """The cuts with the sizes of the texts as they came."""
    names = labels(question.case.materials)
    sizes = {name: len(one.text) for name, one in zip(names, question.case.materials, strict=True)}
    return tuple(cut.model_copy(update={"original_chars": sizes[cut.field]}) for cut in cuts)


def _takes(mode: Mode, text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return conforms(value, _PROBE_SCHEMA if mode == "schema" else {"type": "object"})
