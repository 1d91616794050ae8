"""`inference cancel`: ends servers of the registry, jobs of SLURM included."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.inference.commands.options import json_option, registry_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.inference.servers.survey import Known, Survey


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID...]")
@click.option("--all", "everything", is_flag=True, help="Every server of the registry that this machine can stop.")
@registry_option
@click.option("--timeout", default=30.0, show_default=True, type=click.FloatRange(0), help="Seconds to end in peace.")
@click.option("--force", is_flag=True, help="Do not ask.")
@json_option
def command(
    *, ids: tuple[str, ...], everything: bool, registry: Path, timeout: float, force: bool, as_json: bool
) -> None:
    """End servers and jobs. ID is what `inference list` shows; the number of a job array means all its tasks."""
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.inference.failures import InferenceError, UsageError  # noqa: PLC0415
    from services.inference.servers.registry import Registry  # noqa: PLC0415
    from services.inference.servers.stopping import Stopped, chosen, stop, unasked  # noqa: PLC0415
    from services.inference.servers.survey import survey  # noqa: PLC0415

    configure("inference")
    if bool(ids) == everything:
        raise UsageError("name the servers to end, or pass --all; `inference list` shows their ids")
    book = Registry(registry)
    found = asyncio.run(survey(book))
    servers = chosen(found.servers, ids, where=str(registry))
    _leave_alone(found, servers, everything=everything)
    if servers and not force:
        _ask(servers)
    done = asyncio.run(stop(book, servers, timeout_s=timeout)) if servers else Stopped(ended=(), left=())
    silent = unasked(found.servers) if everything else []
    left = [*done.left, *silent]
    click.echo(json.dumps({"ended": done.ended, "left": left}) if as_json else _said(done.ended, registry))
    if silent:
        raise InferenceError(
            f"SLURM gave no answer about {', '.join(silent)}, so they may run on: try again when it does"
        )
    if done.left:
        raise InferenceError(
            f"still alive after {timeout:g} s: {', '.join(done.left)}; try again with a longer --timeout; SLURM jobs that "
            "`inference up` did not start are never cancelled: `scancel` ends them"
        )


def _leave_alone(found: Survey, servers: Sequence[Known], *, everything: bool) -> None:
    for notice in found.notices:
        click.echo(notice, err=True)
    mine = {server.id for server in servers}
    others = sorted({server.id for server in found.servers if not server.over and server.id not in mine})
    if everything and others:
        click.echo(f"left alone, being somebody else's or another machine's: {', '.join(others)}", err=True)


def _ask(servers: Sequence[Known]) -> None:
    from services.inference.failures import UsageError  # noqa: PLC0415 - keeps --help fast

    listed = "\n".join(f"  {server.id}  {server.model}  {server.url or 'not yet registered'}" for server in servers)
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked here; to end these, pass --force:\n{listed}")
    click.confirm(f"End these?\n{listed}\n", abort=True, err=True)


def _said(ended: Sequence[str], registry: Path) -> str:
    return f"ended {', '.join(ended)}" if ended else f"nothing of {registry} had to be ended"
