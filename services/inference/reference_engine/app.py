"""The ASGI application: routes, pace, faults and metrics around the policy."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import JsonValue
from starlette.types import Receive, Scope, Send

from services.inference.reference_engine import FINGERPRINT, LABEL, MODEL, tokens
from services.inference.reference_engine.apis import Api, Body, Rejected, digest_of, openai_error
from services.inference.reference_engine.chat import ChatCompletions
from services.inference.reference_engine.completions import Completions
from services.inference.reference_engine.distortion import distort, limit
from services.inference.reference_engine.exchange import Answer, Ask, Counts
from services.inference.reference_engine.faults import HTTP_ERRORS, Fault, FaultPlan, Kind
from services.inference.reference_engine.messages import Messages
from services.inference.reference_engine.policy import answer
from services.inference.reference_engine.responses import Responses
from services.inference.reference_engine.tokenizer import detokenize, tokenize

log = structlog.get_logger()

APIS: Final[Mapping[str, Api]] = {
    "/v1/chat/completions": ChatCompletions(),
    "/v1/completions": Completions(),
    "/v1/responses": Responses(),
    "/v1/messages": Messages(),
}
WRONG_USAGE_FACTOR: Final = 10
SLOW_TOKENS_PER_SECOND: Final = 1.0
_ERROR_NAMES: Final = {
    401: "AuthenticationError",
    402: "PaymentRequiredError",
    429: "RateLimitError",
    500: "InternalServerError",
    503: "ServiceUnavailableError",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How the engine behaves. Zero means no delay and no bound."""

    max_model_len: int = 32_768
    """Tokens of prompt and answer together."""
    latency_s: float = 0.0
    """Delay of every answer."""
    ttft_s: float = 0.0
    """Further delay before the first token."""
    tokens_per_second: float = 0.0
    max_concurrency: int = 0
    """Requests answered at once; more of them wait."""
    seed: int = 0
    """Seed of the faults; the answers have none."""
    faults: tuple[Fault, ...] = ()


@dataclass(kw_only=True, slots=True)
class Metrics:
    """Counters of /metrics."""

    running: int = 0
    finished: int = 0
    aborted: int = 0
    faults: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def page(self) -> bytes:
        """In the text form of Prometheus."""
        values = {
            "requests_running": self.running,
            "requests_finished_total": self.finished,
            "requests_aborted_total": self.aborted,
            "faults_injected_total": self.faults,
            "prompt_tokens_total": self.prompt_tokens,
            "completion_tokens_total": self.completion_tokens,
        }
        lines = [f"reference_engine_{name} {value}" for name, value in values.items()]
        return "\n".join([f"# {LABEL}", *lines, ""]).encode()


class DisconnectedError(Exception):
    """The client has gone; nobody reads an answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pace:
    before_s: float
    tokens_per_second: float

    def of(self, count: int) -> float:
        """Seconds that so many tokens take."""
        return count / self.tokens_per_second if self.tokens_per_second else 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One request on its way to an answer."""

    api: Api
    ask: Ask
    digest: str
    answers: list[Answer]
    counts: Counts
    fault: Kind | None
    pace: _Pace


