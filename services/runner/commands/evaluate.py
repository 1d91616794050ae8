"""`assay evaluate`: a served model through code and mathematics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from services.runner.command_line import call, doctor_option, ending, options_of, print_json
from services.runner.failures import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.runner.evaluate.asked import Asked
    from services.runner.evaluate.flow import Evaluated, Planned
    from services.runner.fitness import Doctor
    from services.runner.run import RunOptions

EXIT_CODES_HELP = """\b
Exit codes:
  0    every run is complete
  1    a run is incomplete, or results could not be written
  2    usage wrong: options, data, sandbox, judge, a model that is unknown, does not fit or is not served
  3    a server or an agent did not start or was lost
  130  interrupted: what finished is kept, --resume continues
"""


@click.command(epilog=EXIT_CODES_HELP)
@click.option(
    "--model-path",
    metavar="M",
    help="A preset (`inference plan --list`), a hub id or a directory; `reference` has no weights.",
)
@click.option("--model-name", metavar="N", help="Id the servers list.  [default: last part of the path]")
@click.option(
    "--num-services",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Servers.  [default: what fits, at most 4]",
)
@click.option(
    "--start-port",
    type=click.IntRange(1, 65535),
    metavar="P",
    help="Port of the first free one.  [default: 8000]",
)
@click.option(
    "--benchmarks", default="all", show_default=True, metavar="NAMES", help="With commas; all = imobench,lcb_pro."
)
@click.option(
    "--strategies", default="baseline,self_eval_sequential", show_default=True, metavar="NAMES", help="With commas."
)
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
    help="Journal, reports and rollout files.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long the servers may take to be ready.",
)
@click.option("--skip-launch", is_flag=True, help="Use servers that run.")
@click.option("--skip-wait", is_flag=True, help="Ask them once whether they are ready.")
@click.option("--cleanup", is_flag=True, help="Stop what was launched here, at the end, after a failure, on Ctrl-C.")
@click.option(
    "--launcher",
    "launcher_name",
    type=click.Choice(["local", "compose", "container", "slurm"]),
    help="Servers as processes here, containers here, or jobs of SLURM.  [default: local]",
)
@click.option(
    "--up-options", metavar="TEXT", help="Further options of `inference up`, such as '--tp 2 --partition gpu'."
)
@click.option("--submit", is_flag=True, help="Run this very command as a batch job of SLURM; print its number.")
@click.option(
    "--sbatch-arg",
    "sbatch_args",
    multiple=True,
    metavar="OPTION",
    help="With --submit: further option of sbatch; repeatable.",
)
@click.option(
    "--endpoints",
    metavar="URLS",
    help="Servers that run, with commas.  [default: LLM_ENDPOINT_FILE, SGLANG_API_BASES or OPENAI_API_BASE, else "
    "--start-port and on]",
)
@click.option("--num-samples", type=click.IntRange(1), metavar="N", help="Trials of baseline.  [default: 1]")
@click.option("--chains", type=click.IntRange(1), metavar="N", help="Trials of self_eval_sequential.  [default: 1]")
@click.option("--iterations", type=click.IntRange(0), metavar="N", help="Of self_eval_sequential.  [default: 8]")
@click.option("--num-tasks", type=click.IntRange(1), metavar="N", help="Of each benchmark, for a small try.")
@click.option("--judge", metavar="MODEL", help="Decides what no rule can; never the model under test by default.")
@click.option("--judge-base", metavar="URL", help="Where it is served on this machine.")
@click.option("--judge-provider", type=click.Choice(["openai", "anthropic"]), help="How it is spoken to.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of tasks, samples and intervals.")
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=128, show_default=True, help="Trials in flight at once."
)
@click.option("--max-tokens", type=click.IntRange(1), default=32_768, show_default=True, help="Of one completion.")
@click.option(
    "--reply-timeout",
    "reply_timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=21_600.0,
    show_default=True,
    metavar="SECONDS",
    help="Of one trial, a whole chain included.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, print what would be run, start no server.")
@click.option("--resume", is_flag=True, help="Continue what --output-dir holds of the same plan, model and settings.")
@click.option("--show-logs", is_flag=True, help="Print what the agents write.")
@click.option("-v", "--verbose", is_flag=True, help="Log details.")
@doctor_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(*, dry_run: bool, show_logs: bool, verbose: bool, doctor: Doctor, as_json: bool, **asked: Any) -> NoReturn:
    """Evaluate a model on code and mathematics: launch or find its servers, run each benchmark with each strategy.

    Writes <output-dir>/<benchmark>_rollouts/*.json beside the journal and the reports.
    """
    from services.runner.evaluate.asked import Asked  # noqa: PLC0415
    from services.runner.evaluate.flow import evaluate as run_all  # noqa: PLC0415
    from services.runner.evaluate.flow import exit_code, plans  # noqa: PLC0415

    wanted = Asked(**asked)
    options = options_of(wanted.output_dir, as_json=as_json, show_logs=show_logs, verbose=verbose, doctor=doctor)
    if wanted.submit:
        _submit(wanted, options, dry_run=dry_run, as_json=as_json)
    planned = call(lambda: plans(wanted, options))
    if dry_run:
        _print_plans(planned, as_json=as_json)
        sys.exit(ExitCode.COMPLETE)
    done = call(lambda: run_all(wanted, planned, options))
    code = exit_code(wanted, done)
    _print(wanted, done, code, as_json=as_json)
    sys.exit(code)


def _submit(asked: Asked, options: RunOptions, *, dry_run: bool, as_json: bool) -> NoReturn:
    """Check everything here, then leave it to a job."""
    from services.runner.evaluate.flow import plans  # noqa: PLC0415
    from services.runner.evaluate.submitting import require_sbatch, submission, submit  # noqa: PLC0415

    wanted = submission(asked, sys.argv)
    if not dry_run:
        with ending():
            require_sbatch()
    call(lambda: plans(asked, options))
    if dry_run:
        if as_json:
            print_json({"command": list(wanted.command), "script": wanted.script})
        else:
            click.echo(wanted.as_text())
        sys.exit(ExitCode.COMPLETE)
    job = call(lambda: submit(asked, wanted))
    output = wanted.output.replace("%j", job).replace("%%", "%")
    if as_json:
        print_json({"job": job, "output": output})
    else:
        click.echo(f"job {job}\noutput {output}")
    sys.exit(ExitCode.COMPLETE)


def _print_plans(planned: Sequence[Planned], *, as_json: bool) -> None:
    from services.runner.evaluate.table import plan_lines, plan_object  # noqa: PLC0415

    if as_json:
        print_json(plan_object(planned))
    else:
        click.echo(plan_lines(planned))


def _print(asked: Asked, done: Sequence[Evaluated], code: ExitCode, *, as_json: bool) -> None:
    from services.contract.secrets import redact  # noqa: PLC0415
    from services.runner.evaluate.table import result_object, table_of  # noqa: PLC0415

    if as_json:
        print_json(result_object(done, code))
    else:
        click.echo(f"\n{table_of(done)}\n")
        for path in (path for one in done for path in one.rollouts):
            click.echo(f"rollouts {path}")
    for one in done:
        if one.error is not None:
            click.echo(f"assay: {one.planned.case.name}: {redact(str(one.error))}", err=True)
    if code is not ExitCode.COMPLETE:
        click.echo(
            "assay: not everything is complete: what finished is kept in"
            f" {asked.output_dir}; the same command with --resume runs what is missing",
            err=True,
        )
