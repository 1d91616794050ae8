"""The commands that look at stored runs: `report`, `results`, `export`. Heavy imports stay inside the commands."""

from __future__ import annotations

from pathlib import Path

import click

from services.runner.command_line import (
    ending,
    journal_in,
    print_json,
    print_report,
    results_dir_option,
    shared_options,
)
from services.runner.failures import EXIT_CODES_HELP


@click.command(epilog=EXIT_CODES_HELP)
@click.argument("reference", metavar="[RUN]", default="latest")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write results.json there too.")
@shared_options
def report(*, reference: str, output: Path | None, results_dir: Path, as_json: bool) -> None:
    """Write the report of RUN again from the journal, and print its table."""
    from services.runner.report import write_report  # noqa: PLC0415

    with ending(), journal_in(results_dir) as journal:
        run_id = journal.run(reference).id
        print_report(write_report(journal, run_id, results_dir / run_id, copy_to=output), as_json=as_json)


@click.group()
def results() -> None:
    """Look at stored runs."""


@results.command("list")
@shared_options
def list_results(*, results_dir: Path, as_json: bool) -> None:
    """List the runs, newest first. `stopped` is a run whose runner was killed."""
    from services.runner.journal import RunStatus  # noqa: PLC0415
    from services.runner.locks import is_held  # noqa: PLC0415
    from services.runner.summary import runs_table  # noqa: PLC0415

    with ending(), journal_in(results_dir) as journal:
        runs = [(run, is_held(results_dir / run.id)) for run in journal.runs()]
    shown = [
        (run, "stopped" if run.status is RunStatus.RUNNING and not held else str(run.status)) for run, held in runs
    ]
    if as_json:
        print_json([run.model_dump(mode="json") | {"status": status} for run, status in shown])
    else:
        click.echo(runs_table(shown))


@results.command()
@click.argument("reference", metavar="[RUN]", default="latest")
@shared_options
def show(*, reference: str, results_dir: Path, as_json: bool) -> None:
    """Print the table of RUN."""
    from services.runner.report import read_report  # noqa: PLC0415

    with ending(), journal_in(results_dir) as journal:
        run_id = journal.run(reference).id
        print_report(read_report(journal, run_id, results_dir / run_id), as_json=as_json)


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
def export(*, reference: str, guide: bool, rollouts: bool, output: Path | None, results_dir: Path) -> None:
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


@results.command()
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@shared_options
def compare(*, first: str, second: str, results_dir: Path, as_json: bool) -> None:
    """Print the paired difference of two runs of one plan, task by task, with its interval."""
    from services.runner.comparison import compare, object_of, table_of  # noqa: PLC0415

    with ending(), journal_in(results_dir) as journal:
        runs = (journal.run(first), journal.run(second))
        found = compare(runs[0], journal.rows(runs[0].id), runs[1], journal.rows(runs[1].id))
    names = (runs[0].id, runs[1].id)
    if as_json:
        print_json(object_of(found, names))
    else:
        click.echo(table_of(found, names))


@results.command("read")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def read_file(*, file: Path, as_json: bool) -> None:
    """Read a result FILE of an older format: its stored score, and what its rows are worth when errors count."""
    from services.runner.old_results import read_old_results  # noqa: PLC0415
    from services.runner.summary import old_results_object, old_results_table  # noqa: PLC0415

    with ending():
        found = read_old_results(file)
    if as_json:
        print_json(old_results_object(found))
    else:
        click.echo(old_results_table(found))
