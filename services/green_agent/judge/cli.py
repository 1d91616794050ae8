"""`assay judge`: compare a judge with people. Heavy imports stay inside the commands, so --help is quick."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from services.green_agent.judge.sets import SETS

if TYPE_CHECKING:
    from services.green_agent.judge.panel import JudgePanel
    from services.green_agent.judge.records import Calibration, Figure, GradedFigures
    from services.green_agent.judge.settings import JudgeSettings, Provider

PROGRESS_EVERY: Final = 25
"""Answers after which the command says how far it is."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
def main() -> None:
    """The judge. Exit codes: 0 done, 1 the judge could not be used, 2 wrong usage or labels."""


@main.command()
@click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON Lines of people's verdicts: task_id, criterion_id, answer, and met or score.",
)
@click.option(
    "--benchmark", type=click.Choice([*SETS]), help="A data set of people's verdicts, in the place of --labels."
)
@click.option(
    "--criteria",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON Lines with the texts the labels lack: task_id, criterion_id, criterion, question, references.",
)
@click.option("--limit", type=click.IntRange(1), help="Of --benchmark: so many answers, drawn by seed. Default: all.")
@click.option("--disjoint", is_flag=True, help="Of --benchmark: without the problems that agents are examined with.")
@click.option(
    "--model", "--judge", "models", multiple=True, help="Judge model; several make a panel. Default: EVAL_LLM_MODEL."
)
@click.option("--provider", type=click.Choice(["openai", "anthropic"]), help="Default: by the keys that are set.")
@click.option("--api-base", help="Address; keys of the environment do not go there. Default: OPENAI_EVAL_API_BASE.")
@click.option("--temperature", type=click.FloatRange(0, 2), default=0.0, help="As the runs will use it.")
@click.option("--context-window", type=click.IntRange(1024), help="Tokens. Default: what the endpoint reports.")
@click.option("--concurrency", type=click.IntRange(1, 1000), default=8, help="Questions in flight.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole record as JSON.")
def calibrate(
    *,
    labels: Path | None,
    benchmark: str | None,
    criteria: Path | None,
    limit: int | None,
    disjoint: bool,
    models: tuple[str, ...],
    provider: Provider | None,
    api_base: str | None,
    temperature: float,
    context_window: int | None,
    concurrency: int,
    as_json: bool,
) -> None:
    """Ask the judge for people's verdicts and print how far it agrees. The record is kept and shown in reports.

    The verdicts come from a file (--labels) or from a data set (--benchmark).
    """
    from services.green_agent.judge.settings import JudgeMember, JudgeSettings  # noqa: PLC0415

    settings = JudgeSettings(
        model=models[0] if models else None,
        provider=provider,
        api_base=api_base,
        temperature=temperature,
        context_window=context_window,
        concurrency=concurrency,
        panel=tuple(JudgeMember(model=model) for model in models) if len(models) > 1 else (),
    )
    if (labels is None) is (benchmark is None):
        raise click.UsageError("expected --labels or --benchmark, one of them")
    if labels is not None and (limit is not None or disjoint):
        raise click.UsageError("--limit and --disjoint go with --benchmark")
    if benchmark is not None and criteria is not None:
        raise click.UsageError("--criteria goes with --labels")
    asked = _of_file(labels, criteria) if labels is not None else _of_set(benchmark or "", limit, disjoint=disjoint)
    record = _calibrated(settings, asked)
    click.echo(record.model_dump_json(indent=2) if as_json else _table(record))
    _keep(record)


def _keep(record: Calibration) -> None:
    """After it was printed: what was paid for is not lost to a full disk."""
    from services.green_agent.judge.cache import cache_folder  # noqa: PLC0415
    from services.green_agent.judge.records import keep_calibration  # noqa: PLC0415

    try:
        file = keep_calibration(cache_folder(), record)
    except OSError as error:
        click.echo(f"Error: the record could not be kept: {error}", err=True)
        sys.exit(1)
    click.echo(f"kept as {file}", err=True)


Ask = Callable[["JudgePanel"], Awaitable["Calibration"]]


