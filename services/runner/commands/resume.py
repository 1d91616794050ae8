"""`assay resume`: what a run still lacks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from services.runner.command_line import call, doctor_option, finish, options_of, shared_options
from services.runner.failures import EXIT_CODES_HELP

if TYPE_CHECKING:
    from services.runner.fitness import Doctor


@click.command(epilog=EXIT_CODES_HELP)
@click.argument("reference", metavar="RUN")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write results.json there too.")
@click.option("--env-file", type=click.Path(path_type=Path, dir_okay=False), help="Variables of the agents.")
@click.option("--start-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For each card.")
@click.option("--show-logs", is_flag=True, help="Print what the agents write.")
@click.option("-v", "--verbose", is_flag=True, help="Log details.")
@doctor_option
@shared_options
def command(
    *,
    reference: str,
    output: Path | None,
    env_file: Path | None,
    start_timeout: float | None,
    show_logs: bool,
    verbose: bool,
    doctor: Doctor,
    results_dir: Path,
    as_json: bool,
) -> NoReturn:
    """Run what RUN still lacks: an id, a unique beginning of one, or `latest`.

    Starts the stored scenario's agents again. Refuses when green now plans something else.
    """
    from services.runner.run import resume_run  # noqa: PLC0415

    options = options_of(
        results_dir,
        as_json=as_json,
        show_logs=show_logs,
        verbose=verbose,
        env_file=env_file,
        start_timeout_s=start_timeout,
        copy_to=output,
        doctor=doctor,
    )
    finish(call(lambda: resume_run(reference, options)), as_json=as_json)
