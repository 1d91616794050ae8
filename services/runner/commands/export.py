"""`assay export`: the result of a run in a form other tools read."""

from __future__ import annotations

from pathlib import Path

import click

from services.runner.command_line import ending, journal_in, results_dir_option
from services.runner.failures import EXIT_CODES_HELP


@click.command(epilog=EXIT_CODES_HELP)
@click.argument("reference", metavar="[RUN]", default="latest")
@click.option("--guide", is_flag=True, help="The short form of the finance guide instead of results.json.")
@click.option(
    "--rollouts", is_flag=True, help="Every solution with its verdict, one file a benchmark, in the results folder."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="The file to write; not with --rollouts."
)
@results_dir_option
def command(*, reference: str, guide: bool, rollouts: bool, output: Path | None, results_dir: Path) -> None:
    """Write the result of RUN in a form other tools read."""
    from services.runner.report import read_report  # noqa: PLC0415
    from services.runner.report.results_file import guide_document, results_document, write_json  # noqa: PLC0415
    from services.runner.rollouts.writing import write_rollouts  # noqa: PLC0415

    if rollouts == (output is not None) or (rollouts and guide):
        raise click.UsageError("give --output FILE, with or without --guide, or --rollouts alone")
    with ending(), journal_in(results_dir) as journal:
        if output is None:
            for path in write_rollouts(results_dir, journal.run(reference).id):
                click.echo(path)
            return
        run = journal.run(reference)
        result = read_report(journal, run.id, results_dir / run.id).result
        write_json(output, guide_document(run, result) if guide else results_document(run, result))
