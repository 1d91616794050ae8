"""Short ways to examine an endpoint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pydantic import SecretStr

from services.contract.fitness import Finding, Fitness
from services.inference.doctor.examination import Place, Wanted, examine
from services.inference.reference_engine.app import Engine, Settings
from services.inference.reference_engine.faults import parse
from tests.support.asgi import serving_app


@asynccontextmanager
async def engine(*faults: str, settings: Settings | None = None) -> AsyncIterator[str]:
    """Base URL of a reference engine in this event loop; `faults` are `--fault` texts for the default settings."""
    async with serving_app(lambda _: Engine(settings or Settings(faults=tuple(map(parse, faults))))) as url:
        yield f"{url}v1"


async def examined(*urls: str, key: str | None = None, **wanted: Any) -> tuple[Fitness, ...]:
    secret = None if key is None else SecretStr(key)
    return await examine([Place(url=url, key=secret) for url in urls], Wanted(**wanted))


async def one(url: str, *, key: str | None = None, **wanted: Any) -> Fitness:
    (found,) = await examined(url, key=key, **wanted)
    return found


def finding(found: Fitness, number: str) -> Finding:
    return next(one for one in found.findings if one.id == number)


def ids(found: Fitness, verdict: str) -> set[str]:
    return {one.id for one in found.findings if one.verdict == verdict}
