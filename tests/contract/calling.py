"""Short ways to call a model in tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from services.contract.endpoints import Endpoint
from services.contract.model_client import CallKey, ChatMessage, Completion, ModelClient, ModelFailure

KEY = CallKey(run_seed=42, benchmark="options", task_id="t1", trial=0, purpose="agent", index=0)


@dataclass(kw_only=True, slots=True)
class Sleeper:
    """Stands for sleeping: notes the wanted seconds and lets no time pass."""

    waits: list[float] = field(default_factory=list)

    async def __call__(self, seconds: float) -> None:
        self.waits.append(seconds)


def endpoint(url: str, **changes: Any) -> Endpoint:
    """An endpoint whose length is known, so that no question about it goes ahead of the call."""
    values: dict[str, Any] = {"name": "agent", "model": "reference", "urls": (url,), "max_model_len": 32_768}
    return Endpoint.model_validate(values | changes)


def key_of(text: str) -> SecretStr:
    """A key as the endpoint holds it."""
    return SecretStr(text)


@asynccontextmanager
async def client_of(place: Endpoint | str, **options: Any) -> AsyncIterator[ModelClient]:
    """A client that is closed afterwards and never really waits between attempts."""
    values: dict[str, Any] = {"sleep": Sleeper(), "probe_s": 0.5} | options
    client = ModelClient(endpoint(place) if isinstance(place, str) else place, **values)
    try:
        yield client
    finally:
        await client.aclose()


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread brings about."""
    while not condition():  # noqa: ASYNC110 - no event crosses the threads
        await asyncio.sleep(0.005)


def in_(seconds: float) -> float:
    """A deadline so many seconds from now."""
    return time.monotonic() + seconds


async def call(client: ModelClient, text: str = "ping", **options: Any) -> Completion | ModelFailure:
    """Ask one question."""
    messages: Sequence[ChatMessage] = [ChatMessage(role="user", content=text)]
    values: dict[str, Any] = {"deadline": in_(20), "key": KEY} | options
    return await client.complete(messages, **values)


async def completed(client: ModelClient, text: str = "ping", **options: Any) -> Completion:
    """Ask one question that is answered."""
    result = await call(client, text, **options)
    assert isinstance(result, Completion), result
    return result


async def failed(client: ModelClient, text: str = "ping", **options: Any) -> ModelFailure:
    """Ask one question that is not answered."""
    result = await call(client, text, **options)
    assert isinstance(result, ModelFailure), result
    return result