class Engine:
    """The application. One instance keeps the counters and remembers which requests it has seen."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._faults = FaultPlan(settings.faults, seed=settings.seed)
        self._slots = asyncio.Semaphore(settings.max_concurrency) if settings.max_concurrency else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            raise RuntimeError(f"the reference engine speaks HTTP, got {scope['type']!r}")
        api = APIS.get(scope["path"])
        try:
            if api is not None:
                _require("POST", scope)
                await self._generate(api, await _body(receive), receive, send)
            else:
                await self._page(scope, receive, send)
        except Rejected as rejected:
            body = api.error(rejected) if api else openai_error(rejected)
            await _send(send, rejected.status, _json(body), retry_after=rejected.retry_after)
        except DisconnectedError:
            self.metrics.aborted += 1

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything that generates nothing."""
        path = scope["path"]
        if path in {"/tokenize", "/detokenize"}:
            _require("POST", scope)
            body = await _body(receive)
            await _send(
                send,
                200,
                _json(tokenize(body, self.settings.max_model_len) if path == "/tokenize" else detokenize(body)),
            )
            return
        _require("GET", scope)
        if path in {"/health", "/ping"}:
            await _send(send, 200, b"")
        elif path == "/metrics":
            await _send(send, 200, self.metrics.page(), content_type=b"text/plain; version=0.0.4")
        elif path == "/version":
            await _send(send, 200, _json({"version": FINGERPRINT, "engine": LABEL}))
        elif path == "/v1/models":
            await _send(send, 200, _json({"object": "list", "data": [self._model()]}))
        else:
            raise Rejected(404, "NotFoundError", f"there is nothing at {path}")

    def _model(self) -> Body:
        return {
            "id": MODEL,
            "object": "model",
            "created": 0,
            "owned_by": LABEL,
            "root": MODEL,
            "max_model_len": self.settings.max_model_len,
        }

    async def _generate(self, api: Api, body: bytes, receive: Receive, send: Send) -> None:
        ask = api.read(body)
        fault = self._faults.choose(body)
        if fault is not None:
            self.metrics.faults += 1
            await self._fail(fault, ask, receive)
        async with self._running():
            job = self._job(api, ask, digest_of(body), fault.kind if fault else None)
            if ask.stream:
                await _stream(job, receive, send)
            else:
                await _whole(job, receive, send)
        self.metrics.finished += 1
        self.metrics.prompt_tokens += job.counts.prompt
        self.metrics.completion_tokens += job.counts.completion

    async def _fail(self, fault: Fault, ask: Ask, receive: Receive) -> None:
        """Faults that come instead of an answer."""
        if fault.kind in HTTP_ERRORS:
            status = int(fault.kind)
            raise Rejected(status, _ERROR_NAMES[status], f"injected fault {status}", retry_after=fault.retry_after)
        if fault.kind is Kind.OVERFLOW:
            raise self._overflow(_prompt_tokens(ask))
        if fault.kind is Kind.HANG:
            async with self._running():
                await _wait(None, receive)

    def _job(self, api: Api, ask: Ask, digest: str, fault: Kind | None) -> _Job:
        """The answer, cut to its limits and distorted. Raises Rejected."""
        prompt = _prompt_tokens(ask)
        most = self._room(ask, prompt)
        said = distort(limit(answer(ask), most), fault)
        completion = ask.choices * tokens.count(said.counted)
        factor = WRONG_USAGE_FACTOR if fault is Kind.WRONG_USAGE else 1
        speed = SLOW_TOKENS_PER_SECOND if fault is Kind.SLOW_STREAM else self.settings.tokens_per_second
        return _Job(
            api=api,
            ask=ask,
            digest=digest,
            answers=[said] * ask.choices,
            counts=Counts(prompt=factor * prompt, completion=factor * completion),
            fault=fault,
            pace=_Pace(before_s=self.settings.latency_s + self.settings.ttft_s, tokens_per_second=speed),
        )

    def _room(self, ask: Ask, prompt: int) -> int:
        """Most tokens of the answer. Raises Rejected for an unknown model and where the context is exceeded."""
        if ask.model and ask.model != MODEL:
            raise Rejected(404, "NotFoundError", f"The model `{ask.model}` does not exist.", param="model")
        room = self.settings.max_model_len - prompt
        if room < 1:
            raise self._overflow(prompt)
        if ask.max_tokens is not None and ask.max_tokens > room:
            limit_ = self.settings.max_model_len
            raise Rejected(
                400,
                "BadRequestError",
                f"'max_tokens' or 'max_completion_tokens' is too large: {ask.max_tokens}. This model's maximum context length "
                f"is {limit_} tokens and your request has {prompt} input tokens ({ask.max_tokens} > {limit_} - {prompt}).",
            )
        return ask.max_tokens if ask.max_tokens is not None else room

    def _overflow(self, prompt: int) -> Rejected:
        message = (
            f"This model's maximum context length is {self.settings.max_model_len} tokens. However, your request has {prompt} "
            "input tokens. Please reduce the length of the input messages."
        )
        return Rejected(400, "BadRequestError", message)

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        async with self._slots or contextlib.nullcontext():
            self.metrics.running += 1
            try:
                yield
            finally:
                self.metrics.running -= 1


def _prompt_tokens(ask: Ask) -> int:
    if ask.template:
        return tokens.count_messages(message.counted for message in ask.messages)
    return sum(tokens.count(message.text) for message in ask.messages)


async def _whole(job: _Job, receive: Receive, send: Send) -> None:
    await _wait(job.pace.before_s + job.pace.of(job.counts.completion), receive)
    body = _json(job.api.write(job.ask, job.answers, job.counts, job.digest))
    if job.fault is Kind.TRUNCATED:
        await _start(send, 200, len(body))
        # Returning with half of the announced bytes sent makes the server close the connection.
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        return
    await _send(send, 200, body)


async def _stream(job: _Job, receive: Receive, send: Send) -> None:
    chunks = list(job.api.chunks(job.ask, job.answers, job.counts, job.digest))
    kept = len(chunks)
    if job.fault is Kind.TRUNCATED:
        kept //= 2
    elif job.fault is Kind.NO_DONE:
        kept -= 1 + job.ask.stream_usage
    pause_s = job.pace.of(job.counts.completion) / max(1, kept)
    await _wait(job.pace.before_s, receive)
    await _start(send, 200, None, content_type=b"text/event-stream")
    for chunk in chunks[:kept]:
        await _wait(pause_s, receive)
        await send({"type": "http.response.body", "body": b"data: " + _json(chunk) + b"\n\n", "more_body": True})
    if job.fault is Kind.TRUNCATED:
        return
    last = b"" if job.fault is Kind.NO_DONE else b"data: [DONE]\n\n"
    await send({"type": "http.response.body", "body": last, "more_body": False})


async def _wait(seconds: float | None, receive: Receive) -> None:
    """Let time pass, None for ever. Raises DisconnectedError as soon as the client goes."""
    if seconds == 0:
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
            raise DisconnectedError


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise DisconnectedError
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _require(method: str, scope: Scope) -> None:
    if scope["method"] != method:
        raise Rejected(405, "MethodNotAllowedError", f"{scope['path']} takes {method}, got {scope['method']}")


async def _send(
    send: Send,
    status: int,
    body: bytes,
    *,
    content_type: bytes = b"application/json",
    retry_after: int | None = None,
) -> None:
    await _start(send, status, len(body), content_type=content_type, retry_after=retry_after)
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _start(
    send: Send,
    status: int,
    length: int | None,
    *,
    content_type: bytes = b"application/json",
    retry_after: int | None = None,
) -> None:
    headers = [(b"content-type", content_type), (b"x-assay-engine", LABEL.encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})


def _json(body: JsonValue | Body) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
