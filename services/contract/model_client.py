"""The one way to call a model, for purple and the judge. Failures are values; retries live here and nowhere else.

Specification: inference 7. Which of an endpoint's servers a call goes to is decided in `contract.model_replicas`. A call moves on
when its server is lost: at once when nobody listened, after a wait when it failed with a status of 500 and above, since that may
be load, which would move along. It stays where a server answers, if only 429: a limit counts requests to a key or a queue, and
another server would have to compute the conversation's prefix anew. The request keeps its seed wherever it goes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from services.contract.endpoints import ENDPOINT_FILE, Endpoint, Price
from services.contract.model_budget import ContextBudget, NoRoomError
from services.contract.model_call import (
    CallKey,
    ChatMessage,
    Completion,
    Dialect,
    ModelAttempt,
    ModelFailure,
    ModelRequest,
    ModelUsage,
    Reply,
    ResponseFormat,
    Sampling,
    ToolCall,
    ToolChoice,
    ToolSpec,
)
from services.contract.model_errors import OPTIONAL_PARAMETERS, HttpFault, classify, overflow, rejected_parameter
from services.contract.model_replicas import Breaker, Replica, Replicas, is_loss
from services.contract.model_reply import EmptyContentError, read_reply
from services.contract.outcomes import Outcome
from services.contract.secrets import redact, register_secret

__all__ = [
    "CallKey",
    "ChatMessage",
    "Completion",
    "ModelAttempt",
    "ModelClient",
    "ModelFailure",
    "ModelUsage",
    "ResponseFormat",
    "Sampling",
    "ToolCall",
    "ToolSpec",
]

log = structlog.get_logger()

MAX_ATTEMPTS: Final = 4
BACKOFF_S: Final = 0.5
MAX_RETRY_AFTER_S: Final = 60.0
PROBE_S: Final = 5.0
"""How long a silent server has to answer one token, or to count them, before it counts as stalled."""
MAX_MESSAGE: Final = 2_000
LATE: Final = "no answer by the deadline"
CLOSED: Final = (Outcome.CANCELLED, "closed", "the client was closed")
_PROBE: Final = ModelRequest(
    messages=(ChatMessage(role="user", content="ping"),),
    tools=(),
    response_format=None,
    sampling=Sampling(max_tokens=1),
)
AS_CONFIGURED: Final = Sampling()
"""The endpoint's own values, and a seed from the call's key."""


@dataclass(kw_only=True, slots=True)
class _Call:
    request: ModelRequest
    key: CallKey
    deadline: float
    replica: Replica
    """Where it is now."""
    started: float
    """When the latest request was sent; before the first: when the call began."""
    fitted: ModelRequest | None = None
    """The request as the context of `replica` lets it be; None: not looked at yet."""
    tries: int = 0
    """Requests that failed, those for a parameter aside."""
    in_flight: bool = False
    """A request was sent that nothing has come of."""
    waits: int = 0
    lost: list[str] = field(default_factory=list)
    """URLs of the servers that were lost under it, once for each time."""
    attempts: list[ModelAttempt] = field(default_factory=list)

    def go_to(self, replica: Replica) -> None:
        if replica is not self.replica:
            self.replica, self.fitted = replica, None


class ModelClient:
    """Calls one endpoint. Safe for any number of concurrent calls; close it when done.

    `clock` gives the time that deadlines refer to, in seconds; `sleep` waits between attempts, of which there are at most
    `max_attempts`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_connections: int = 64,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        probe_s: float = PROBE_S,
        max_attempts: int = MAX_ATTEMPTS,
    ) -> None:
        if endpoint.api_key is not None:
            register_secret(endpoint.api_key.get_secret_value())
        self.endpoint = endpoint
        dialects = {url: _dialect(endpoint, url, max_connections) for url in endpoint.urls}
        unsupported: set[str] = set()
        for dialect in dialects.values():
            dialect.unsupported = unsupported  # What one server says of the model holds for all: they serve the same.
        limit = endpoint.max_model_len
        self._replicas = Replicas(
            all=[
                Replica(
                    url=url,
                    dialect=dialect,
                    budget=ContextBudget(dialect=dialect, limit=limit, patience_s=probe_s),
                    breaker=Breaker(clock=clock),
                )
                for url, dialect in dialects.items()
            ],
            clock=clock,
        )
        self._slots = asyncio.Semaphore(max_connections)
        self._clock = clock
        self._sleep = sleep
        self._probe_s = probe_s
        self._max_attempts = max_attempts
        self._closed = asyncio.Event()

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        tools: Sequence[ToolSpec] = (),
        tool_choice: ToolChoice = "auto",
        response_format: ResponseFormat | None = None,
        sampling: Sampling = AS_CONFIGURED,
        deadline: float,
        key: CallKey,
    ) -> Completion | ModelFailure:
        """The model's answer to a conversation.

        `deadline` is a time of the client's clock, by default that of `time.monotonic` and the event loop. It bounds the call
        with all its attempts; only the probe that asks whose fault a missed deadline is comes after it. Cancelling the call
        closes the HTTP request, so that the engine stops generating.
        """
        request = ModelRequest(
            messages=messages,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            sampling=self._sampling(sampling, key),
        )
        return await self._by_deadline(request, deadline=deadline, key=key)

    async def continuation(
        self, text: str, *, stop: Sequence[str] = (), sampling: Sampling = AS_CONFIGURED, deadline: float, key: CallKey
    ) -> Completion | ModelFailure:
        """How a base model goes on after `text`: the completions API, without a chat template.

        The engine ends before any of `stop`; OpenAI takes four of them. Only providers that speak OpenAI's API have it.
        Deadline, key and failures are those of `complete`.
        """
        request = ModelRequest(
            messages=[ChatMessage(role="user", content=text)],
            tools=(),
            response_format=None,
            sampling=self._sampling(sampling, key),
            template=False,
            stop=tuple(stop),
        )
        return await self._by_deadline(request, deadline=deadline, key=key)

    async def context_length(self) -> int | None:
        """Tokens of prompt and answer together: as configured, else as the server reports it; None when nobody says."""
        for replica in self._replicas.healthy_first():
            if (length := await replica.budget.length()) is not None:
                return length
        return None

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int | None:
        """Tokens of a prompt by the tokenizer of a server; None when none has one or can be reached."""
        request = ModelRequest(messages=messages, tools=(), response_format=None, sampling=AS_CONFIGURED)
        for replica in self._replicas.healthy_first():
            if (counted := await replica.budget.tokens(request)) is not None:
                return counted
        return None

    async def aclose(self) -> None:
        """Close all connections; calls in flight end as `cancelled`."""
        self._closed.set()
        await self._replicas.aclose()

    async def _by_deadline(self, request: ModelRequest, *, deadline: float, key: CallKey) -> Completion | ModelFailure:
        now = self._clock()
        replica = self._replicas.ordered(key)[0]
        call = _Call(request=request, key=key, replica=replica, deadline=deadline, started=now)
        if now >= deadline:
            return self._failure(call, Outcome.AGENT_ERROR, "deadline", "the deadline had passed before the call")
        try:
            async with asyncio.timeout(deadline - now) as limit:
                async with self._slots:
                    call.go_to(self._replicas.choose(key))
                    result = await self._until_answered(call)
        except TimeoutError:
            if not limit.expired():
                raise
            result = await self._deadline_passed(call)
        log.debug(
            "model_call_finished",
            purpose=key.purpose,
            result=getattr(result, "kind", "answered"),
            replica=call.replica.url,
            attempt=result.usage.calls,
            fingerprint=getattr(result, "fingerprint", None),
        )
        return result

    async def _until_answered(self, call: _Call) -> Completion | ModelFailure:
        while not self._closed.is_set():
            with call.replica.breaker.passing():
                result = await self._attempt(call)
            if isinstance(result, Completion | ModelFailure):
                return result
            if result is not None:
                await self._onward(call, result)
        return self._failure(call, *CLOSED)

    async def _attempt(self, call: _Call) -> Completion | ModelFailure | HttpFault | None:
        """One request. The fault when another may help, None when one without a parameter does."""
        replica, dialect = call.replica, call.replica.dialect
        try:
            request = call.fitted = call.fitted or await replica.budget.fit(call.request)
        except NoRoomError as error:
            failure = self._failure(call, Outcome.INFRA_ERROR, "context_overflow", str(error))
            return replace(failure, prompt_tokens=error.prompt_tokens, context_limit=error.limit)
        call.started, sent = self._clock(), _sent(dialect, request.sampling)
        call.in_flight = True
        try:
            reply = await dialect.complete(request)
        except HttpFault as fault:
            call.in_flight = False
            if self._closed.is_set():
                return None
            self._note(replica, fault)
            return None if self._drop_parameter(call, fault, sent) else self._gives_up(call, fault)
        self._note(replica, None)
        try:
            return self._answer(call, request, reply)
        except EmptyContentError as error:
            self._record(call, "empty_content", 200, str(error))
            return self._failure(call, Outcome.INFRA_ERROR, "empty_content", str(error))

    def _note(self, replica: Replica, fault: HttpFault | None) -> None:
        if fault is not None and is_loss(fault):
            replica.lost(fault)
        else:
            replica.answered()

    def _gives_up(self, call: _Call, fault: HttpFault) -> ModelFailure | HttpFault:
        """The failure to report, or the fault when another try may help and there is time for it."""
        kind = classify(fault)
        self._record(call, kind.name, fault.status, fault.message)
        call.tries += 1
        if is_loss(fault):
            call.lost.append(call.replica.url)
        in_time = self._clock() + self._wait_s(call, fault) < call.deadline
        if kind.retried and call.tries < self._max_attempts and in_time:
            return fault
        failure = self._failure(call, Outcome.INFRA_ERROR, kind.name, fault.message + self._stale(call))
        sizes = overflow(fault)
        if sizes is None:
            return failure
        limit = sizes.limit if sizes.limit is not None else call.replica.budget.limit
        return replace(failure, prompt_tokens=sizes.prompt_tokens, context_limit=limit)

    def _stale(self, call: _Call) -> str:
        """What to think of when a file named the servers and none of them listens."""
        from_file = self.endpoint.facts.get("url") == ENDPOINT_FILE
        if not from_file or any(attempt.status is not None for attempt in call.attempts):
            return ""
        return f"; {ENDPOINT_FILE} may be stale: `inference list` shows what runs, `inference wait` waits for it"

    async def _onward(self, call: _Call, fault: HttpFault) -> None:
        """Wait where that is due, and move on from a server that is lost."""
        if (wait_s := self._wait_s(call, fault)) > 0:
            call.waits += 1
            await self._sleep(wait_s)
        if is_loss(fault):
            call.go_to(self._replicas.choose(call.key, call.lost))

    def _wait_s(self, call: _Call, fault: HttpFault) -> float:
        """Seconds before the next try; the same for the same call and try, so that a run repeats."""
        moves = is_loss(fault) and self._replicas.choose(call.key, call.lost).url not in call.lost
        if moves and fault.status is None:
            return 0.0  # Nobody listened there; somebody else may.
        draw = random.Random(call.key.derived("retry", call.waits + 1)).random()  # noqa: S311 - jitter
        backoff = BACKOFF_S * 2.0**call.waits * (0.5 + draw)
        # What a server asks for is for itself.
        asked = 0.0 if moves else fault.retry_after_s or 0.0
        return max(backoff, min(asked, MAX_RETRY_AFTER_S))

    def _drop_parameter(self, call: _Call, fault: HttpFault, sent: Collection[str]) -> bool:
        """Forget a sampling parameter that the model rejects; later calls do not send it either."""
        name = rejected_parameter(fault, sent)
        if name is None:
            return False
        call.replica.dialect.unsupported.add(name)
        self._record(call, f"rejected_{name}", fault.status, fault.message)
        log.warning("sampling_parameter_dropped", parameter=name, model=self.endpoint.model)
        return True

    async def _deadline_passed(self, call: _Call) -> ModelFailure:
        """Ask the server for one token. If it answers, the caller's deadline was too short, else the engine is stuck.

        Time that went to requests which failed, and to waits for the next, is not the caller's either.
        """
        try:
            async with asyncio.timeout(self._probe_s):
                await call.replica.dialect.complete(_PROBE)
        except TimeoutError:
            call.replica.lost(None)
            self._record(call, "engine_stalled", None, LATE)
            message = f"{LATE}, and none within {self._probe_s:g} s to a probe of one token"
            return self._failure(call, Outcome.INFRA_ERROR, "engine_stalled", message)
        except HttpFault as fault:
            if self._closed.is_set():
                return self._failure(call, *CLOSED)
            self._note(call.replica, fault)
            if is_loss(fault):
                kind = classify(fault).name
                self._record(call, kind, fault.status, fault.message)
                return self._failure(call, Outcome.INFRA_ERROR, kind, f"{LATE}; then {fault.message}")
        else:
            self._note(call.replica, None)
        before = call.attempts[-1] if call.tries else None
        if call.in_flight:
            self._record(call, "deadline", None, LATE)
        if before is not None:
            return self._failure(call, Outcome.INFRA_ERROR, before.kind, f"{LATE}; before that {before.message}")
        return self._failure(call, Outcome.AGENT_ERROR, "deadline", f"{LATE}, though the engine is well")

    def _answer(self, call: _Call, request: ModelRequest, reply: Reply) -> Completion:
        said = read_reply(reply, request.response_format)
        dialect = call.replica.dialect
        calls = len(call.attempts) + 1
        return Completion(
            text=said.text,
            tool_calls=said.tool_calls,
            finish=said.finish,
            refused=said.refused,
            usage=replace(reply.usage, calls=calls, cost_usd=_cost(reply.usage, self.endpoint.price)),
            flags=(*said.flags, *(f"dropped_{name}" for name in sorted(dialect.unsupported))),
            attempts=tuple(call.attempts),
            replica=call.replica.url,
            switched=call.replica is not self._replicas.ordered(call.key)[0],
            fingerprint=reply.fingerprint,
            sampling=dialect.in_force(request.sampling),
        )

    def _record(self, call: _Call, kind: str, status: int | None, message: str) -> None:
        attempt = ModelAttempt(
            replica=call.replica.url,
            kind=kind,
            status=status,
            message=redact(message)[:MAX_MESSAGE],
            duration_s=self._clock() - call.started,
        )
        call.attempts.append(attempt)

    def _failure(self, call: _Call, outcome: Outcome, kind: str, message: str) -> ModelFailure:
        return ModelFailure(
            outcome=outcome,
            kind=kind,
            message=redact(message)[:MAX_MESSAGE],
            attempts=tuple(call.attempts),
            usage=ModelUsage(calls=len(call.attempts)),
        )

    def _sampling(self, asked: Sampling, key: CallKey) -> Sampling:
        """Every parameter spelled out: no server default, which moves between releases, decides."""
        endpoint = self.endpoint
        return Sampling(
            temperature=endpoint.temperature if asked.temperature is None else asked.temperature,
            top_p=endpoint.top_p if asked.top_p is None else asked.top_p,
            top_k=endpoint.top_k if asked.top_k is None else asked.top_k,
            max_tokens=endpoint.max_tokens if asked.max_tokens is None else asked.max_tokens,
            seed=key.seed if asked.seed is None else asked.seed,
        )


