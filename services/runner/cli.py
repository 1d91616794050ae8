"""The command `assay`: runs scenarios, resumes them, shows results. Other services' commands are found as entry points.

Heavy imports stay inside the commands, so that `--help` is quick.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from services.runner import cli_results
from services.runner.command_line import call, doctor_option, ending, finish, options_of, shared_options
from services.runner.evaluate.command import evaluate
from services.runner.failures import EXIT_CODES_HELP, ExitCode

if TYPE_CHECKING:
    from services.contract.assessment import Plan
    from services.runner.fitness import Doctor
    from services.runner.scenario import Scenario

COMMANDS_GROUP: Final = "assay.commands"


class Commands(click.Group):
    """Our commands, and one group for each other service that is installed, loaded only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours first, then the services'."""
        return [*super().list_commands(ctx), *sorted(_services())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a service's command when it is asked for."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in _services():
            return own
        return _loaded(_services()[cmd_name])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Help must not import the services."""
        own = [(name, self.commands[name].get_short_help_str(90)) for name in sorted(self.commands)]
        with formatter.section("Commands"):
            formatter.write_dl(own)
        if services := sorted(_services()):
            with formatter.section("Services"):
                formatter.write_dl([(name, f"Same as the command of the {name} service.") for name in services])


def _services() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}


def _loaded(entry: EntryPoint) -> click.Command:
    try:
        command = entry.load()
    except ImportError as error:
        raise click.ClickException(
            f"`assay {entry.name}` needs the extra of that service: pip install 'assay[{entry.name}]' ({error})"
        ) from None
    if not isinstance(command, click.Command):
        raise click.ClickException(f"{entry.value} is no command")
    return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES_HELP)
@click.version_option(package_name="assay", prog_name="assay")
def main() -> None:
    """Weigh AI agents: run assessments over A2A, keep every trial, and say what the numbers mean."""


@main.command(epilog=EXIT_CODES_HELP)
@click.option("--show-logs", is_flag=True, help="Print what the agents write.")
@doctor_option
@shared_options
def demo(*, show_logs: bool, doctor: Doctor, results_dir: Path, as_json: bool) -> NoReturn:
    """Run a small assessment here, with an engine that needs no model: under a minute, no network.

    Starts the reference engine, the purple and the green agent on free ports, and writes a report.
    """
    from services.runner.demo import demo_scenario  # noqa: PLC0415
    from services.runner.run import run_scenario  # noqa: PLC0415

    options = options_of(results_dir, as_json=as_json, show_logs=show_logs, doctor=doctor)
    finish(call(lambda: run_scenario(demo_scenario(), options)), as_json=as_json)


@main.command(epilog=EXIT_CODES_HELP)
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
def run(
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


@main.command(epilog=EXIT_CODES_HELP)
@click.argument("reference", metavar="RUN")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write results.json there too.")
@click.option("--env-file", type=click.Path(path_type=Path, dir_okay=False), help="Variables of the agents.")
@click.option("--start-timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="For each card.")
@click.option("--show-logs", is_flag=True, help="Print what the agents write.")
@click.option("-v", "--verbose", is_flag=True, help="Log details.")
@doctor_option
@shared_options
def resume(
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


@main.command(epilog=EXIT_CODES_HELP)
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
def rescore(
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


@main.command()
@click.option("--only", multiple=True, metavar="EXPLOIT", help="Only this exploit, by its name; may be repeated.")
@click.option("--suite", "suites", multiple=True, metavar="NAME", help="Suites of green; default: all made for this.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write the table there too.")
@shared_options
def audit(
    *, only: tuple[str, ...], suites: tuple[str, ...], markdown: Path | None, results_dir: Path, as_json: bool
) -> NoReturn:
    """Play every known exploit against every benchmark and print score against limit.

    Exit code 1 when an exploit is over its limit.
    """
    from services.runner.audit import command  # noqa: PLC0415

    with ending():
        chosen = command.chosen(only)
    options = options_of(results_dir, as_json=as_json, show_logs=False)
    found = call(lambda: command.play(chosen, options, suites))
    with ending():
        exit_code = command.conclude(found, as_json=as_json, markdown=markdown)
    sys.exit(exit_code)


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


for _command in (evaluate, cli_results.report, cli_results.results, cli_results.export):
    main.add_command(_command)
