"""`inference wait`: until servers are ready, or cannot become so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.inference.commands.options import json_option, only_model_option, registry_option

if TYPE_CHECKING:
    from services.inference.servers.waiting import Waited


@click.command()
@registry_option
@click.option("--timeout", default=600.0, show_default=True, type=click.FloatRange(0), help="Seconds to wait at most.")
@click.option(
    "--check-interval",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1),
    help="Seconds from one look to the next.",
)
@click.option("--min-healthy", default=1, show_default=True, type=click.IntRange(1), help="Servers that must be ready.")
@only_model_option
@json_option
def command(
    *, registry: Path, timeout: float, check_interval: float, min_healthy: int, model: str | None, as_json: bool
) -> None:
    """Wait until servers are ready: well, serving their model, and generating.

    Ends early, with the end of its log, when a server fails and those that remain are too few. Exit code 4: not ready.
    """
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.inference.failures import NotReadyError  # noqa: PLC0415
    from services.inference.servers.measuring import measured  # noqa: PLC0415
    from services.inference.servers.registry import Registry  # noqa: PLC0415
    from services.inference.servers.waiting import wait_until_ready  # noqa: PLC0415

    configure("inference")
    book = Registry(registry)
    waited = asyncio.run(
        wait_until_ready(
            book,
            min_healthy=min_healthy,
            timeout_s=timeout,
            check_interval_s=check_interval,
            model=model,
            says=lambda words: click.echo(words, err=True),
        )
    )
    for warning in filter(None, (measured(book, one.server) for one in waited.standings if one.ready)):
        click.echo(warning, err=True)
    tails = {} if waited.enough else _tails(waited)
    click.echo(_as_json(waited, tails) if as_json else _as_text(waited, tails, registry))
    if not waited.enough:
        whose = f" of {model!r}" if model else ""
        raise NotReadyError(f"{waited.ready} of {min_healthy} servers{whose} ready in {registry}: {waited.reason}")


def _tails(waited: Waited) -> dict[str, str]:
    """The end of the log of each server that never becomes ready."""
    return {one.server.id: tail for one in waited.failed if (tail := one.server.tail())}


def _as_text(waited: Waited, tails: dict[str, str], registry: Path) -> str:
    from services.inference.commands.tables import table  # noqa: PLC0415

    if not waited.standings:
        return f"{registry} lists no such server"
    rows = [(one.server.id, one.server.model, one.server.url or "", one.words) for one in waited.standings]
    ends = [f"\nthe end of the log of {name}:\n{tail.rstrip()}" for name, tail in tails.items()]
    return "\n".join([table(("ID", "MODEL", "URL", "STATE"), rows), *ends])


def _as_json(waited: Waited, tails: dict[str, str]) -> str:
    servers = [
        {
            "id": one.server.id,
            "model": one.server.model,
            "url": one.server.url,
            "ready": one.ready,
            "state": one.server.status,
            "problem": one.readiness.problem if one.readiness else "",
            "log": tails.get(one.server.id),
        }
        for one in waited.standings
    ]
    return json.dumps({"enough": waited.enough, "reason": waited.reason, "ready": waited.ready, "servers": servers})