def _of_file(labels: Path, criteria: Path | None) -> Ask:
    """Reads first: a fault in the labels is known before a judge is."""
    from services.green_agent.judge.calibration import calibrate as compare  # noqa: PLC0415
    from services.green_agent.judge.labels import LabelsError, read_labels  # noqa: PLC0415

    try:
        found = read_labels(labels, criteria)
    except LabelsError as error:
        raise click.UsageError(str(error)) from None
    return lambda panel: compare(panel, found)


def _of_set(name: str, limit: int | None, *, disjoint: bool) -> Ask:
    from services.green_agent.judge.graded import measure  # noqa: PLC0415
    from services.green_agent.judge.labels import LabelsError  # noqa: PLC0415
    from services.green_agent.judge.sets import graded_set  # noqa: PLC0415

    try:
        found = graded_set(name, limit=limit, disjoint=disjoint)
    except LabelsError as error:
        raise click.UsageError(str(error)) from None
    for notice in found.noticed:
        click.echo(notice, err=True)

    def told(done: int) -> None:
        if done % PROGRESS_EVERY == 0 or done == len(found.labels):
            click.echo(f"{done} of {len(found.labels)} answers", err=True)

    return lambda panel: measure(panel, found, told=told)


def _calibrated(settings: JudgeSettings, ask: Ask) -> Calibration:
    import asyncio  # noqa: PLC0415

    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.green_agent.judge.panel import JudgeUnavailableError, open_judge  # noqa: PLC0415

    configure("judge")

    async def run() -> Calibration:
        panel = await open_judge(settings)
        try:
            return await ask(panel)
        finally:
            await panel.aclose()

    try:
        record = asyncio.run(run())
    except JudgeUnavailableError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)
    if record.judged == 0:
        click.echo(f"Error: no label could be judged: {record.failed}", err=True)
        sys.exit(1)
    return record


def _table(record: Calibration) -> str:
    lines = [record.headline, f"judge               {record.judge}"]
    if record.graded is not None:
        lines += _graded(record.graded)
    if (found := record.criteria) is not None:
        lines += [f"labels              {found.judged} of {found.labels} judged"]
        lines += [
            f"{name:<20}{_shown(figure)}"
            for name, figure in (
                ("accuracy", found.accuracy),
                ("precision", found.precision),
                ("recall", found.recall),
                ("kappa", found.kappa),
            )
        ]
        lines.append(f"with answer length  r = {_number(found.length_correlation)}")
        lines.append(f"  of the labels     r = {_number(found.length_correlation_of_labels)}")
    for name, scale in record.scales.items():
        lines.append(f"scale {name}: {scale.judged} of {scale.labels} judged")
        lines.append(f"  mean abs. error   {_shown(scale.mean_absolute_error)}")
        lines.append(f"  correlation       {_shown(scale.correlation)}")
        lines.append(f"  with length       r = {_number(scale.length_correlation)}")
    for name, flips in (("paraphrased", record.paraphrased), ("swapped", record.swapped)):
        if flips is not None:
            lines.append(f"flips {name:<14}{flips.flipped} of {flips.compared}: {_shown(flips.share)}")
    lines += [f"no verdict          {kind}: {count}" for kind, count in sorted(record.failed.items())]
    return "\n".join(lines)


def _graded(found: GradedFigures) -> list[str]:
    figures = (
        ("four-way accuracy", found.accuracy),
        ("same points", found.exact),
        ("within one point", found.within_one),
        ("mean abs. error", found.mean_absolute_error),
        ("bias", found.bias),
        ("quadratic kappa", found.kappa),
        ("correlation", found.correlation),
    )
    lines = [f"answers             {found.judged} of {found.labels} judged"]
    lines += [f"{name:<20}{_shown(figure)}" for name, figure in figures]
    lines.append("people / judge      " + "".join(f"{name:<28}" for name in found.counts).rstrip())
    for name, row in found.confusion.items():
        cells = (f"{found.counts[name][other]}: {_shown(share)}" for other, share in row.items())
        lines.append(f"  {name:<18}" + "".join(f"{cell:<28}" for cell in cells).rstrip())
    return lines


def _shown(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return _number(figure.value)
    return f"{_number(figure.value)} [{figure.low:.3f}, {figure.high:.3f}]"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"
