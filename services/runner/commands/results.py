"""`assay results`: a look at stored runs."""

from __future__ import annotations

from pathlib import Path

import click

from services.runner.command_line import ending, journal_in, print_json, print_report, shared_options


@click.group()
def command() -> None:
    """Look at stored runs."""


@command.command("list")
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


@command.command()
@click.argument("reference", metavar="[RUN]", default="latest")
@shared_options
def show(*, reference: str, results_dir: Path, as_json: bool) -> None:
    """Print the table of RUN."""
    from services.runner.report import read_report  # noqa: PLC0415

    with ending(), journal_in(results_dir) as journal:
        run_id = journal.run(reference).id
        print_report(read_report(journal, run_id, results_dir / run_id), as_json=as_json)


@command.command("compare")
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@shared_options
def compare_runs(*, first: str, second: str, results_dir: Path, as_json: bool) -> None:
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


@command.command("read")
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
