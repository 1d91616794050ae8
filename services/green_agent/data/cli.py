"""`assay data`: which data sets there are, bring them here, prove that they are whole. Imports stay inside the commands."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """Data sets of benchmarks. Exit codes: 0 done, 1 absent, broken or not to be had, 2 wrong usage."""


@main.command("list")
@click.option("--from", "mirror", type=FOLDER, envvar="ASSAY_DATA_FROM", help="Mirror: a folder with copies.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_(*, mirror: Path | None, as_json: bool) -> None:
    """Print name, rows, licence, source and where each data set is: mirror, package, cache or absent."""
    import json  # noqa: PLC0415

    from services.green_agent.data.copies import listing  # noqa: PLC0415

    with _told():
        found = listing(mirror)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=2))
        return
    for one in found:
        rows = "rows vary" if one.rows is None else f"{one.rows} rows"
        click.echo(f"{one.name:24s} {one.where:26s} {rows:10s} {one.title}")
        click.echo(f"{'':24s} {one.source}; licence: {one.licence}")


@main.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--from", "folder", type=FOLDER, help="Copy from this folder instead of downloading: a mirror, or the files."
)
@click.option("--revision", help="Commit or branch instead of the registered one.")
@click.option("--update", is_flag=True, help="Resolve a branch again instead of holding the commit of the first pull.")
def pull(*, names: tuple[str, ...], folder: Path | None, revision: str | None, update: bool) -> None:
    """Bring data sets into the cache ($ASSAY_CACHE, else the user's cache folder), checked against their digests."""
    from services.green_agent.data import copies  # noqa: PLC0415

    for name in names:
        with _told():
            done = copies.pull(name, folder=folder, revision=revision, update=update)
        size = f"{done.bytes / 1e6:.1f} MB"
        click.echo(f"{name}: {done.files} files, {size}, {done.fetched} of them new, revision {done.revision}")


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--from", "mirror", type=FOLDER, envvar="ASSAY_DATA_FROM", help="Mirror: a folder with copies.")
def verify(*, names: tuple[str, ...], mirror: Path | None) -> None:
    """Check the digests of every copy that is here; a data set that is named must be here."""
    from services.green_agent.data import copies  # noqa: PLC0415
    from services.green_agent.data.registry import sources  # noqa: PLC0415

    failed = False
    for name in names or tuple(sources()):
        with _told():
            found = copies.check(name, mirror)
        if not found and names:
            failed = True
            click.echo(f"{name}: absent; {sources()[name].remedy}", err=True)
        for one in found:
            unknown = f", {one.unknown} without a known digest" if one.unknown else ""
            click.echo(f"{name} ({one.where}): {one.files} files, {len(one.faults)} faults{unknown}")
            failed = failed or bool(one.faults)
            for fault in one.faults:
                click.echo(f"  {fault}", err=True)
    if failed:
        raise SystemExit(1)


@contextmanager
def _told() -> Iterator[None]:
    """A fault of the data is one line and exit code 1."""
    from services.green_agent.data.errors import DataError  # noqa: PLC0415

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        yield
    except DataError as error:
        raise click.ClickException(str(error)) from None
