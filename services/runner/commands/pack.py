"""`assay pack`: a run as a submission to a leaderboard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.runner.command_line import ending, journal_in, print_json, shared_options

if TYPE_CHECKING:
    from services.runner.submissions.packing import Submission

_EXIT_CODES = """\b
Exit codes:
  0    written; an incomplete result is packed too, and says so
  1    no result to pack, or files could not be written
  2    usage, owner or scenario wrong
"""


@click.command(epilog=_EXIT_CODES)
@click.argument("reference", metavar="RUN")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the leaderboard's repository; gets submissions/ and results/.",
)
@click.option("--owner", metavar="NAME", help="GitHub account; default: of the workflow, else of git's configuration.")
@click.option(
    "--scenario",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The scenario to submit, TOML or Amber; default: the one of the run.",
)
@shared_options
def command(
    *, reference: str, output: Path, owner: str | None, scenario: Path | None, results_dir: Path, as_json: bool
) -> None:
    """Write RUN as a submission: its scenario, its provenance and its results. Nothing is pushed.

    RUN is a stored run (an id, its beginning, or `latest`) or a results file, such as a merged one.
    """
    from services.runner.submissions.packing import owner_of  # noqa: PLC0415

    with ending():
        name = owner_of(owner, os.environ)
        packed = _packed(reference, name, scenario, results_dir)
        files = packed.write(output)
    if as_json:
        print_json({"name": files[-1].stem, "files": list(map(str, files)), "complete": packed.complete})
        return
    for file in files:
        click.echo(file)
    if not packed.complete:
        click.echo("assay: the result is incomplete, and says so; leaderboards place it by its lower bound", err=True)


def _packed(reference: str, owner: str, scenario: Path | None, results_dir: Path) -> Submission:
    from services.runner.journal import FILE_NAME  # noqa: PLC0415
    from services.runner.report import read_report  # noqa: PLC0415
    from services.runner.report.results_file import results_document  # noqa: PLC0415
    from services.runner.submissions.packing import pack_file, pack_run  # noqa: PLC0415

    path = Path(reference)
    if path.is_file() and not (results_dir / FILE_NAME).is_file():
        return pack_file(path, None, owner=owner, scenario=scenario)
    with journal_in(results_dir) as journal:
        if path.is_file():
            return pack_file(path, journal, owner=owner, scenario=scenario)
        report = read_report(journal, reference, results_dir)
        run = report.view.run
        return pack_run(run, results_document(run, report.result), owner=owner, scenario=scenario)
