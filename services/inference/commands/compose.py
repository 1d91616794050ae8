"""`inference compose MODEL`: a compose file for servers of a model, without starting anything."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.inference.commands.options import (
    ASSUMED_GPU,
    NumbersCommand,
    PlanOptions,
    gpu_ids_option,
    json_option,
    plan_options,
    rope_scaling_option,
)

if TYPE_CHECKING:
    from services.inference.engines.base import Serving
    from services.inference.launchers.compose_services import ComposeOptions
    from services.inference.planning.planner import Plan


@click.command(cls=NumbersCommand, name="compose")
@click.argument("model")
@plan_options
@gpu_ids_option
@rope_scaling_option
@click.option("--num-servers", type=click.IntRange(1), help="Replicas. [default: one for each group of TP GPUs]")
@click.option("--router", is_flag=True, help="One address in front of the replicas, for clients that take no list.")
@click.option("--publish", metavar="ADDRESS:PORT", help="Reachable from outside; replica i at PORT + i.")
@click.option("--ipc-host", is_flag=True, help="Shared memory of the host instead of 16 GB of its own.")
@click.option("--start-period", type=click.IntRange(0), metavar="S", help="[default: 300 s and 2.5 s a GiB of weights]")
@click.option(
    "--consumer", "consumers", multiple=True, metavar="SERVICE", help="Waits for the model and is told of it."
)
@click.option("--model-name", metavar="NAME", help="Name that clients ask for. [default: the preset's key]")
@click.option("--revision", metavar="COMMIT", help="Of the checkpoint. [default: the preset's]")
@click.option("--thinking", type=click.Choice(("on", "off")), help="[default: as the model does by itself]")
@click.option("--deterministic", is_flag=True, help="Batch-invariant mode.")
@click.option("--engine-arg", multiple=True, metavar="KEY[=VALUE]", help="Anything else for the engine; repeatable.")
@click.option("--force", is_flag=True, help="Write it although the plan says impossible.")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="File to write; - is standard output. [default: compose/ENGINE.yaml]",
)
@json_option
def command(
    *,
    model: str,
    asked: PlanOptions,
    gpu_ids: tuple[int, ...],
    rope_scaling: str | None,
    num_servers: int | None,
    router: bool,
    publish: str | None,
    ipc_host: bool,
    start_period: int | None,
    consumers: tuple[str, ...],
    model_name: str | None,
    revision: str | None,
    thinking: str | None,
    deterministic: bool,
    engine_arg: tuple[str, ...],
    force: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write a compose file with servers of MODEL, a preset or a local checkpoint, and check it."""
    from services.inference.engines.base import Serving  # noqa: PLC0415 - keeps --help fast
    from services.inference.launchers.compose_services import ComposeOptions  # noqa: PLC0415

    options = ComposeOptions(
        gpu_ids=gpu_ids,
        router=router,
        publish=publish,
        ipc_host=ipc_host,
        start_period_s=start_period,
        consumers=consumers,
        forced=force,
    )
    plan = _plan(model, _where(asked, model), gpu_ids, num_servers, rope_scaling)
    serving = Serving(
        served_name=model_name or plan.request.preset.key,
        revision=revision or plan.request.preset.revision,
        thinking=None if thinking is None else thinking == "on",
        deterministic=deterministic,
        rope_scaling=rope_scaling,
        tool_parser=asked.tool_call_parser,
        reasoning_parser=asked.reasoning_parser,
        engine_args=tuple(map(_argument, engine_arg)),
    )
    _write(plan, serving, options, count=_count(plan, gpu_ids, num_servers), output=output, as_json=as_json)


def _where(asked: PlanOptions, model: str) -> PlanOptions:
    """On a machine without GPUs a file for another machine is written, and it is said for which."""
    from services.inference.machine.gpus import NoGpusError, gpus  # noqa: PLC0415 - keeps --help fast

    if asked.gpu != "auto" or model == "reference":
        return asked
    try:
        gpus()
    except NoGpusError:
        _say(f"no GPU here, so this is planned for {ASSUMED_GPU}; --gpu KIND names another")
        return replace(asked, gpu=ASSUMED_GPU)
    return asked


def _plan(
    model: str, asked: PlanOptions, gpu_ids: tuple[int, ...], num_servers: int | None, rope_scaling: str | None
) -> Plan:
    """One server's plan on the GPUs that are its share."""
    from services.inference.commands.options import planned  # noqa: PLC0415 - keeps --help fast
    from services.inference.engines.reference import reference_plan  # noqa: PLC0415

    if model == "reference":
        return reference_plan(max_model_len=asked.max_model_len, servers=num_servers or 1)
    if asked.tp is not None or num_servers is None or not gpu_ids:
        return planned(model, asked, count=len(gpu_ids) or None, rope_scaling=rope_scaling)
    if len(gpu_ids) < num_servers:
        raise click.UsageError(f"--num-servers {num_servers} with {len(gpu_ids)} GPUs")
    return planned(model, asked, count=len(gpu_ids) // num_servers, rope_scaling=rope_scaling)


def _count(plan: Plan, gpu_ids: tuple[int, ...], num_servers: int | None) -> int:
    """Replicas. More than the GPUs hold are not written, aloud."""
    from services.inference.planning.planner import on_cpu  # noqa: PLC0415 - keeps --help fast

    if on_cpu(plan.request):
        return num_servers or 1
    here = len(gpu_ids) or plan.request.gpu.per_node
    count = max(1, min(num_servers or plan.replicas, here // plan.tp))
    if num_servers is not None and count < num_servers:
        _say(f"{here} GPUs hold {count} servers of TP {plan.tp}, not {num_servers}")
    if idle := gpu_ids[count * plan.tp :]:
        _say(f"not used: GPU {', '.join(map(str, idle))}")
    return count


def _write(
    plan: Plan, serving: Serving, options: ComposeOptions, *, count: int, output: Path | None, as_json: bool
) -> None:
    from services.inference.failures import DoesNotFitError, UsageError  # noqa: PLC0415 - keeps --help fast
    from services.inference.launchers.compose_check import checked  # noqa: PLC0415
    from services.inference.launchers.compose_services import Wanted, compose_file, described, urls  # noqa: PLC0415
    from services.inference.planning.presets import catalogue  # noqa: PLC0415
    from services.inference.planning.showing import as_text  # noqa: PLC0415

    if plan.verdict == "impossible" and not options.forced:
        raise DoesNotFitError(f"{as_text(plan)}\n--force writes it all the same; --gpu KIND plans for other GPUs")
    if plan.verdict != "fit":
        _say(f"warning: this plan is {plan.verdict}\n{as_text(plan)}")
    wanted = Wanted(plan=plan, serving=serving, count=count, options=options, known=catalogue())
    text, by = checked(compose_file(wanted), comment=described(wanted))
    if str(output) == "-":
        click.echo(text, nl=False)
        return
    path = output or Path("compose") / f"{plan.request.engine}.yaml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: cannot write {path}: {error.strerror}") from error
    facts = {"file": str(path), "services": count, "urls": list(urls(wanted)), "checked_by": by}
    click.echo(
        json.dumps(facts) if as_json else f"{path}: {count} server(s) at {', '.join(urls(wanted))}; checked by {by}"
    )


def _argument(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    key = key.strip().lstrip("-")
    if not key:
        raise click.UsageError(f"--engine-arg takes KEY[=VALUE], got {text!r}")
    return key, value if equals else None


def _say(text: str) -> None:
    click.echo(f"inference: {text}", file=sys.stderr)
