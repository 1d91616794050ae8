"""`assay demo`: a small assessment without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from services.runner.command_line import call, doctor_option, finish, options_of, shared_options
from services.runner.failures import EXIT_CODES_HELP

if TYPE_CHECKING:
    from services.runner.fitness import Doctor


@click.command(epilog=EXIT_CODES_HELP)
@click.option("--show-logs", is_flag=True, help="Print what the agents write.")
@doctor_option
@shared_options
def command(*, show_logs: bool, doctor: Doctor, results_dir: Path, as_json: bool) -> NoReturn:
    """Run a small assessment here, with an engine that needs no model: under a minute, no network.

    Starts the reference engine, the purple and the green agent on free ports, and writes a report.
    """
    from services.runner.demo import demo_scenario  # noqa: PLC0415
    from services.runner.run import run_scenario  # noqa: PLC0415

    options = options_of(results_dir, as_json=as_json, show_logs=show_logs, doctor=doctor)
    finish(call(lambda: run_scenario(demo_scenario(), options)), as_json=as_json)
