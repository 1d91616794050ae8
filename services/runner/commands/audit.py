"""`assay audit`: every known exploit against every benchmark."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import click

from services.runner.command_line import call, ending, options_of, shared_options


@click.command()
@click.option("--only", multiple=True, metavar="EXPLOIT", help="Only this exploit, by its name; may be repeated.")
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="Suites of green; default: all made for this.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the table there too.")
@shared_options
def command(
    *, only: tuple[str, ...], suites: tuple[str, ...], markdown: Path | None, results_dir: Path, as_json: bool
) -> NoReturn:
    """Play every known exploit against every benchmark and print score against limit.

    Exit code 1 when an exploit is over its limit.
    """
    from services.runner.audit import steps  # noqa: PLC0415

    with ending():
        chosen = steps.chosen(only)
    options = options_of(results_dir, as_json=as_json, show_logs=False)
    found = call(lambda: steps.play(chosen, options, suites))
    with ending():
        exit_code = steps.conclude(found, as_json=as_json, markdown=markdown)
    sys.exit(exit_code)
