"""`assay rescore`: stored transcripts scored again."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import click

from services.runner.command_line import call, ending, finish, options_of, shared_options
from services.runner.failures import EXIT_CODES_HELP


@click.command(epilog=EXIT_CODES_HELP)
@click.argument("reference", metavar="FILE|RUN")
@click.option("--judge", "model", metavar="MODEL", help="Another judge; the suite's own when absent.")
@click.option("--judge-base", "api_base", metavar="URL", help="Where it is served, on green's machine.")
@click.option("--judge-provider", "provider", type=click.Choice(["openai", "anthropic"]), help="How it is spoken to.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write results.json there too.")
@click.option("--env-file", type=click.Path(path_type=Path, dir_okay=False), help="Variables of green.")
@click.option(
    "--start-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For green's card."
)
@click.option("--show-logs", is_flag=True, help="Print what green writes.")
@shared_options
def command(
    *,
    reference: str,
    output: Path | None,
    env_file: Path | None,
    start_timeout: float | None,
    show_logs: bool,
    results_dir: Path,
    as_json: bool,
    **judge: str | None,
) -> NoReturn:
    """Score the stored transcripts of RUN, or the solutions of a rollout FILE, again without an agent, as a new run.

    For another judge, after a scorer was corrected, or for rollouts made elsewhere.
    """
    from services.runner.rescore import rescore_run, rescore_source  # noqa: PLC0415
    from services.runner.rollouts.rescoring import source_of_file  # noqa: PLC0415

    options = options_of(
        results_dir,
        as_json=as_json,
        show_logs=show_logs,
        env_file=env_file,
        start_timeout_s=start_timeout,
        copy_to=output,
    )
    asked = {name: value for name, value in judge.items() if value is not None}
    if Path(reference).is_file():
        with ending():
            source = source_of_file(Path(reference))
        finish(call(lambda: rescore_source(source, options, judge=asked)), as_json=as_json)
    finish(call(lambda: rescore_run(reference, options, judge=asked)), as_json=as_json)
