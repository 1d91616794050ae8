"""`inference plan MODEL`: the verdict, its arithmetic, the command line, and the nearest configuration that fits."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from services.inference.commands.options import PlanOptions, plan_options, rope_scaling_option

if TYPE_CHECKING:
    from services.inference.planning.planner import Plan


@click.command(name="plan")
@click.argument("model", required=False)
@plan_options
@rope_scaling_option
@click.option("--list", "as_list", is_flag=True, help="Every preset on every kind of GPU: the fewest that fit.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(*, model: str | None, asked: PlanOptions, rope_scaling: str | None, as_list: bool, as_json: bool) -> None:
    """Will MODEL run on these GPUs? MODEL is a preset or a local checkpoint.

    Ends with 3 when it will not.
    """
    if as_list:
        _list(model, asked, as_json=as_json)
        return
    if model is None:
        raise click.UsageError("name a MODEL, or --list")
    from services.inference.commands.options import planned  # noqa: PLC0415 - keeps --help fast
    from services.inference.failures import ExitCode  # noqa: PLC0415
    from services.inference.planning.showing import as_text, plan_record  # noqa: PLC0415

    plan = planned(model, asked, rope_scaling=rope_scaling)
    line, refusal = _command_line(plan, rope_scaling)
    click.echo(
        plan_record(plan, command=line, refusal=refusal) if as_json else as_text(plan, command=line, refusal=refusal)
    )
    sys.exit(ExitCode.DOES_NOT_FIT if plan.verdict == "impossible" else ExitCode.DONE)


def _command_line(plan: Plan, rope_scaling: str | None) -> tuple[tuple[str, ...] | None, str | None]:
    """What the first server would be started with, or why the engine cannot; neither when the plan is impossible."""
    from services.inference.engines.base import EngineRefusalError, Place, Serving  # noqa: PLC0415 - keeps --help fast
    from services.inference.engines.registry import engine  # noqa: PLC0415
    from services.inference.planning.planner import on_cpu  # noqa: PLC0415

    if plan.verdict == "impossible":
        return None, None
    place = Place(index=0, host="127.0.0.1", port=8000, cpu=on_cpu(plan.request))
    preset = plan.request.preset
    serving = Serving(served_name=preset.key, revision=preset.revision, rope_scaling=rope_scaling)
    try:
        return engine(plan.request.engine).command(plan, serving, place).argv, None
    except EngineRefusalError as error:
        return None, str(error)


def _list(model: str | None, asked: PlanOptions, *, as_json: bool) -> None:
    from services.inference.planning.checkpoints import found  # noqa: PLC0415 - keeps --help fast
    from services.inference.planning.presets import catalogue  # noqa: PLC0415
    from services.inference.planning.showing import overview, overview_record  # noqa: PLC0415

    known = catalogue()
    presets = tuple(known.models.values()) if model is None else (found(model, known, family=asked.family),)
    kinds = tuple(known.hardware.values()) if asked.gpu == "auto" else (known.gpu(asked.gpu),)
    plans = [
        _on_a_node(preset.key if model is None else model, kind.key, asked) for preset in presets for kind in kinds
    ]
    click.echo(overview_record(plans) if as_json else overview(plans))


def _on_a_node(model: str, gpu: str, asked: PlanOptions) -> Plan:
    from dataclasses import replace  # noqa: PLC0415 - keeps --help fast

    from services.inference.commands.options import requested  # noqa: PLC0415
    from services.inference.planning.planner import judged  # noqa: PLC0415

    request = requested(model, replace(asked, gpu=gpu))
    return judged(replace(request, count=asked.count or request.gpu.per_node))
