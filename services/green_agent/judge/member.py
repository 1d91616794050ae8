"""One judge: asks its model until the reply is a verdict, and keeps account of every call.

Full prompt, then the same with its fault named, then a short form for half of the verdicts at a time. HTTP is tried again by the
model client alone; a call that got no reply for another reason ends the question with the client's kind.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from services.contract.assessment import PlannedTrial
from services.contract.conversation import LONGEST_FACT
from services.contract.judgements import Form, Judgement
from services.contract.model_client import CallKey, Completion, ModelFailure, ModelUsage
from services.contract.outcomes import Failure, Outcome
from services.contract.secrets import redact
from services.green_agent.judge.budget import NoRoomError
from services.green_agent.judge.cache import Kept, Mode, VerdictCache
from services.green_agent.judge.fences import mark_of, neutral
from services.green_agent.judge.model import JudgeModel, Ready
from services.green_agent.judge.prompts import Refused, template_digest, write
from services.green_agent.judge.questions import Question, about
from services.green_agent.judge.verdicts import InvalidVerdictError, Verdict, read

LONGEST_RAW: Final = 20_000
"""Characters of a reply that are kept."""
OVERFLOW: Final = "context_overflow"
NO_MARK: Final = "<<<no mark>>>"
"""Stands for the mark where there is none; fence marks are replaced in every text, so none can hold it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Means:
    """What the judges of a panel share."""

    timeout_s: float
    """Deadline of one question with all its tries."""
    salt: bytes
    """Secret of the run that the marks of fences are made with."""
    places: asyncio.Semaphore
    """Questions in flight."""
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
    factor: float = 1.0
    """What an overflow told about the count of tokens."""
    mode: Mode | None = None
    """How it is asked after a stricter way was refused."""

    def note(self, judgement: Judgement) -> None:
        self.made.append(judgement)
        self.hearing.record.append(judgement)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Refusal:
    """A reply that is no verdict."""

    kind: str
    message: str
    raw: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sent:
    """One call of an exchange."""

    exchange: _Exchange
    question: Question
    form: Form
    ready: Ready | None = None
    """None when no prompt could be made to fit."""
    latency_s: float = 0.0


