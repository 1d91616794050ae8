"""`inference up MODEL`: servers of a model, here, in containers or on SLURM."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import click

from services.inference.commands.options import (
    NumbersCommand,
    PlanOptions,
    a_number,
    gpu_ids_option,
    json_option,
    plan_options,
    registry_option,
)
from services.inference.commands.reference import reference
from services.inference.commands.slurm_options import SlurmOptions, slurm_options

_REFERENCE: Final = "reference"
_SPEED: Final = ("latency", "ttft", "tokens_per_second", "max_concurrency", "seed", "faults")
"""Options of the reference engine that its servers take too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UpOptions:
    """What the options that only `up` has were set to; a field is the option of that name."""

    launcher: str
    num_servers: int | None
    start_port: int
    strict_ports: bool
    host: str
    stagger_delay: float
    server_timeout: float
    skip_server_start: bool
    urls: str | None
    min_healthy: int | None
    log_dir: Path
    model_config_path: Path | None
    model_name: str | None
    revision: str | None
    thinking: str | None
    lora: tuple[str, ...]
    deterministic: bool
    allow_remote_code: bool
    rope_scaling: str | None
    engine_arg: tuple[str, ...]
    program: str | None
    detach: bool
    dry_run: bool
    force: bool


_OPTIONS: Final = (
    click.option("--launcher", type=click.Choice(("local", "compose", "slurm")), default="local", show_default=True),
    click.option(
        "--num-servers",
        "--num-services",
        "num_servers",
        type=click.IntRange(1),
        help="Servers. [default: here one for each group of TP GPUs, at most 4; on SLURM 1]",
    ),
    click.option("--start-port", type=click.IntRange(1, 65_535), default=8000, show_default=True),
    click.option("--strict-ports", is_flag=True, help="A taken port is an error. [default: it is skipped]"),
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--stagger-delay",
        type=click.FloatRange(0),
        callback=a_number,
        default=60.0,
        show_default=True,
        help="Seconds after which the next server starts, if this one is not ready before.",
    ),
    click.option(
        "--server-timeout",
        type=click.FloatRange(0, min_open=True),
        callback=a_number,
        default=600.0,
        show_default=True,
        help="Seconds that each server has to become ready, from its own start.",
    ),
    click.option("--skip-server-start", is_flag=True, help="Start nothing: check the servers of --urls or the file."),
    click.option("--urls", metavar="URL,URL", help="With --skip-server-start: servers on any host."),
    click.option(
        "--min-healthy", type=click.IntRange(1), help="With --skip-server-start: so many must be ready. [default: all]"
    ),
    click.option(
        "--log-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("logs/servers"),
        show_default=True,
        help="Gets ENGINE_port_PORT_DATE_TIME.out and .err.",
    ),
    click.option(
        "--model-config-path",
        type=click.Path(dir_okay=False, path_type=Path),
        help="model_config_local.json: written after the start; read with --skip-server-start.",
    ),
    click.option("--model-name", metavar="NAME", help="Name that clients ask for. [default: the preset's key]"),
    click.option("--revision", metavar="COMMIT", help="Of the checkpoint. [default: the preset's]"),
    click.option("--thinking", type=click.Choice(("on", "off")), help="[default: as the model does by itself]"),
    click.option(
        "--lora", multiple=True, metavar="NAME=DIR", help="Serve an adapter as a model of its own; repeatable."
    ),
    click.option("--deterministic", is_flag=True, help="Batch-invariant mode; `doctor` checks that it works."),
    click.option("--allow-remote-code", is_flag=True, help="Run code that comes with the checkpoint; recorded."),
    click.option("--rope-scaling", metavar="yarn:F", help="Lengths beyond the checkpoint's own."),
    click.option(
        "--engine-arg", multiple=True, metavar="KEY[=VALUE]", help="Anything else for the engine; repeatable, recorded."
    ),
    click.option("--program", metavar="PATH", help="The engine's executable. [default: by its name on PATH]"),
    click.option("--detach", is_flag=True, help="Servers go on after this command; `inference down` stops them."),
    click.option("--dry-run", is_flag=True, help="Print the command lines, start nothing."),
    click.option("--force", is_flag=True, help="Start although the plan says impossible; recorded."),
)


def _up_options(function: Any) -> Any:
    """Give the command the options above as one argument, `wanted: UpOptions`."""
    names = [field.name for field in fields(UpOptions)]

    def packed(**values: Any) -> Any:
        return function(wanted=UpOptions(**{name: values.pop(name) for name in names}), **values)

    packed.__doc__, packed.__name__ = function.__doc__, function.__name__
    # What the inner decorators have noted so far.
    packed.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined] # click reads it
    for option in reversed(_OPTIONS):
        option(packed)
    return packed


