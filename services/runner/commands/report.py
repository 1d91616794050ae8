"""`assay report`: the report of a run, written again."""

from __future__ import annotations

from pathlib import Path

import click

from services.runner.command_line import ending, journal_in, print_report, shared_options
from services.runner.failures import EXIT_CODES_HELP


@click.command(epilog=EXIT_CODES_HELP)
@click.argument("reference", metavar="[RUN]", default="latest")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write results.json there too.")
@shared_options
def command(*, reference: str, output: Path | None, results_dir: Path, as_json: bool) -> None:
    """Write the report of RUN again from the journal, and print its table."""
    from services.runner.report import write_report  # noqa: PLC0415

    with ending(), journal_in(results_dir) as journal:
        run_id = journal.run(reference).id
        print_report(write_report(journal, run_id, results_dir / run_id, copy_to=output), as_json=as_json)
