"""Is a server ready? /health answers 200, /v1/models lists the expected name, and one token is generated.

The last is asked because engines that hang with a healthy /health are known. Raw HTTP, one attempt: who waits asks again.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from services.contract.endpoint_files import same_model
from services.inference.servers.wording import brief, few

Condition = Literal[
    "ready", "unreachable", "silent", "unhealthy", "unauthorised", "no_models", "wrong_model", "not_generating"
]
AT_ONCE: Final = 64
"""Servers asked at the same time."""
_SHOWN_BYTES: Final = 4096
_MOST_BYTES: Final = 1024 * 1024
"""Of an answer; more is no answer to these questions, and would fill the memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A server and what it should serve."""

    url: str
    """Base URL; with or without /v1."""
    served_name: str | None = None
    """Must be listed by /v1/models, letter by letter; None: by `model_path`."""
    model_path: str | None = None
    """What it was started with, where the served name is not known; the last part of a path is good too. None: any model."""
    key: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """What a server answered."""

    url: str
    condition: Condition
    problem: str = ""
    """A sentence; empty when ready."""
    model: str | None = None
    """The expected model, as the server lists it; the name to call it by."""
    models: tuple[str, ...] = ()
    """Everything it lists."""
    max_model_len: int | None = None
    """Tokens, as the server reports; None where it does not."""
    seconds: float = 0.0
    """How long the questions took."""

    @property
    def ready(self) -> bool:
        """Whether it can be given work."""
        return self.condition == "ready"


async def probe(
    url: str,
    *,
    served_name: str | None = None,
    model_path: str | None = None,
    key: str | None = None,
    timeout_s: float = 5.0,
) -> Readiness:
    """Ask one server. Never raises for what a server does; `timeout_s` bounds all questions together.

    `served_name` must be listed exactly; `model_path` is for servers whose served name is not known. Neither: any model is good.
    """
    target = Target(url=url, served_name=served_name, model_path=model_path, key=key)
    return (await probe_all([target], timeout_s=timeout_s))[0]


async def probe_all(targets: Sequence[Target], *, timeout_s: float = 5.0) -> Sequence[Readiness]:
    """Ask many servers at once; the answers in the order of the targets."""
    places = asyncio.Semaphore(AT_ONCE)

    async def ask(target: Target) -> Readiness:
        async with places:
            return await _bounded(target, timeout_s)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(target)) for target in targets]
    return [task.result() for task in tasks]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Model(_Wire):
    id: str
    root: str | None = None
    """The path it was loaded from, in vLLM."""
    max_model_len: int | None = None


class _Models(_Wire):
    data: tuple[_Model, ...]


class _Usage(_Wire):
    completion_tokens: int | None = None


class _Answer(_Wire):
    choices: tuple[dict[str, object], ...]
    usage: _Usage | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reply:
    status: int
    body: bytes

    @property
    def words(self) -> str:
        """Status and the beginning of the body on one line."""
        text = brief(self.body[:_SHOWN_BYTES].decode("utf-8", "replace"))
        return f"HTTP {self.status}: {text}" if text else f"HTTP {self.status}"


class _NotReadyError(Exception):
    """Ends the questions to one server."""

    def __init__(self, condition: Condition, problem: str, *, models: tuple[str, ...] = ()) -> None:
        super().__init__(problem)
        self.condition: Condition = condition
        self.models = models


async def _bounded(target: Target, timeout_s: float) -> Readiness:
    begun = time.monotonic()
    try:
        questions = _Questions(target)
    except ValueError as error:
        return Readiness(url=target.url, condition="unreachable", problem=f"{brief(target.url)} is no URL: {error}")
    try:
        async with asyncio.timeout(timeout_s):
            found = await questions.ask()
    except _NotReadyError as error:
        return Readiness(
            url=target.url,
            condition=error.condition,
            problem=str(error),
            models=questions.listed,
            seconds=time.monotonic() - begun,
        )
    except TimeoutError:
        condition, problem = questions.overdue(timeout_s)
        return Readiness(
            url=target.url, condition=condition, problem=problem, models=questions.listed, seconds=timeout_s
        )
    return Readiness(
        url=target.url,
        condition="ready",
        model=found.id,
        models=questions.listed,
        max_model_len=found.max_model_len,
        seconds=time.monotonic() - begun,
    )


class _Questions:
    """The questions to one server, in turn; remembers how far it came, for the case that time runs out."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._root = target.url.rstrip("/").removesuffix("/v1")
        self._at = _spoken(self._root)
        self._stage: Literal["health", "models", "token"] = "health"
        self.listed: tuple[str, ...] = ()

    async def ask(self) -> _Model:
        """The expected model, when the server is ready. Raises _NotReadyError."""
        async with self._client() as client:
            await self._health(client)
            self._stage = "models"
            model = await self._model(client)
            self._stage = "token"
            await self._token(client, model.id)
        return model

    def overdue(self, timeout_s: float) -> tuple[Condition, str]:
        """What it means that no answer came in time."""
        if self._stage == "token":
            return "not_generating", f"{self._at} is alive but not generating: no token within {timeout_s:g} s"
        path = "/health" if self._stage == "health" else "/v1/models"
        return "silent", f"{self._at} accepts connections, but {path} gave no answer within {timeout_s:g} s"

    def _client(self) -> httpx.AsyncClient:
        key = self._target.key
        return httpx.AsyncClient(
            headers={b"authorization": b"Bearer " + key.encode()} if key else {},
            timeout=None,  # noqa: S113 - the deadline of all questions bounds each of them
            verify=_certificates(),
            # No redirects: they would carry the key elsewhere. No proxy on the way to this machine.
            follow_redirects=False,
            trust_env=not _is_loopback(self._root),
        )

    async def _health(self, client: httpx.AsyncClient) -> None:
        reply = await self._sent(client, "GET", "/health")
        if reply.status != 200:
            raise _NotReadyError("unhealthy", f"{self._at} answers, but its /health says {reply.words}")

    async def _model(self, client: httpx.AsyncClient) -> _Model:
        reply = await self._sent(client, "GET", "/v1/models")
        if reply.status != 200:
            raise _NotReadyError("no_models", f"{self._at} answers, but its /v1/models says {reply.words}")
        try:
            models = _Models.model_validate_json(reply.body).data
        except ValidationError:
            raise _NotReadyError(
                "no_models", f"{self._at} answers, but its /v1/models is no list of models: {reply.words}"
            ) from None
        self.listed = tuple(model.id for model in models)
        if (found := _expected(self._target, models)) is None:
            asked = self._target.served_name or self._target.model_path or "any model"
            raise _NotReadyError("wrong_model", f"{self._at} answers, but it serves {few(self.listed)}, not {asked}")
        return found

    async def _token(self, client: httpx.AsyncClient, model: str) -> None:
        body: dict[str, object] = {"model": model, "max_tokens": 1, "temperature": 0}
        chat = {**body, "messages": [{"role": "user", "content": "ping"}]}
        reply = await self._sent(client, "POST", "/v1/chat/completions", chat)
        if reply.status in {400, 404}:
            # A base model has no chat template; it is ready all the same.
            reply = await self._sent(client, "POST", "/v1/completions", {**body, "prompt": "ping"})
        if reply.status != 200:
            raise _NotReadyError("not_generating", f"{self._at} is alive but not generating: {reply.words}")
        try:
            answer = _Answer.model_validate_json(reply.body)
        except ValidationError:
            answer = _Answer(choices=())
        if not answer.choices or (answer.usage is not None and answer.usage.completion_tokens == 0):
            raise _NotReadyError(
                "not_generating", f"{self._at} is alive but not generating: an answer without a token, {reply.words}"
            )

    async def _sent(
        self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, object] | None = None
    ) -> _Reply:
        try:
            async with client.stream(method, f"{self._root}{path}", json=body) as response:
                reply = _Reply(status=response.status_code, body=await self._read(response, path))
        except httpx.LocalProtocolError as error:
            raise _NotReadyError("unauthorised", f"{self._at}: the key holds a character that no header can") from error
        except (httpx.ConnectError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise _NotReadyError("unreachable", f"{self._at}: nothing accepts connections ({error})") from error
        except httpx.HTTPError as error:
            words = brief(str(error)) or type(error).__name__
            raise self._odd(f"does not speak HTTP as a model server does: {path}: {words}") from error
        if reply.status in {401, 403}:
            remedy = "the key given is not accepted" if self._target.key else "it wants a key"
            raise _NotReadyError("unauthorised", f"{self._at} answers {reply.status} to {path}: {remedy}")
        return reply

    async def _read(self, response: httpx.Response, path: str) -> bytes:
        body = b""
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > _MOST_BYTES:
                raise self._odd(f"does not speak HTTP as a model server does: {path}: an answer of more than 1 MiB")
        return body

    def _odd(self, words: str) -> _NotReadyError:
        conditions: dict[str, Condition] = {"health": "unhealthy", "models": "no_models", "token": "not_generating"}
        return _NotReadyError(conditions[self._stage], f"{self._at} {words}")


def _expected(target: Target, models: Sequence[_Model]) -> _Model | None:
    if target.served_name is not None:
        return next((model for model in models if model.id == target.served_name), None)
    asked = target.model_path
    if asked is None:
        return models[0] if models else None
    return next((model for model in models if asked in {model.id, model.root}), None) or next(
        (model for model in models if same_model(asked, model.id)), None
    )


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: 20 ms for each client otherwise."""
    return httpx.create_ssl_context()


def _spoken(root: str) -> str:
    """`port 8001` on this machine, the address elsewhere."""
    parts = urlsplit(root)
    if _is_loopback(root):
        with suppress(ValueError):
            return f"port {parts.port or 80}"
    return parts.netloc.rpartition("@")[2] or root


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
