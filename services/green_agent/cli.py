"""`green-agent`: serve the evaluator, or print a plan. Heavy imports stay inside the commands, so --help is quick."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.contract.a2a.options import server_options
from services.contract.a2a.settings import ServerSettings

if TYPE_CHECKING:
    from services.contract.a2a.urls import UrlPolicy

GREEN_PORT = 9009


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """The evaluator. Exit codes: 0 stopped in order, 1 failed, 2 wrong usage or configuration."""


@main.command()
@server_options(port=GREEN_PORT)
@click.option("--eval-config", envvar="EVAL_CONFIG", default="offline", help="Suite: a YAML file, or a bundled name.")
@click.option("--max-concurrency", type=click.IntRange(1, 1000), default=16, help="Trials in flight per assessment.")
@click.option("--max-assessments", type=click.IntRange(1), default=4, help="Assessments at once.")
@click.option("--max-scoring", type=click.IntRange(1), default=8, help="Scorers in flight per assessment.")
@click.option(
    "--participant-urls",
    default="any",
    help="Addresses that requests may name: any, public, or host[:port],... with * for anything.",
)
@click.option(
    "--sandbox",
    "backend",
    type=click.Choice(["auto", "bwrap-warm", "bwrap-cold", "container", "unsafe-subprocess"]),
    default="auto",
    help="How untrusted programs are isolated; auto takes the first that proves itself.",
)
@click.option("--sandbox-url", envvar="ASSAY_SANDBOX_URL", help="Sandbox service: unix:///path or http://host:port.")
@click.option("--sandbox-workers", type=click.IntRange(1), default=2, help="Programs at once.")
@click.option("--allow-unsafe-sandbox", is_flag=True, help="Accept a plain subprocess; results say so.")
@click.option("--store-predicted/--no-store-predicted", default=True, help="Show answers in the artifact's rows.")
@click.option("--truncate-predicted/--no-truncate-predicted", default=True, help="Cut long answers visibly.")
@click.option("--predicted-max-chars", type=click.IntRange(0), default=200, help="Where answers are cut.")
@click.option("-v", "--verbose", "--debug", is_flag=True, help="Log details.")
def serve(
    *,
    settings: ServerSettings,
    eval_config: str,
    max_concurrency: int,
    max_assessments: int,
    max_scoring: int,
    participant_urls: str,
    backend: str,
    sandbox_url: str | None,
    sandbox_workers: int,
    allow_unsafe_sandbox: bool,
    store_predicted: bool,
    truncate_predicted: bool,
    predicted_max_chars: int,
    verbose: bool,
) -> None:
    """Serve over A2A until stopped."""
    from services.contract.printing import Printed  # noqa: PLC0415
    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.green_agent.assessment import Limits  # noqa: PLC0415
    from services.green_agent.executor import GreenSettings  # noqa: PLC0415
    from services.green_agent.server import run  # noqa: PLC0415
    from services.green_agent.toolbox import SandboxSettings  # noqa: PLC0415

    configure("green", verbose=verbose)
    green = GreenSettings(
        suite_path=_checked_suite(eval_config),
        limits=Limits(max_concurrency=max_concurrency, max_scoring=max_scoring),
        max_assessments=max_assessments,
        participant_urls=_url_policy(participant_urls),
        printed=Printed(answers=store_predicted, truncate=truncate_predicted, max_chars=predicted_max_chars),
    )
    sandbox = SandboxSettings(
        backend=backend, workers=sandbox_workers, allow_unsafe=allow_unsafe_sandbox, url=sandbox_url
    )
    sys.exit(run(green, sandbox, settings))


@main.command()
@click.option("--eval-config", envvar="EVAL_CONFIG", default="offline", help="Suite: a YAML file, or a bundled name.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan as JSON.")
def tasks(eval_config: str, *, as_json: bool) -> None:
    """Print what a suite would ask: tasks per stratum and the plan's digest. Runs nothing."""
    from services.contract.assessment import AssessmentConfig, RequestError  # noqa: PLC0415
    from services.green_agent.benchmarks.base import DatasetError  # noqa: PLC0415
    from services.green_agent.preparation import prepare  # noqa: PLC0415
    from services.green_agent.suite import load_suite  # noqa: PLC0415

    try:
        plan = prepare(AssessmentConfig(), load_suite(_checked_suite(eval_config)), sandbox_fault=None).plan
    except (RequestError, DatasetError) as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(plan.model_dump_json(indent=2))
        return
    counts: dict[str, int] = {}
    for trial in plan.trials:
        name = f"{trial.benchmark} / {trial.stratum}"
        counts[name] = counts.get(name, 0) + 1
    for name, count in sorted(counts.items()):
        click.echo(f"{count:5d}  {name}")
    click.echo(f"{len(plan.trials):5d}  trials of {plan.num_tasks} tasks, suite {plan.suite}, plan {plan.digest}")


def _url_policy(text: str) -> UrlPolicy:
    from services.contract.a2a.urls import UrlPolicy  # noqa: PLC0415

    try:
        return UrlPolicy.parse(text)
    except ValueError as error:
        raise click.UsageError(f"--participant-urls: {error}") from None


def _checked_suite(name: str) -> Path:
    """The suite's file, validated before the port opens."""
    from services.green_agent.suite import SuiteError, find_suite, load_suite  # noqa: PLC0415

    try:
        path = find_suite(name)
        load_suite(path)
    except SuiteError as error:
        raise click.UsageError(str(error)) from None
    return path
