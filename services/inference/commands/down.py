"""`inference down`: stops servers of the registry that were started on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.inference.commands.options import json_option, registry_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.inference.servers.stopping import Stopped
    from services.inference.servers.survey import Known


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="Every local server and container of the registry.")
@click.option(
    "--timeout",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds a server has to end by itself; then it is killed.",
)
@registry_option
@json_option
def command(ids: tuple[str, ...], *, everything: bool, timeout: float, registry: Path, as_json: bool) -> None:
    """Stop servers, by their ids in `inference list`.

    A process is signalled only if it is the very one that was started: its number and its start time are compared. What a
    server that died left behind is ended too. An `inference up` that still watches the server stops its others and ends with 1,
    since it was asked to serve them all. SLURM jobs are left to `inference cancel`.
    """
    if bool(ids) == everything:
        raise click.UsageError("name the servers (`inference list`), or pass --all; one of the two")
    import asyncio  # noqa: PLC0415 - keeps --help fast
    import json  # noqa: PLC0415

    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.inference.failures import InferenceError  # noqa: PLC0415

    configure("inference")
    stopped = asyncio.run(_down(ids, timeout_s=timeout, path=registry))
    if as_json:
        click.echo(json.dumps({"ended": stopped.ended, "left": stopped.left}))
    else:
        for name in stopped.ended:
            click.echo(f"stopped {name}")
        if not stopped.ended and not stopped.left:
            click.echo("no server of this registry runs on this machine")
    if stopped.left:
        raise InferenceError(f"still alive: {', '.join(stopped.left)}")


async def _down(ids: tuple[str, ...], *, timeout_s: float, path: Path) -> Stopped:
    from services.inference.failures import UsageError  # noqa: PLC0415 - keeps --help fast
    from services.inference.launchers.registry import launcher_of  # noqa: PLC0415
    from services.inference.servers.registry import Registry  # noqa: PLC0415
    from services.inference.servers.stopping import Stopped, chosen, stop  # noqa: PLC0415
    from services.inference.servers.survey import survey  # noqa: PLC0415

    registry = Registry(path)
    found = (await survey(registry)).servers
    servers = chosen(found, ids, where=str(path))
    jobs = [server for server in servers if launcher_of(server.id) == "slurm"]
    if jobs:
        names = ", ".join(server.id for server in jobs)
        if ids:
            raise UsageError(f"{names}: SLURM jobs are ended by `inference cancel`")
        click.echo(f"inference: left alone: SLURM jobs {names}; `inference cancel` ends them", err=True)
    stopped = await stop(registry, [server for server in servers if server not in jobs], timeout_s=timeout_s)
    ended = await _orphans_ended(found, ids, timeout_s=timeout_s)
    return Stopped(ended=(*stopped.ended, *ended), left=stopped.left)


async def _orphans_ended(found: Sequence[Known], ids: Sequence[str], *, timeout_s: float) -> Sequence[str]:
    """Servers that had ended and left processes behind, which hold GPU memory; `ids` as for `down`."""
    import socket  # noqa: PLC0415 - keeps --help fast

    from services.inference.launchers.local import LocalLauncher  # noqa: PLC0415

    here = [one.id for one in found if one.over and one.line and one.line.hostname == socket.gethostname()]
    launcher = LocalLauncher()
    left = launcher.left_behind([name for name in here if not ids or name in ids])
    return await launcher.stop(left, timeout_s=timeout_s)
