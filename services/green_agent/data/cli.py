"""`assay data`: which data sets there are, bring them here, prove that they are whole. Imports stay inside the commands."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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
@click.argument("name")
@click.option("--from", "mirror", type=FOLDER, envvar="ASSAY_DATA_FROM", help="Mirror: a folder with copies.")
def path(*, name: str, mirror: Path | None) -> None:
    """Print the folder (of a package: the file) that a data set is read from."""
    from services.green_agent.data.copies import place  # noqa: PLC0415

    with _told():
        click.echo(place(name, mirror))


@main.command()
@click.argument("names", nargs=-1, metavar="[NAME...|all]")
@click.option("--from", "mirror", type=FOLDER, envvar="ASSAY_DATA_FROM", help="Mirror: a folder with copies.")
@click.option(
    "--references",
    "most",
    type=click.IntRange(0),
    default=1000,
    help="Run up to this many reference solutions of a data set, drawn where there are more; 0: none.",
)
@click.option("--sandbox-url", envvar="ASSAY_SANDBOX_URL", help="Sandbox service that runs them.")
def verify(*, names: tuple[str, ...], mirror: Path | None, most: int, sandbox_url: str | None) -> None:
    """Check every copy that is here: digests of files, then rows, prompts and reference solutions as a run would use them.

    A data set that is named must be here; `all`, or no name, checks what is.
    """
    from services.green_agent.data.registry import sources  # noqa: PLC0415

    wanted = () if names == ("all",) else names
    faults = 0
    for name in wanted or tuple(sources()):
        with _told():
            faults += _verified(name, mirror, must_be_here=bool(wanted), most=most, sandbox_url=sandbox_url)
    if faults:
        raise SystemExit(1)


def _verified(name: str, mirror: Path | None, *, must_be_here: bool, most: int, sandbox_url: str | None) -> int:
    """Print what the checks of one data set found; the number of faults."""
    from services.green_agent.data import copies  # noqa: PLC0415
    from services.green_agent.data.registry import sources  # noqa: PLC0415

    found = copies.check(name, mirror)
    if not found and must_be_here:
        click.echo(f"{name}: absent; {sources()[name].remedy}", err=True)
        return 1
    for one in found:
        unknown = f", {one.unknown} without a known digest" if one.unknown else ""
        click.echo(f"{name} ({one.where}): {one.files} files, {len(one.faults)} faults{unknown}")
        _complain(one.faults)
    faults = sum(len(one.faults) for one in found)
    # Files that are not the published ones are refused by every benchmark; loading them would say the same again.
    return faults if faults or not found else _self_checked(name, mirror, most=most, sandbox_url=sandbox_url)


def _self_checked(name: str, mirror: Path | None, *, most: int, sandbox_url: str | None) -> int:
    import asyncio  # noqa: PLC0415

    from services.green_agent.data import selfcheck  # noqa: PLC0415

    checked = asyncio.run(selfcheck.check(name, mirror, most=most, sandbox_url=sandbox_url))
    if checked is None:
        return 0
    references = f", {checked.references}" if checked.references else ""
    click.echo(f"{name} (tasks): {checked.tasks} tasks, {len(checked.faults)} faults{references}")
    _complain(checked.faults)
    return len(checked.faults)


def _complain(faults: Iterable[str]) -> None:
    for fault in faults:
        click.echo(f"  {fault}", err=True)


@contextmanager
def _told() -> Iterator[None]:
    """A fault of the data is one line and exit code 1."""
    from services.green_agent.data.errors import DataError  # noqa: PLC0415

    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        yield
    except DataError as error:
        raise click.ClickException(str(error)) from None
