"""`inference health`: is every server well, serving its model, and generating?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.inference.commands.options import json_option, only_model_option, registry_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.inference.servers.readiness import Readiness, Target
    from services.inference.servers.survey import Known


@click.command()
@registry_option
@click.option("--timeout", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Seconds for each server.")
@click.option("--urls", metavar="A,B", help="Ask these base URLs instead of the registry's.")
@only_model_option
@json_option
def command(*, registry: Path, timeout: float, urls: str | None, model: str | None, as_json: bool) -> None:
    """Ask every server for its health, its models and one token. Exit code 0 only when all of them are well, else 4.

    A server that ended by itself since the last look is not well either; after that it is history, which `list` shows.
    """
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.inference.failures import NotReadyError  # noqa: PLC0415
    from services.inference.servers.readiness import probe_all  # noqa: PLC0415

    configure("inference")
    targets, lost = (_given(urls, model), []) if urls is not None else asyncio.run(_registered(registry, model))
    if not targets and not lost:
        whose = f" of {model!r}" if model else ""
        raise NotReadyError(f"{registry} lists no living server{whose}; start one with `inference up`, or pass --urls")
    found = asyncio.run(probe_all(targets, timeout_s=timeout))
    click.echo(_as_json(found, lost) if as_json else _as_text(found, lost))
    if ill := [one.url for one in found if not one.ready] + [one.url for one in lost]:
        raise NotReadyError(f"{len(ill)} of {len(found) + len(lost)} servers are not well")


def _given(urls: str, model: str | None) -> Sequence[Target]:
    from services.contract.endpoints import EndpointError, base_urls  # noqa: PLC0415 - keeps --help fast
    from services.inference.failures import UsageError  # noqa: PLC0415
    from services.inference.servers.readiness import Target  # noqa: PLC0415

    try:
        listed = base_urls(urls, name="--urls")
    except EndpointError as error:
        raise UsageError(str(error)) from error
    if not listed:
        raise UsageError("--urls: names no URL; expected http://host:port/v1, several with commas")
    return [Target(url=url, model_path=model) for url in listed]


async def _registered(registry: Path, model: str | None) -> tuple[Sequence[Target], Sequence[Known]]:
    from services.inference.servers.registry import Registry  # noqa: PLC0415 - keeps --help fast
    from services.inference.servers.survey import survey  # noqa: PLC0415

    found = await survey(Registry(registry))
    for notice in found.notices:
        click.echo(notice, err=True)
    targets = [target for server in found.of(model) if not server.over and (target := server.target()) is not None]
    return targets, [server for server in found.of(model) if server.id in found.lost]


def _as_text(found: Sequence[Readiness], lost: Sequence[Known]) -> str:
    from services.inference.commands.tables import table  # noqa: PLC0415

    rows = [
        (one.url, one.model or ", ".join(one.models), f"{one.seconds:.2f} s", one.problem or "well") for one in found
    ]
    rows += [(one.url or "", one.model, "-", f"lost: {one.id} has ended; see `inference list`") for one in lost]
    return table(("URL", "MODEL", "TOOK", "STATE"), rows)


def _as_json(found: Sequence[Readiness], lost: Sequence[Known]) -> str:
    servers = [
        {
            "url": one.url,
            "ready": one.ready,
            "condition": one.condition,
            "problem": one.problem,
            "models": list(one.models),
            "max_model_len": one.max_model_len,
            "seconds": round(one.seconds, 3),
        }
        for one in found
    ]
    healthy = not lost and all(one.ready for one in found)
    return json.dumps({"healthy": healthy, "servers": servers, "lost": [one.id for one in lost]})