def _sent(dialect: Dialect, sampling: Sampling) -> set[str]:
    """Names of the parameters of the next request, before other calls learn more about the model."""
    in_force = dialect.in_force(sampling)
    names = {name for name in OPTIONAL_PARAMETERS if getattr(in_force, name, None) is not None}
    if "max_tokens" in names & dialect.unsupported:
        names.add("max_completion_tokens")  # its other spelling, which is sent instead
    return names - dialect.unsupported


def _dialect(endpoint: Endpoint, url: str, max_connections: int) -> Dialect:
    """The SDKs take a second to import, which only who calls a model should pay."""
    if endpoint.provider == "anthropic":
        from services.contract.model_anthropic import AnthropicDialect  # noqa: PLC0415

        return AnthropicDialect(endpoint, url, max_connections=max_connections)
    from services.contract.model_openai import OpenAIDialect  # noqa: PLC0415

    return OpenAIDialect(endpoint, url, max_connections=max_connections)


def _cost(usage: ModelUsage, price: Price | None) -> float | None:
    if price is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = usage.cached_tokens or 0
    cached_usd = price.input_usd if price.cached_input_usd is None else price.cached_input_usd
    dollars = (
        max(0, usage.input_tokens - cached) * price.input_usd
        + cached * cached_usd
        + usage.output_tokens * price.output_usd
    )
    return dollars / 1_000_000
