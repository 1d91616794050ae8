"""What the commands of `assay` share: their options, their errors and their exit codes."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from services.runner.failures import ExitCode, RunnerError

if TYPE_CHECKING:
    from services.runner.fitness import Doctor
    from services.runner.journal import Journal
    from services.runner.purples.swapping import Swapped
    from services.runner.report import Report
    from services.runner.run import RunOptions, RunOutcome

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


results_dir_option = click.option(
    "--results-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    envvar="ASSAY_RESULTS_DIR",
    show_default=True,
    help="Folder of the journal and the reports.",
)


def shared_options(command: F) -> F:
    """Options of every command that reads or writes results."""
    as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
    return results_dir_option(as_json(command))


def doctor_option(command: F) -> F:
    """`--no-doctor`, as `doctor: Doctor`."""

    def doctor(_context: click.Context, _option: click.Parameter, value: bool) -> Doctor:  # noqa: FBT001 - click's
        from services.runner.fitness import Doctor  # noqa: PLC0415

        return Doctor(refused="--no-doctor" if value else "")

    return click.option(
        "--no-doctor",
        "doctor",
        is_flag=True,
        callback=doctor,
        help="Do not examine the agents' model endpoints before the run.",
    )(command)


@contextmanager
def ending() -> Iterator[None]:
    """A RunnerError inside ends the process with its text and its code."""
    try:
        yield
    except RunnerError as error:
        from services.contract.secrets import redact  # noqa: PLC0415

        click.echo(f"assay: {redact(str(error))}", err=True)
        sys.exit(error.exit_code)


@contextmanager
def journal_in(results_dir: Path) -> Iterator[Journal]:
    """The journal of stored runs. Raises JournalError when there is none."""
    from services.runner.journal import Journal  # noqa: PLC0415

    with closing(Journal.open(results_dir, create=False)) as journal:
        yield journal


def call(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end; Ctrl-C and RunnerError end the process with their code."""
    with ending():
        try:
            return asyncio.run(work())
        except (KeyboardInterrupt, asyncio.CancelledError):
            click.echo("assay: interrupted; the agents are stopped, what was finished is kept", err=True)
            sys.exit(ExitCode.INTERRUPTED)
    raise AssertionError("unreachable")


def options_of(results_dir: Path, *, as_json: bool, show_logs: bool, verbose: bool = False, **more: Any) -> RunOptions:
    """Where results go, who listens, and `more` of RunOptions."""
    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.runner.progress import listener_for  # noqa: PLC0415
    from services.runner.run import RunOptions  # noqa: PLC0415

    configure("runner", verbose=verbose)
    return RunOptions(
        results_dir=results_dir,
        listener=listener_for(quiet=as_json),
        echo=(lambda role, line: click.echo(f"{role} | {line}", err=True)) if show_logs else None,
        **more,
    )


def finish(outcome: RunOutcome, *, as_json: bool) -> NoReturn:
    """Print how a run ended and exit with its code."""
    from services.runner.summary import summary_object  # noqa: PLC0415

    if as_json:
        print_json(summary_object(outcome))
    else:
        _print_table(outcome)
    _explain(outcome)
    sys.exit(outcome.exit_code)


def finish_several(done: Sequence[Swapped], results_dir: Path, *, as_json: bool) -> NoReturn:
    """Print how the runs of several purples ended, each and side by side, and exit with the worst of their codes."""
    from services.contract.secrets import redact  # noqa: PLC0415
    from services.runner.purples.standings import standings, standings_object, standings_table  # noqa: PLC0415
    from services.runner.purples.swapping import worst  # noqa: PLC0415

    with ending():
        found = standings(done, results_dir)
    if as_json:
        print_json(standings_object(found))
    for one in done:
        if not as_json:
            click.echo(f"\n== {one.role}")
        if one.outcome is None:
            click.echo(f"assay: {one.role}: {redact(str(one.error))}", err=True)
            continue
        if not as_json:
            _print_table(one.outcome)
        _explain(one.outcome)
    if not as_json:
        click.echo(f"\n== side by side\n\n{standings_table(found)}")
    sys.exit(worst(done))


def _print_table(outcome: RunOutcome) -> None:
    from services.runner.summary import table_of  # noqa: PLC0415

    if outcome.report is not None:
        click.echo(f"\n{table_of(outcome.report)}\n\nrun     {outcome.run_id}")
        click.echo(f"results {outcome.report.results_json}\nreport  {outcome.report.html}")


def _explain(outcome: RunOutcome) -> None:
    """Why a run is not complete, and what to do."""
    from services.contract.secrets import redact  # noqa: PLC0415

    if outcome.error is not None:
        click.echo(f"assay: {redact(str(outcome.error))}", err=True)
    if outcome.exit_code != 0:
        remedy = f"assay resume {outcome.run_id}" if outcome.report is None else outcome.report.view.run.remedy
        click.echo(f"assay: the run is not complete: what finished is kept; `{remedy}` runs what is missing", err=True)


def print_report(report: Report, *, as_json: bool) -> None:
    """Print a report as its table, or whole as JSON."""
    from services.runner.report.results_file import results_document  # noqa: PLC0415
    from services.runner.summary import table_of  # noqa: PLC0415

    run = report.view.run
    if as_json:
        print_json(results_document(run, report.result))
    else:
        click.echo(f"{table_of(report)}\n\nrun     {run.id}, {run.status}\nreport  {report.html}")


def print_json(value: object) -> None:
    """Print one JSON value."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))
