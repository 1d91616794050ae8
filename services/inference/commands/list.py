"""`inference list`: the servers of the registry as they are now."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.inference.commands.options import json_option, registry_option

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from services.inference.servers.inventory import GpuUse, Row


@click.command()
@registry_option
@click.option("--gpus", "with_gpus", is_flag=True, help="Also memory of this machine's GPUs, and who uses it.")
@click.option(
    "--prune",
    type=click.IntRange(0),
    metavar="DAYS",
    help="First remove servers that ended before so many days, and logs.",
)
@json_option
def command(*, registry: Path, with_gpus: bool, prune: int | None, as_json: bool) -> None:
    """Show the servers: the registry's lines, corrected by what has become of them."""
    import asyncio  # noqa: PLC0415 - keeps --help fast
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.inference.machine.gpus import NoGpusError  # noqa: PLC0415
    from services.inference.servers.inventory import gpu_use, pruned, rows  # noqa: PLC0415
    from services.inference.servers.registry import Registry  # noqa: PLC0415
    from services.inference.servers.survey import survey  # noqa: PLC0415

    configure("inference")
    now, book = datetime.now(UTC), Registry(registry)
    found = asyncio.run(survey(book))
    removed: Sequence[str] = ()
    if prune is not None:
        removed = pruned(book, found.servers, before=now - timedelta(days=prune))
        found = asyncio.run(survey(book))
    for notice in found.notices:
        click.echo(notice, err=True)
    uses: Sequence[GpuUse] | None = None
    if with_gpus:
        try:
            uses = gpu_use(found.servers)
        except NoGpusError as error:
            click.echo(f"no GPU is shown: {error}", err=True)
    listed = rows(found.servers)
    click.echo(_as_json(listed, uses, removed) if as_json else _as_text(listed, uses, removed, registry, now))


def _as_text(
    listed: Sequence[Row], uses: Sequence[GpuUse] | None, removed: Sequence[str], registry: Path, now: datetime
) -> str:
    from services.inference.commands.tables import age, table  # noqa: PLC0415 - keeps --help fast

    parts = [f"removed {len(removed)}: {', '.join(removed)}"] if removed else []
    headers = ("ID", "ENGINE", "VERSION", "MODEL", "URL", "STATE", "AGE", "GPUS")
    cells = [
        (row.id, row.engine, row.version, row.model, row.url, row.words, age(row.started, now), ",".join(row.gpus))
        for row in listed
    ]
    parts.append(table(headers, cells) if listed else f"{registry} lists no server")
    if uses is not None:
        shown = [
            (str(use.index), use.name, f"{use.used_gib:.1f} of {use.total_gib:.1f} GiB", use.words) for use in uses
        ]
        parts.append(table(("GPU", "NAME", "MEMORY", "USED BY"), shown))
    return "\n\n".join(parts)


def _as_json(listed: Sequence[Row], uses: Sequence[GpuUse] | None, removed: Sequence[str]) -> str:
    from dataclasses import asdict  # noqa: PLC0415 - keeps --help fast

    whole = {"servers": [asdict(row) for row in listed], "removed": list(removed)}
    if uses is not None:
        whole["gpus"] = [asdict(use) for use in uses]
    return json.dumps(whole, default=str)
