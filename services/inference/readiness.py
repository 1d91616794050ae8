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

Condition = Literal[
    "ready", "unreachable", "silent", "unhealthy", "unauthorised", "no_models", "wrong_model", "not_generating"
]
AT_ONCE: Final = 64
"""Servers asked at the same time."""
_WORDS: Final = 200
"""Characters of a foreign error text that are shown."""


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


class _NotReadyError(Exception):
    """Ends the questions to one server."""

    def __init__(self, condition: Condition, problem: str, *, models: tuple[str, ...] = ()) -> None:
        super().__init__(problem)
        self.condition: Condition = condition
        self.models = models


async def _bounded(target: Target, timeout_s: float) -> Readiness:
    begun = time.monotonic()
    questions = _Questions(target)
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
            headers={"authorization": f"Bearer {key}"} if key else {},
            timeout=None,  # noqa: S113 - the deadline of all questions bounds each of them
            verify=_certificates(),
            # No redirects: they would carry the key elsewhere. No proxy on the way to this machine.
            follow_redirects=False,
            trust_env=not _is_loopback(self._root),
        )

    async def _health(self, client: httpx.AsyncClient) -> None:
        response = await self._sent(client, "GET", "/health")
        if response.status_code != 200:
            raise _NotReadyError("unhealthy", f"{self._at} answers, but its /health says {_said(response)}")

    async def _model(self, client: httpx.AsyncClient) -> _Model:
        response = await self._sent(client, "GET", "/v1/models")
        if response.status_code != 200:
            raise _NotReadyError("no_models", f"{self._at} answers, but its /v1/models says {_said(response)}")
        try:
            models = _Models.model_validate_json(response.content).data
        except ValidationError:
            raise _NotReadyError(
                "no_models", f"{self._at} answers, but its /v1/models is no list of models: {_said(response)}"
            ) from None
        self.listed = tuple(model.id for model in models)
        if (found := _expected(self._target, models)) is None:
            asked = self._target.served_name or self._target.model_path or "any model"
            raise _NotReadyError(
                "wrong_model", f"{self._at} answers, but it serves {', '.join(self.listed) or 'nothing'}, not {asked}"
            )
        return found

    async def _token(self, client: httpx.AsyncClient, model: str) -> None:
        body: dict[str, object] = {"model": model, "max_tokens": 1, "temperature": 0}
        chat = {**body, "messages": [{"role": "user", "content": "ping"}]}
        response = await self._sent(client, "POST", "/v1/chat/completions", chat)
        if response.status_code in {400, 404}:
            # A base model has no chat template; it is ready all the same.
            response = await self._sent(client, "POST", "/v1/completions", {**body, "prompt": "ping"})
        if response.status_code != 200:
            raise _NotReadyError("not_generating", f"{self._at} is alive but not generating: {_said(response)}")
        try:
            answer = _Answer.model_validate_json(response.content)
        except ValidationError:
            answer = _Answer(choices=())
        if not answer.choices or (answer.usage is not None and answer.usage.completion_tokens == 0):
            raise _NotReadyError(
                "not_generating",
                f"{self._at} is alive but not generating: an answer without a token, {_said(response)}",
            )

    async def _sent(
        self, client: httpx.AsyncClient, method: str, path: str, body: dict[str, object] | None = None
    ) -> httpx.Response:
        try:
            response = await client.request(method, f"{self._root}{path}", json=body)
        except httpx.ConnectError as error:
            raise _NotReadyError("unreachable", f"{self._at}: nothing accepts connections ({error})") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            words = str(error) or type(error).__name__
            raise _NotReadyError(
                "unhealthy" if self._stage != "token" else "not_generating",
                f"{self._at} does not speak HTTP as a model server does: {path}: {words[:_WORDS]}",
            ) from error
        if response.status_code in {401, 403}:
            remedy = "the key given is not accepted" if self._target.key else "it wants a key"
            raise _NotReadyError("unauthorised", f"{self._at} answers {response.status_code} to {path}: {remedy}")
        return response


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


def _said(response: httpx.Response) -> str:
    """Status and the beginning of the body on one line."""
    text = " ".join(response.text[: 4 * _WORDS].split())[:_WORDS]
    return f"HTTP {response.status_code}: {text}" if text else f"HTTP {response.status_code}"


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
