"""`assay run`: a scenario, from its file or from addresses; one purple, or several on one plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from services.runner.command_line import (
    call,
    doctor_option,
    ending,
    finish,
    finish_several,
    options_of,
    print_json,
    shared_options,
)
from services.runner.commands.scenario_options import (
    env_file_option,
    read_asked,
    reading_options,
    resolving_options,
)
from services.runner.failures import EXIT_CODES_HELP, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from services.contract.assessment import Plan
    from services.runner.fitness import Doctor
    from services.runner.run import RunOptions
    from services.runner.scenario import Scenario

    F = TypeVar("F", bound=Callable[..., Any])

_FILE: Any = click.Path(path_type=Path, dir_okay=False)
_SECONDS: Any = click.FloatRange(min=0, min_open=True)


def _agent_options(command: F) -> F:
    """Who is examined, when no file says so, or others than the file says."""
    options = (
        click.option("--green-url", metavar="URL", help="Instead of a scenario: a green agent that is running."),
        click.option("--purple-url", metavar="URL", help="Instead of a scenario: the agent under test, running."),
        click.option(
            "--purple",
            "purples",
            multiple=True,
            metavar="[NAME=]IMAGE|COMMAND|URL",
            help="Examine this agent, in the place of the scenario's; repeated: several on one plan. Without a scenario"
            " our own green examines it, or the one at --green-url. A command gets its port in the place of {port}, else"
            " as --host and --port. One word is a command if such a program is here, else an image.",
        ),
        click.option(
            "--purple-env",
            "settings",
            multiple=True,
            metavar="[NAME:]KEY[=VALUE]",
            help="A variable for the agents of --purple, or for one; without VALUE ours. A command then inherits no other.",
        ),
        click.option(
            "--parallel-purples",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            metavar="N",
            help="How many of several purples are examined at once.",
        ),
        click.option("--isolate", is_flag=True, help="Containers: purple reaches green and its model, nothing else."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _config_options(command: F) -> F:
    """Keys of `config`, which beat those of the file."""
    options = (
        click.option("--num-tasks", type=int, metavar="N", help="Tasks over all data sets."),
        click.option("--conduct-debate", is_flag=True, default=None, help="Ask one follow-up a task, for the record."),
        click.option("--model-id", metavar="NAME", help="Label of the examined model, for the record."),
        click.option("--shard", metavar="I/N", help="Run shard I (from 0) of N."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command(epilog=EXIT_CODES_HELP)
@click.argument("scenario", required=False, type=_FILE)
@click.argument("out", required=False, type=_FILE)
@_agent_options
@_config_options
@click.option(
    "--timeout", "timeout_s", type=_SECONDS, metavar="SECONDS", help="Wait so long for a run; the rest can be resumed."
)
@click.option("-o", "--output", type=_FILE, help="Same as OUT.")
@env_file_option
@reading_options
@resolving_options
@click.option("--start-timeout", "start_timeout_s", type=_SECONDS, metavar="SECONDS", help="For each card.")
@click.option("--show-logs", is_flag=True, help="Print what the agents write.")
@click.option("--serve-only", is_flag=True, help="Start the agents and keep them until Ctrl-C.")
@click.option("--dry-run", is_flag=True, help="Ask green for the plan only.")
@click.option("-v", "--verbose", is_flag=True, help="Log details.")
@doctor_option
@shared_options
def command(
    *,
    out: Path | None,
    output: Path | None,
    env_file: Path | None,
    start_timeout_s: float | None,
    timeout_s: float | None,
    show_logs: bool,
    serve_only: bool,
    dry_run: bool,
    verbose: bool,
    isolate: bool,
    parallel_purples: int,
    doctor: Doctor,
    results_dir: Path,
    as_json: bool,
    **asked: Any,
) -> NoReturn:
    """Run SCENARIO, a TOML file, and write results.json to OUT too.

    Without SCENARIO, --green-url and --purple-url, or --purple, name the agents. Options beat the scenario's [config].
    Several purples are several runs on one plan, compared at the end; OUT then gets each one's name: results-NAME.json.
    """
    if out is not None and output is not None and out != output:
        raise click.UsageError("OUT and -o name different files: give one")
    copy_to = out or output
    idle = {"--timeout": timeout_s is not None, "OUT or -o": copy_to is not None, "--no-doctor": bool(doctor.refused)}
    _refuse_idle_options(serve_only=serve_only, dry_run=dry_run, as_json=as_json, idle=idle)
    options = options_of(
        results_dir,
        as_json=as_json,
        show_logs=show_logs,
        verbose=verbose,
        env_file=env_file,
        start_timeout_s=start_timeout_s,
        timeout_s=timeout_s,
        copy_to=copy_to,
        isolate=isolate,
        doctor=doctor,
    )
    chosen = _chosen(asked)
    if parallel_purples > 1 and (len(chosen.purples) == 1 or serve_only or dry_run):
        raise click.UsageError("--parallel-purples has no effect here: it is for runs of several purples")
    if serve_only:
        _serve(chosen, options)
    if dry_run:
        _print_plans(chosen, options, as_json=as_json)
    _run(chosen, options, at_once=parallel_purples, as_json=as_json)


def _run(chosen: Scenario, options: RunOptions, *, at_once: int, as_json: bool) -> NoReturn:
    from services.runner.purples.swapping import run_each  # noqa: PLC0415
    from services.runner.run import run_scenario  # noqa: PLC0415

    if len(chosen.purples) == 1:
        finish(call(lambda: run_scenario(chosen, options)), as_json=as_json)
    finish_several(call(lambda: run_each(chosen, options, at_once=at_once)), options.results_dir, as_json=as_json)


def _serve(chosen: Scenario, options: RunOptions) -> NoReturn:
    from services.runner.run import serve_only  # noqa: PLC0415

    call(lambda: serve_only(chosen, options))
    raise AssertionError("unreachable")


def _chosen(asked: dict[str, Any]) -> Scenario:
    """The scenario as file and options say it, with the images of its ids. Ends the process when something is wrong."""
    from services.runner.scenario.images import ImageSource, with_images  # noqa: PLC0415

    values = {name: asked[name] for name in ("num_tasks", "conduct_debate", "model_id")} | _shard(asked["shard"])
    with ending():
        scenario = _scenario(asked).with_config(**{key: value for key, value in values.items() if value is not None})
        source = ImageSource.of(asked["resolve"], offline=asked["offline"])
    return call(lambda: with_images(scenario, source))


def _scenario(asked: dict[str, Any]) -> Scenario:
    from services.runner.purples.reading import bundled_green, with_purples  # noqa: PLC0415
    from services.runner.scenario import Scenario, parse_scenario  # noqa: PLC0415

    path, green_url, purple_url = asked["scenario"], asked["green_url"], asked["purple_url"]
    purples, settings = asked["purples"], asked["settings"]
    _refuse_contradictions(asked)
    if path is not None:
        read = read_asked(path, any_config=asked["any_config"], allow_image=asked["allow_image"])
        return with_purples(read, purples, settings) if purples else read
    if purples:
        return with_purples(
            Scenario(name="purples", green=bundled_green(green_url), participants=()), purples, settings
        )
    table = {"green_agent": {"endpoint": green_url}, "participants": [{"role": "purple", "endpoint": purple_url}]}
    return parse_scenario(table, name="urls", any_config=asked["any_config"])


def _refuse_contradictions(asked: dict[str, Any]) -> None:
    given = {name for name in ("scenario", "green_url", "purple_url", "purples") if asked[name]}
    if "scenario" in given and given & {"green_url", "purple_url"}:
        raise click.UsageError("give a scenario or --green-url and --purple-url, not both")
    if {"purples", "purple_url"} <= given:
        raise click.UsageError("give --purple or --purple-url, not both: a URL is one of the things --purple takes")
    if not given & {"scenario", "purples"} and not {"green_url", "purple_url"} <= given:
        raise click.UsageError("give a scenario file, or --purple, or both --green-url and --purple-url")
    if asked["settings"] and "purples" not in given:
        raise click.UsageError("--purple-env is for the agents of --purple; others have an env table in the scenario")


def _refuse_idle_options(*, serve_only: bool, dry_run: bool, as_json: bool, idle: dict[str, bool]) -> None:
    """An option without an effect is a mistake."""
    if not (serve_only or dry_run):
        return
    found = {"--dry-run": serve_only and dry_run, "--json": serve_only and as_json} | idle
    if names := [name for name, given in found.items() if given]:
        mode = "--serve-only" if serve_only else "--dry-run"
        raise click.UsageError(f"{', '.join(names)} would have no effect with {mode}")


def _shard(text: str | None) -> dict[str, int]:
    if text is None:
        return {}
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise click.UsageError(f"--shard takes I/N with I from 0 to N-1, got {text!r}")
    return {"shard_index": int(index), "num_shards": int(count)}


def _print_plans(chosen: Scenario, options: RunOptions, *, as_json: bool) -> NoReturn:
    """Each purple is started, and the plan printed once for all that share it."""
    from services.runner.purples.swapping import plan_each  # noqa: PLC0415

    plans = call(lambda: plan_each(chosen, options))
    if as_json and len(plans) == 1:
        click.echo(next(iter(plans.values())).model_dump_json(indent=1))
    elif as_json:
        print_json({role: plan.model_dump(mode="json") for role, plan in plans.items()})
    else:
        _print_readable(plans)
    sys.exit(ExitCode.COMPLETE)


def _print_readable(plans: dict[str, Plan]) -> None:
    by_digest = {plan.digest: plan for plan in plans.values()}
    for digest, plan in by_digest.items():
        click.echo(f"plan {digest}: {len(plan.trials)} trials of {plan.num_tasks} tasks, seed {plan.seed}")
        for benchmark in plan.benchmarks:
            click.echo(f"  {benchmark.name}: {benchmark.tasks} tasks, scorer {benchmark.scorer}")
        for shortfall in plan.shortfalls:
            click.echo(f"  short: {shortfall.reason}")
        if len(plans) > 1:
            click.echo(f"  for {', '.join(role for role, own in plans.items() if own.digest == digest)}")