class _Up(NumbersCommand):
    """`up reference` alone is the engine in the foreground; with a launcher's option it is a model like any other."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        if args[:1] != [_REFERENCE]:
            return super().make_context(info_name, args, parent, **extra)
        if _is_launch(self, args):
            return _reference_servers(self).make_context(info_name, args, parent, **extra)
        return reference.make_context(f"{info_name} {_REFERENCE}", args[1:], parent, **extra)


@click.command(cls=_Up)
@click.argument("model")
@_up_options
@plan_options
@gpu_ids_option
@slurm_options
@registry_option
@json_option
def command(
    *,
    model: str,
    wanted: UpOptions,
    asked: PlanOptions,
    gpu_ids: tuple[int, ...],
    slurm: SlurmOptions,
    registry: Path,
    as_json: bool,
) -> None:
    """Start servers of MODEL: a preset's key (`inference plan --list`), a hub id, or a local directory.

    Servers end with this command, however it ends; with --detach, and in containers or on SLURM, `inference down` and
    `inference cancel` end them. `inference up reference` is the engine without a model; with --num-servers it is several.
    """
    from services.inference.servers.starting import Wish, up  # noqa: PLC0415 - keeps --help fast

    _check(wanted, gpu_ids, slurm)
    up(Wish(model=model, wanted=wanted, asked=asked, gpu_ids=gpu_ids, slurm=slurm, registry=registry, as_json=as_json))


def _check(wanted: UpOptions, gpu_ids: tuple[int, ...], slurm: SlurmOptions) -> None:
    """Refuse options that would be ignored."""
    if slurm != SlurmOptions() and wanted.launcher != "slurm":
        raise click.UsageError("options of SLURM need --launcher slurm")
    if gpu_ids and wanted.launcher == "slurm":
        raise click.UsageError("--gpu-ids: SLURM chooses the GPUs; say how many with --gpus-per-node")
    if not wanted.skip_server_start and (wanted.urls or wanted.min_healthy):
        raise click.UsageError("--urls and --min-healthy need --skip-server-start")
    if wanted.skip_server_start and bool(wanted.urls) == bool(wanted.model_config_path):
        raise click.UsageError("--skip-server-start needs --urls or --model-config-path, one of them")
    if wanted.launcher != "local" and (wanted.strict_ports or wanted.detach):
        raise click.UsageError("--strict-ports and --detach are for --launcher local")
    if wanted.launcher == "compose" and wanted.program:
        raise click.UsageError("--program: containers run the engine of their image")
    if wanted.launcher == "slurm" and wanted.model_config_path:
        raise click.UsageError(
            "--model-config-path: jobs have no address before they run; `inference urls` has it then"
        )


def _is_launch(general: click.Command, args: list[str]) -> bool:
    own = {name for param in reference.params for name in param.opts}
    launching = {name for param in general.params for name in param.opts} - own
    return any(word.partition("=")[0] in launching for word in args)


def _refuse_planning() -> None:
    """The reference engine has a context, and nothing else that could be planned."""
    context = click.get_current_context()
    planning = {field.name for field in fields(PlanOptions)} - {"gpu", "engine", "max_model_len"}
    idle = [
        param.opts[0]
        for param in context.command.params
        if param.name in planning and context.get_parameter_source(param.name) is click.core.ParameterSource.COMMANDLINE
    ]
    if idle:
        raise click.UsageError(f"{', '.join(idle)}: the reference engine has no weights to plan for; leave it out")


def _reference_servers(general: click.Command) -> click.Command:
    """`up reference` through a launcher: the general command with the options of speed and faults."""
    speed = [param for param in reference.params if param.name in _SPEED]
    general_callback = general.callback
    if general_callback is None:
        raise AssertionError("a command without a function")
    defaults = {str(param.name): param.get_default(click.Context(reference)) for param in speed}

    def servers(**values: Any) -> None:
        _refuse_planning()
        given = {name: values.pop(name) for name in defaults}
        faults = tuple(f"fault={spec}" for spec in given.pop("faults"))
        changed = tuple(f"{name.replace('_', '-')}={value}" for name, value in given.items() if value != defaults[name])
        values["engine_arg"] = (*values["engine_arg"], *changed, *faults)
        general_callback(**values)

    return NumbersCommand(
        general.name, params=[*general.params, *speed], callback=servers, help="Start several reference engines."
    )
