"""The servers of a registry that can be used: none is an error, never an empty list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from services.inference.failures import NotReadyError, UsageError
from services.inference.servers.registry import Registry
from services.inference.servers.survey import Known, survey
from services.inference.servers.waiting import standings
from services.inference.servers.wording import few, plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Living:
    """A server that runs."""

    url: str
    """Base URL ending in /v1."""
    model: str
    """The name to call it by: what it lists if it was asked, else what the registry says."""
    router: bool = False
    key_file: str | None = None
    """Holds the key it wants."""


async def living(
    path: Path, *, model: str | None, healthy: bool, timeout_s: float, says: Callable[[str], None]
) -> Sequence[Living]:
    """The running servers of `model` (None: of any), with `healthy` only those that are ready now; `says` is told of the others.

    Raises NotReadyError when there is none, with the reason of each.
    """
    found = await survey(Registry(path))
    for notice in found.notices:
        says(notice)
    running = [server for server in found.of(model) if server.line and server.status == "running"]
    if not running:
        raise NotReadyError(_none_runs(path, model, found.servers))
    if not healthy:
        return list({server.url: _living(server) for server in running}.values())
    ready: dict[str, Living] = {}
    ill = []
    for standing in await standings(running, timeout_s=timeout_s):
        if standing.readiness is not None and standing.ready:
            ready[standing.readiness.url] = _living(standing.server, listed=standing.readiness.model)
        else:
            ill.append(plain(f"{standing.server.id}: {standing.words}"))
    if not ready:
        raise NotReadyError(f"{path} is stale, no server of it answers as it should: {'; '.join(ill)}")
    for words in ill:
        says(f"left out: {words}")
    return list(ready.values())


def of_one_model(found: Sequence[Living], *, where: str) -> Sequence[Living]:
    """The same servers. Raises UsageError when they serve different models, since LLM_MODEL can name only one."""
    models = sorted({server.model for server in found if not server.router})
    if len(models) > 1:
        raise UsageError(f"{where} lists servers of several models, {', '.join(models)}: choose one with --model")
    return found


def _living(server: Known, *, listed: str | None = None) -> Living:
    facts = server.facts
    name = listed or (facts.served_name if facts else server.model)
    return Living(
        url=server.url or "",
        model=name,
        router=facts is not None and facts.router,
        key_file=facts.key_file if facts else None,
    )


def _none_runs(path: Path, model: str | None, servers: Sequence[Known]) -> str:
    if not path.exists():
        return f"{path} does not exist: start servers with `inference up`, or name another file with --registry"
    whose = f" of {model!r}" if model else ""
    listed = few([f"{server.id} ({server.model}) {server.status}" for server in servers])
    only = f", only {listed}" if servers else ""
    return f"{path} lists no running server{whose}{only}; start one with `inference up`, or `inference wait` for it"
