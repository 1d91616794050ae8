"""Servers of the model that somebody else runs: asked until they are well and list the model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict, JsonValue, SecretStr, ValidationError

from services.runner.evaluate.asked import Asked
from services.runner.failures import AgentStartError, ScenarioError
from services.runner.participants.base import POLL_S

_PROBE_S: Final = 5.0
_LARGEST_LIST: Final = 4 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Served:
    """The model under test, ready."""

    model: str
    """What the servers call it."""
    urls: tuple[str, ...]
    """Base URLs ending in /v1."""
    record: Mapping[str, JsonValue] = field(default_factory=dict)
    """What was launched, for the record of a run; empty for servers that were there before."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str


class _Models(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    data: tuple[_Model, ...]


async def serving(asked: Asked, urls: Sequence[str], *, key: SecretStr | None) -> str:
    """Wait until every server is well, and return the model they all list.

    Raises AgentStartError when the time is up, ScenarioError naming the ids found when the model is not among them, or when none
    was named and they do not serve one and the same.
    """
    try:
        async with asyncio.TaskGroup() as group:
            waiting = [group.create_task(_ids(asked, url, key=key)) for url in urls]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return _agreed_model(asked.model, {url: task.result() for url, task in zip(urls, waiting, strict=True)})


def _place(url: str) -> str:
    return url.partition("://")[2].removesuffix("/v1")


def _agreed_model(named: str | None, found: dict[str, tuple[str, ...]]) -> str:
    every = sorted({model for ids in found.values() for model in ids})
    if named is None:
        if len(every) == 1 and all(found.values()):
            return every[0]
        raise ScenarioError(f"--model-name: name one of the models that are served: {', '.join(every) or 'none'}")
    faults = [
        f"--model-name: {url} does not serve {named!r}; it serves {', '.join(ids) or 'nothing'}"
        for url, ids in found.items()
        if named not in ids
    ]
    if faults:
        raise ScenarioError(*faults)
    return named


async def _ids(asked: Asked, url: str, *, key: SecretStr | None) -> tuple[str, ...]:
    problem = "it was not asked"
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    try:
        async with (
            asyncio.timeout(asked.timeout_s),
            httpx.AsyncClient(trust_env=False, timeout=_PROBE_S, headers=headers) as client,
        ):
            while True:
                found = await _probe(client, url)
                if isinstance(found, tuple):
                    return found
                problem = found
                if asked.skip_wait:
                    raise AgentStartError(f"server {_place(url)} is not ready: {problem}")
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise AgentStartError(f"server {_place(url)} was not ready within {asked.timeout_s:g} s: {problem}") from None


async def _probe(client: httpx.AsyncClient, url: str) -> tuple[str, ...] | str:
    """The ids a server lists once it is well, or what is wrong with it now."""
    health = f"{url.removesuffix('/v1')}/health"
    try:
        well = await client.get(health)
        # Servers beyond the usual engines have no such page; what they list then has to do.
        if well.status_code not in {200, 404}:
            return f"{health} says HTTP {well.status_code}"
        listed = await client.get(f"{url}/models")
    except httpx.HTTPError as error:
        return f"{health}: {str(error) or type(error).__name__}"
    if listed.status_code != 200 or len(listed.content) > _LARGEST_LIST:
        return f"{url}/models says HTTP {listed.status_code}"
    try:
        return tuple(model.id for model in _Models.model_validate_json(listed.content).data)
    except ValidationError:
        return f"{url}/models is no list of models"
