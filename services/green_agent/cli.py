"""`green-agent`: serve the evaluator, or print a plan. Heavy imports stay inside the commands, so --help is quick."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from services.contract.a2a.options import server_options
from services.contract.a2a.settings import ServerSettings

if TYPE_CHECKING:
    from services.contract.a2a.urls import UrlPolicy
    from services.contract.assessment import Plan
    from services.contract.printing import Printed

GREEN_PORT = 9009
DEFAULT_SUITE = "offline"
F = TypeVar("F", bound=Callable[..., None])


def _text_options(name: str, *, max_chars: int, what: str) -> Callable[[F], F]:
    """`--store-X/--no-store-X`, `--truncate-X/--no-truncate-X` and `--X-max-chars`: what printed rows show."""

    def decorate(command: F) -> F:
        options = (
            click.option(
                f"--store-{name}/--no-store-{name}", default=True, help=f"Show {what} in the artifact's rows."
            ),
            click.option(f"--truncate-{name}/--no-truncate-{name}", default=True, help=f"Cut long {what} visibly."),
            click.option(
                f"--{name}-max-chars", type=click.IntRange(0), default=max_chars, help=f"Where {what} are cut."
            ),
        )
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """The evaluator. Exit codes: 0 stopped in order, 1 failed, 2 wrong usage or configuration."""


@main.command()
@server_options(port=GREEN_PORT)
@click.option(
    "--eval-config",
    envvar="EVAL_CONFIG",
    help=f"Suite: a YAML file, or a bundled name.  [default: {DEFAULT_SUITE}; requests may then name any data set]",
)
@click.option(
    "--eval-llm/--no-eval-llm", default=None, help="Judge by a model, or not at all; default: as the suite says."
)
@click.option("--eval-llm-model", help="The judge's model.")
@click.option("--eval-llm-temperature", type=click.FloatRange(0, 2), help="The judge's temperature.")
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
@_text_options("predicted", max_chars=200, what="answers")
@_text_options("question", max_chars=200, what="questions")
@_text_options("expected", max_chars=100, what="keys")
@click.option("-v", "--verbose", "--debug", is_flag=True, help="Log details.")
def serve(
    *,
    settings: ServerSettings,
    eval_config: str | None,
    eval_llm: bool | None,
    eval_llm_model: str | None,
    eval_llm_temperature: float | None,
    max_concurrency: int,
    max_assessments: int,
    max_scoring: int,
    participant_urls: str,
    backend: str,
    sandbox_url: str | None,
    sandbox_workers: int,
    allow_unsafe_sandbox: bool,
    verbose: bool,
    **texts: bool | int,
) -> None:
    """Serve over A2A until stopped."""
    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.green_agent.assessment import Limits  # noqa: PLC0415
    from services.green_agent.executor import GreenSettings  # noqa: PLC0415
    from services.green_agent.precedence import Flags  # noqa: PLC0415
    from services.green_agent.server import run  # noqa: PLC0415
    from services.green_agent.toolbox import SandboxSettings  # noqa: PLC0415

    configure("green", verbose=verbose)
    green = GreenSettings(
        suite_path=_checked_suite(eval_config or DEFAULT_SUITE),
        limits=Limits(max_concurrency=max_concurrency, max_scoring=max_scoring),
        max_assessments=max_assessments,
        participant_urls=_url_policy(participant_urls),
        printed=_printed(texts),
        flags=Flags(
            eval_llm=eval_llm,
            eval_llm_model=eval_llm_model,
            eval_llm_temperature=eval_llm_temperature,
            names_suite=eval_config is not None,
        ),
    )
    sandbox = SandboxSettings(
        backend=backend, workers=sandbox_workers, allow_unsafe=allow_unsafe_sandbox, url=sandbox_url
    )
    sys.exit(run(green, sandbox, settings))


@main.command()
@click.option(
    "--eval-config",
    envvar="EVAL_CONFIG",
    default=DEFAULT_SUITE,
    help="Suite: a YAML file, or a bundled name.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan as JSON.")
def tasks(eval_config: str, *, as_json: bool) -> None:
    """Print what a suite would ask: tasks per stratum, digests, what is short. Runs nothing and asks no judge."""
    from services.contract.assessment import AssessmentConfig, RequestError  # noqa: PLC0415
    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.green_agent.benchmarks.base import DatasetError  # noqa: PLC0415
    from services.green_agent.precedence import settle  # noqa: PLC0415
    from services.green_agent.preparation import prepare  # noqa: PLC0415
    from services.green_agent.suite import load_suite  # noqa: PLC0415

    configure("green")
    try:
        settled = settle(AssessmentConfig(), load_suite(_checked_suite(eval_config)))
        # Whether the judge answers is seen when it is asked; the plan only depends on there being one.
        plan = prepare(settled, has_judge=settled.wants_judge).plan
    except (RequestError, DatasetError) as error:
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(plan.model_dump_json(indent=2))
        return
    for line in _described(plan, judge=settled.judge.model if settled.judge and settled.wants_judge else None):
        click.echo(line)


def _described(plan: Plan, *, judge: str | None) -> list[str]:
    """A plan in lines: strata, data sets, judge, shortfalls, total."""
    strata = Counter(f"{trial.benchmark} / {trial.stratum}" for trial in plan.trials)
    lines = [f"{count:5d}  {name}" for name, count in sorted(strata.items())]
    for found in plan.benchmarks:
        lines.append(f"data set {found.name}: {found.dataset_digest or 'not loaded'}, scorer {found.scorer}")
        lines += [f"  {label}: {_brief(noted)}" for label, noted in found.notes.items()]
        lines += [f"  skipped: {found.skipped}"] if found.skipped else []
    needs = [f"{found.name} ({found.judge_need})" for found in plan.benchmarks if found.judge_need != "never"]
    lines.append(f"judge: {judge or 'none'}; needed by {', '.join(needs) or 'no data set'}")
    lines += [f"short: {shortfall.reason}" for shortfall in plan.shortfalls]
    total = f"{len(plan.trials):5d}  trials of {plan.num_tasks} tasks, suite {plan.suite}, plan {plan.digest}"
    return [*lines, total]


def _brief(noted: object, *, longest: int = 300) -> str:
    """Notes in one line: names and values, lists by their length when they are long."""
    import json  # noqa: PLC0415

    text = json.dumps(noted, ensure_ascii=False, sort_keys=True)
    return text if len(text) <= longest else text[:longest] + " [...]"


def _printed(texts: dict[str, bool | int]) -> Printed:
    from services.contract.printing import Printed, Shown  # noqa: PLC0415

    shown = {
        name: Shown(
            store=bool(texts[f"store_{name}"]),
            truncate=bool(texts[f"truncate_{name}"]),
            max_chars=int(texts[f"{name}_max_chars"]),
        )
        for name in ("predicted", "question", "expected")
    }
    return Printed(**shown)


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
