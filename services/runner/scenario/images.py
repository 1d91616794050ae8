"""Which image an agent of agentbeats.dev is: from a table of the user, else from the platform (interop specification 5.1)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from services.runner.failures import ScenarioError
from services.runner.scenario.agents import AgentSpec, image_fault
from services.runner.scenario.model import Scenario

PLATFORM: Final = "https://agentbeats.dev"
TIMEOUT_S: Final = 30.0
LONGEST_ANSWER: Final = 1024 * 1024
_MOST_REDIRECTS: Final = 3
_REMEDY: Final = "correct agentbeats_id, or name its image in the file of --resolve"


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    """Where images of ids are looked up: the table first, then the platform."""

    table: Mapping[str, str] = field(default_factory=dict)
    """Id, in lower case, to image."""
    online: bool = True
    """Whether the platform may be asked."""
    platform: str = PLATFORM
    timeout_s: float = TIMEOUT_S
    """For the whole answer about one agent."""

    @classmethod
    def of(cls, resolve: Path | None, *, offline: bool) -> ImageSource:
        """As `--resolve FILE` and `--offline` say. Raises ScenarioError with every fault of the file."""
        return cls(table={} if resolve is None else read_images(resolve), online=not offline)


class _Entry(BaseModel):
    """What we read of the platform's answer."""

    docker_image: str


class _UnknownImageError(Exception):
    """Why the platform named no image."""


def read_images(path: Path) -> dict[str, str]:
    """A table id -> image in JSON or TOML, ids in lower case. Raises ScenarioError with every fault."""
    raw = _table(path)
    faults = [f"{path}: {name}: {fault}, got {image!r}" for name, image in raw.items() if (fault := image_fault(image))]
    if len({name.lower() for name in raw}) < len(raw):
        faults.append(f"{path}: an id is there twice (upper and lower case are the same)")
    if faults:
        raise ScenarioError(*faults)
    return {name.lower(): str(image) for name, image in raw.items()}


async def with_images(scenario: Scenario, source: ImageSource) -> Scenario:
    """The scenario with an image for every agent that is known by its id alone; ids stay.

    Raises ScenarioError naming every agent whose image was not found.
    """
    wanted = [agent for agent in scenario.agents() if agent.kind == "id"]
    # A proxy of the environment counts: the platform lies outside.
    async with httpx.AsyncClient(timeout=source.timeout_s) as client:
        found = await asyncio.gather(*(_image(agent, source, client) for agent in wanted), return_exceptions=True)
    faults: list[str] = []
    images: dict[str, str] = {}
    for agent, image in zip(wanted, found, strict=True):
        if isinstance(image, _UnknownImageError):
            faults.append(f"{agent.role}: no image for agentbeats_id {agent.agentbeats_id}: {image}; {_REMEDY}")
        elif isinstance(image, BaseException):
            raise image
        else:
            images[agent.role] = image
    if faults:
        raise ScenarioError(*faults)
    return with_known_images(scenario, images)


def with_known_images(scenario: Scenario, images: Mapping[str, str]) -> Scenario:
    """The scenario with these images, by role; agents that are not in it stay as they are."""

    def resolved(agent: AgentSpec) -> AgentSpec:
        return agent.model_copy(update={"image": images[agent.role]}) if agent.role in images else agent

    return scenario.model_copy(
        update={"green": resolved(scenario.green), "participants": tuple(map(resolved, scenario.participants))}
    )


async def _image(agent: AgentSpec, source: ImageSource, client: httpx.AsyncClient) -> str:
    agent_id = (agent.agentbeats_id or "").lower()
    if agent_id in source.table:
        return source.table[agent_id]
    if not source.online:
        raise _UnknownImageError("the table of --resolve has none, and --offline forbids to ask")
    url = f"{source.platform.rstrip('/')}/api/agents/{quote(agent_id, safe='')}"
    try:
        async with asyncio.timeout(source.timeout_s):
            status, content = await _fetched(client, url)
    except (TimeoutError, httpx.TimeoutException):
        raise _UnknownImageError(f"{url} did not answer within {source.timeout_s:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise _UnknownImageError(f"{url}: {str(error) or type(error).__name__}") from None
    if status != httpx.codes.OK:
        raise _UnknownImageError(f"{url} answered HTTP {status}")
    return _named(content, url)


async def _fetched(client: httpx.AsyncClient, url: str) -> tuple[int, bytes]:
    """Status and body; redirects only inside the place that was asked."""
    here = urlsplit(url)
    for _ in range(_MOST_REDIRECTS):
        async with client.stream("GET", url, headers={"Accept": "application/json"}) as response:
            if not response.has_redirect_location:
                return response.status_code, await _bounded(response)
            url = urljoin(url, response.headers["Location"])
        if urlsplit(url)[:2] != here[:2]:
            raise _UnknownImageError(f"{here.netloc} sends us elsewhere, to {url!r}, which is not followed")
    raise _UnknownImageError(f"{here.netloc} redirects without end")


async def _bounded(response: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) > LONGEST_ANSWER:
            raise _UnknownImageError(f"the answer is longer than {LONGEST_ANSWER} bytes")
    return bytes(content)


def _named(content: bytes, url: str) -> str:
    try:
        image = _Entry.model_validate_json(content).docker_image
    except ValidationError:
        raise _UnknownImageError(f"{url} names no docker_image") from None
    if fault := image_fault(image):
        raise _UnknownImageError(f"{url}: {fault}, got {image[:300]!r}")
    return image


def _table(path: Path) -> dict[str, object]:
    import tomli  # noqa: PLC0415 - as in reading

    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("{"):
            return dict(json.loads(text, object_pairs_hook=_once))
        return tomli.loads(text)
    except (json.JSONDecodeError, tomli.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from None
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise ScenarioError(f"{path}: cannot be read ({error})") from None
    except ValueError as error:
        raise ScenarioError(f"{path}: {error}") from None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    counts = Counter(key for key, _ in pairs)
    if twice := sorted(key for key, count in counts.items() if count > 1):
        raise ValueError(f"{', '.join(map(repr, twice))} is there twice")
    return dict(pairs)
