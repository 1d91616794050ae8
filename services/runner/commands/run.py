"""`assay run`: a scenario, from its file or from addresses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from services.runner.command_line import call, doctor_option, ending, finish, options_of, shared_options
from services.runner.failures import EXIT_CODES_HELP, ExitCode

if TYPE_CHECKING:
    from services.contract.assessment import Plan
    from services.runner.fitness import Doctor
    from services.runner.scenario import Scenario


@click.command(epilog=EXIT_CODES_HELP)
@click.argument("scenario", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.argument("out", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--green-url", metavar="URL", help="Instead of a scenario: a green agent that is running.")
@click.option("--purple-url", metavar="URL", help="Instead of a scenario: the agent under test, running.")
@click.option("--num-tasks", type=int, metavar="N", help="Tasks over all data sets.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Wait so long for the run; what is missing then can be resumed.",
)
@click.option("--conduct-debate", is_flag=True, default=None, help="Ask one follow-up a task, for the record.")
@click.option("--model-id", metavar="NAME", help="Label of the examined model, for the record.")
@click.option("--shard", metavar="I/N", help="Run shard I (from 0) of N.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Same as OUT.")
@click.option("--env-file", type=click.Path(path_type=Path, dir_okay=False), help="Variables; default .env beside it.")
@click.option("--start-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For each card.")
@click.option("--show-logs", is_flag=True, help="Print what the agents write.")
@click.option("--serve-only", is_flag=True, help="Start the agents and keep them until Ctrl-C.")
@click.option("--dry-run", is_flag=True, help="Ask green for the plan only.")
@click.option("-v", "--verbose", is_flag=True, help="Log details.")
@doctor_option
@shared_options
def command(
    *,
    scenario: Path | None,
    out: Path | None,
    green_url: str | None,
    purple_url: str | None,
    shard: str | None,
    output: Path | None,
    env_file: Path | None,
    start_timeout: float | None,
    timeout_s: float | None,
    show_logs: bool,
    serve_only: bool,
    dry_run: bool,
    verbose: bool,
    doctor: Doctor,
    results_dir: Path,
    as_json: bool,
    **asked: Any,
) -> NoReturn:
    """Run SCENARIO, a TOML file, and write results.json to OUT too.

    Without SCENARIO, --green-url and --purple-url name agents that are running. Options beat the scenario's [config].
    """
    from services.runner import run as runs  # noqa: PLC0415

    if out is not None and output is not None and out != output:
        raise click.UsageError("OUT and -o name different files: give one")
    _refuse_idle_options(
        serve_only=serve_only,
        dry_run=dry_run,
        as_json=as_json,
        timeout_s=timeout_s,
        out=out or output,
        no_doctor=bool(doctor.refused),
    )
    values = {
        "num_tasks": asked["num_tasks"],
        "conduct_debate": asked["conduct_debate"],
        "model_id": asked["model_id"],
        **_shard(shard),
    }
    options = options_of(
        results_dir,
        as_json=as_json,
        show_logs=show_logs,
        verbose=verbose,
        env_file=env_file,
        start_timeout_s=start_timeout,
        timeout_s=timeout_s,
        copy_to=out or output,
        doctor=doctor,
    )
    with ending():
        chosen = _scenario(scenario, green_url, purple_url).with_config(
            **{key: value for key, value in values.items() if value is not None}
        )
    if serve_only:
        call(lambda: runs.serve_only(chosen, options))
    if dry_run:
        _print_plan(call(lambda: runs.dry_run(chosen, options)), as_json=as_json)
        sys.exit(ExitCode.COMPLETE)
    finish(call(lambda: runs.run_scenario(chosen, options)), as_json=as_json)


def _scenario(path: Path | None, green_url: str | None, purple_url: str | None) -> Scenario:
    from services.runner.scenario import parse_scenario, read_scenario  # noqa: PLC0415

    urls = [url for url in (green_url, purple_url) if url is not None]
    if path is not None and urls:
        raise click.UsageError("give a scenario or --green-url and --purple-url, not both")
    if path is not None:
        return read_scenario(path)
    if len(urls) != 2:
        raise click.UsageError("give a scenario file, or both --green-url and --purple-url")
    table = {"green_agent": {"endpoint": green_url}, "participants": [{"role": "purple", "endpoint": purple_url}]}
    return parse_scenario(table, name="urls")


def _refuse_idle_options(
    *,
    serve_only: bool,
    dry_run: bool,
    as_json: bool,
    timeout_s: float | None,
    out: Path | None,
    no_doctor: bool,
) -> None:
    """An option without an effect is a mistake."""
    if not (serve_only or dry_run):
        return
    idle = {"--dry-run": serve_only and dry_run, "--json": serve_only and as_json}
    idle |= {"--timeout": timeout_s is not None, "OUT or -o": out is not None, "--no-doctor": no_doctor}
    if names := [name for name, given in idle.items() if given]:
        mode = "--serve-only" if serve_only else "--dry-run"
        raise click.UsageError(f"{', '.join(names)} would have no effect with {mode}")


def _shard(text: str | None) -> dict[str, int]:
    if text is None:
        return {}
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise click.UsageError(f"--shard takes I/N with I from 0 to N-1, got {text!r}")
    return {"shard_index": int(index), "num_shards": int(count)}


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        click.echo(plan.model_dump_json(indent=1))
        return
    click.echo(f"plan {plan.digest}: {len(plan.trials)} trials of {plan.num_tasks} tasks, seed {plan.seed}")
    for benchmark in plan.benchmarks:
        click.echo(f"  {benchmark.name}: {benchmark.tasks} tasks, scorer {benchmark.scorer}")
    for shortfall in plan.shortfalls:
        click.echo(f"  short: {shortfall.reason}")