class Member:
    """One judge of a panel."""

    def __init__(self, model: JudgeModel, *, number: int, means: Means, twins: int = 0) -> None:
        self.model = model
        self.number = number
        self._twins = twins
        """Members before this one that go by the same model and parameters: each has verdicts of its own."""
        self._means = means
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    async def ask(self, question: Question, hearing: Hearing) -> Verdict | Failure:
        """The verdict on a whole question, in batches as the context allows. A Failure is always a judge_error."""
        verdicts: list[Verdict] = []
        for part in await self.model.parts(question):
            verdict = await self._once(part, hearing)
            if isinstance(verdict, Failure):
                return verdict
            verdicts.append(verdict)
        return _joined(verdicts)

    async def _once(self, question: Question, hearing: Hearing) -> Verdict | Failure:
        """From the cache, else by asking; the same question is asked by one caller while the others wait for it."""
        cache = self._means.cache
        if cache is None:
            return await self._fresh(question, hearing, key=None)
        key = self._key(question)
        async with self._turn(key):
            kept = cache.get(key)
            if kept is None or kept.values.keys() != set(question.ids):
                return await self._fresh(question, hearing, key=key)
        hearing.record.extend(
            [made.model_copy(update={"cached": True, "member": self.number}) for made in kept.judgements]
        )
        return Verdict(values=kept.values, reasons=kept.reasons, injection_suspected=kept.injection_suspected)

    async def _fresh(self, question: Question, hearing: Hearing, *, key: str | None) -> Verdict | Failure:
        async with self._means.places:
            exchange = _Exchange(question=question, hearing=hearing, deadline=time.monotonic() + self._means.timeout_s)
            verdict = await self._decide(exchange)
        if key is not None and self._means.cache is not None and isinstance(verdict, Verdict):
            kept = Kept(
                values=verdict.values,
                reasons=verdict.reasons,
                injection_suspected=verdict.injection_suspected,
                judgements=tuple(made for made in exchange.made if made.verdicts),
            )
            await self._means.cache.put(key, kept)
        return verdict

    async def _decide(self, exchange: _Exchange) -> Verdict | Failure:
        question = exchange.question
        said = await self._call(exchange, question, "full")
        if isinstance(said, _Refusal):
            refused = Refused(reply=said.raw, fault=said.message)
            said = await self._call(exchange, question, "repair", refused=refused)
        if not isinstance(said, _Refusal):
            return said
        halves: list[Verdict] = []
        for half in question.in_parts(-(-question.size // 2)):
            said = await self._call(exchange, half, "simplified")
            if isinstance(said, _Refusal):
                return self._failure(said.kind, said.message, evidence=said.raw)
            if isinstance(said, Failure):
                return said
            halves.append(said)
        return _joined(halves)

    async def _call(
        self, exchange: _Exchange, question: Question, form: Form, *, refused: Refused | None = None
    ) -> Verdict | _Refusal | Failure:
        """One reply, read. Repeated only after something was learnt about the model: a shorter context, a refused format."""
        while True:
            started, mode = time.monotonic(), exchange.mode or self.model.assumed_mode
            mark = mark_of(self._means.salt, f"{exchange.hearing.trial.key}|{self.number}|{next(self._means.calls)}")
            try:
                ready = await self.model.fit(question, form, mark=mark, refused=refused, factor=exchange.factor)
            except NoRoomError as error:
                exchange.note(self._judgement(_Sent(exchange=exchange, question=question, form=form), kind=OVERFLOW))
                return self._failure(OVERFLOW, str(error))
            key = self._call_key(exchange)
            result = await self.model.complete(ready, question, form, mode=mode, deadline=exchange.deadline, key=key)
            latency_s = time.monotonic() - started
            sent = _Sent(exchange=exchange, question=question, form=form, ready=ready, latency_s=latency_s)
            if isinstance(result, Completion):
                if exchange.mode is not None and self.model.assumed_mode != mode:
                    self.model.settle(mode)
                return self._read(sent, result)
            exchange.note(self._judgement(sent, kind=result.kind, raw=result.message, result=result))
            if not self._may_repeat(exchange, ready, result, mode):
                return self._failure(result.kind, result.message)

    def _may_repeat(self, exchange: _Exchange, ready: Ready, failure: ModelFailure, mode: Mode) -> bool:
        """True when the model is now known better than at the last call."""
        if failure.kind == OVERFLOW and not exchange.overflowed:
            exchange.overflowed = True
            exchange.factor = self.model.learn_overflow(ready, failure)
            return True
        weaker = self.model.less_strict(mode) if failure.kind == "bad_request" else None
        exchange.mode = weaker or exchange.mode
        return weaker is not None

    def _read(self, sent: _Sent, said: Completion) -> Verdict | _Refusal:
        raw = redact(said.text)[:LONGEST_RAW]
        judgement = self._judgement(sent, raw=raw, result=said)
        try:
            verdict = _read_whole(said, sent.question, sent.form)
        except InvalidVerdictError as error:
            sent.exchange.note(judgement.model_copy(update={"kind": error.kind}))
            return _Refusal(kind=error.kind, message=error.message, raw=raw)
        facts = {
            "verdicts": dict(verdict.values),
            "evidence_missing": _missing(verdict.evidence, sent.question),
            "injection_suspected": verdict.injection_suspected,
        }
        sent.exchange.note(judgement.model_copy(update=facts))
        return verdict

    def _judgement(
        self, sent: _Sent, *, kind: str = "", raw: str = "", result: Completion | ModelFailure | None = None
    ) -> Judgement:
        """What is known of a call whatever came of it; `result` is None when it was not made."""
        usage, ready = ModelUsage() if result is None else result.usage, sent.ready
        attempts = () if result is None else result.attempts
        answered = result if isinstance(result, Completion) else None
        fingerprint = None if answered is None else answered.fingerprint
        return Judgement(
            purpose=sent.question.purpose,
            model=self.model.endpoint.model,
            question=about(sent.question),
            member=self.number,
            form=sent.form,
            attempt=len(sent.exchange.made),
            kind=kind,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost_usd=usage.cost_usd,
            latency_s=sent.latency_s,
            server=answered.replica if answered is not None else attempts[-1].replica if attempts else "",
            fingerprint=None if fingerprint is None else redact(fingerprint)[:LONGEST_FACT],
            failed_requests=len(attempts),
            cuts=() if ready is None else ready.cuts,
            fences_replaced=0 if ready is None else ready.fences_replaced,
            template_tokens_replaced=0 if ready is None else ready.tokens_replaced,
            prompt="" if ready is None else f"sha256:{ready.prompt.digest}",
            raw=raw,
        )

    def _call_key(self, exchange: _Exchange) -> CallKey:
        trial = exchange.hearing.trial
        return CallKey(
            run_seed=0,
            benchmark=trial.benchmark,
            task_id=trial.task_id,
            trial=trial.trial,
            purpose=f"judge {self.number} {exchange.question.purpose}",
            index=len(exchange.made),
        )

    def _key(self, question: Question) -> str:
        """Of everything that decides a verdict. The whole texts count: what is cut follows from them and the context."""
        endpoint = self.model.endpoint
        parameters = [endpoint.temperature, endpoint.top_p, self.model.max_tokens, self.model.stated_context]
        words = write(question, "full", mark=NO_MARK).unmarked
        parts = [endpoint.model, endpoint.provider, parameters, template_digest(), words]
        again = (self._twins, question.case.round)
        material = json.dumps([*parts, *again] if any(again) else parts)
        return hashlib.sha256(material.encode()).hexdigest()

    @asynccontextmanager
    async def _turn(self, key: str) -> AsyncIterator[None]:
        """One caller at a time for each key; nothing stays behind."""
        self._waiting[key] += 1
        try:
            async with self._turns.setdefault(key, asyncio.Lock()):
                yield
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key], self._turns[key]

    def _failure(self, kind: str, message: str, *, evidence: str = "") -> Failure:
        return Failure(Outcome.JUDGE_ERROR, kind, f"judge {self.model.endpoint.model}: {message}", evidence=evidence)


def _read_whole(said: Completion, question: Question, form: Form) -> Verdict:
    if said.refused:
        raise InvalidVerdictError("refused", "the model declined to judge")
    try:
        return read(said.text, question, form)
    except InvalidVerdictError:
        if said.finish != "length":
            raise
        raise InvalidVerdictError("truncated", "the reply was cut off before its end; be brief") from None


def _joined(verdicts: list[Verdict]) -> Verdict:
    return Verdict(
        values={name: value for verdict in verdicts for name, value in verdict.values.items()},
        reasons={name: reason for verdict in verdicts for name, reason in verdict.reasons.items()},
        injection_suspected=any(verdict.injection_suspected for verdict in verdicts),
    )


def _missing(evidence: tuple[str, ...], question: Question) -> int:
    """Quotes that do not stand in the answer, however it is spaced."""
    if not evidence:
        return 0
    texts = [" ".join(text.split()) for answer in question.answers for text in (answer, neutral(answer).text)]
    return sum(not any(" ".join(quote.split()) in text for text in texts) for quote in evidence)
