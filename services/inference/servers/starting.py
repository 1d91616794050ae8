"""What `inference up` does: plan, start by a launcher, say where the servers are, and stay with those that end with us."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.contract.endpoint_files import Address, ModelConfig, write_model_config
from services.contract.telemetry import configure
from services.inference.engines.base import Command, Serving
from services.inference.engines.environment import is_local
from services.inference.engines.reference import reference_plan
from services.inference.failures import DoesNotFitError, ExitCode, UsageError
from services.inference.launchers.base import Launch, Launcher, Server
from services.inference.launchers.local import LocalLauncher, LocalOptions, program_of
from services.inference.machine.weights import fetched
from services.inference.planning.adapters import adapters, total_gib
from services.inference.planning.planner import on_cpu
from services.inference.planning.presets import REFERENCE, catalogue
from services.inference.planning.showing import as_text
from services.inference.servers.skipping import check_servers

if TYPE_CHECKING:
    from services.inference.commands.options import PlanOptions
    from services.inference.commands.slurm_options import SlurmOptions
    from services.inference.commands.up import UpOptions
    from services.inference.planning.planner import Plan

MOST_SERVERS = 4
"""Started here when nobody says how many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """One `inference up`, as it was typed."""

    model: str
    wanted: UpOptions
    asked: PlanOptions
    gpu_ids: tuple[int, ...]
    slurm: SlurmOptions
    registry: Path
    as_json: bool


def up(wish: Wish) -> None:
    """Do it. Returns when nothing is left to watch; raises InferenceError, ends with 130 when interrupted."""
    configure("inference")
    if wish.wanted.skip_server_start:
        asyncio.run(check_servers(wish))
        return
    launch, here = _launch(wish)
    if wish.wanted.dry_run:
        _print_commands(wish, launch, here)
        return
    if wish.wanted.launcher == "local":
        _run_here(wish, *_with_weights(launch, here))
        return
    try:
        servers = asyncio.run(_started(wish, launch, forced=here.forced))
    except asyncio.CancelledError:
        raise SystemExit(ExitCode.INTERRUPTED) from None
    _announce(wish, servers)


def _launch(wish: Wish) -> tuple[Launch, LocalOptions]:
    """The launch, and what it is here. Raises DoesNotFitError for an impossible plan without --force."""
    path = wish.wanted.model_config_path
    if path is not None and not path.absolute().parent.is_dir():
        raise UsageError(f"--model-config-path: the folder {path.absolute().parent} does not exist")
    plan = _plan(wish)
    forced = plan.verdict == "impossible"
    if forced and not wish.wanted.force:
        raise DoesNotFitError(f"{as_text(plan)}\n--force starts it all the same")
    if plan.verdict != "fit":
        _say(f"warning: this plan is {plan.verdict}; memory may run out at the start or under load\n{as_text(plan)}")
    wanted = wish.wanted
    launch = Launch(
        plan=plan,
        serving=_serving(wish, plan),
        engine=plan.request.engine,
        count=wanted.num_servers or _default_count(wish, plan),
        host=wanted.host,
        start_port=wanted.start_port,
        log_folder=wanted.log_dir,
        registry=wish.registry,
        server_timeout_s=wanted.server_timeout,
        program=wanted.program,
        says=_say,
    )
    return launch, LocalOptions(
        gpu_ids=wish.gpu_ids,
        stagger_s=wanted.stagger_delay,
        strict_ports=wanted.strict_ports,
        forced=forced,
        weights=f"WEIGHTS/{launch.serving.served_name}" if _needs_folder(plan) else None,
    )


def _plan(wish: Wish) -> Plan:
    from services.inference.commands.options import requested  # noqa: PLC0415
    from services.inference.planning.alternatives import plan  # noqa: PLC0415 - reads presets

    if wish.model == REFERENCE.key:
        return reference_plan(max_model_len=wish.asked.max_model_len, servers=wish.wanted.num_servers or 1)
    request = requested(wish.model, wish.asked, count=len(wish.gpu_ids) or None, rope_scaling=wish.wanted.rope_scaling)
    extra = total_gib(adapters(wish.wanted.lora, request.preset))
    return plan(replace(request, extra_gib=extra), catalogue())


def _needs_folder(plan: Plan) -> bool:
    """TensorRT-LLM takes no hub id."""
    return plan.request.engine == "trtllm" and not is_local(plan.request.preset.id)


def _with_weights(launch: Launch, here: LocalOptions) -> tuple[Launch, LocalOptions]:
    """The launch with its checkpoint on this machine and its revision known; what can be refused is refused before."""
    (command,) = LocalLauncher(here).commands(replace(launch, count=1))
    program = program_of(command, os.environ)
    preset = launch.plan.request.preset
    if launch.engine == "reference":
        return launch, here
    weights = fetched(preset.id, launch.serving.revision, beside=program, env=os.environ, says=_say)
    if weights is None:
        return launch, here
    launch = replace(launch, serving=replace(launch.serving, revision=weights.revision))
    if not _needs_folder(launch.plan):
        return launch, here
    return launch, replace(here, weights=str(weights.called(launch.serving.served_name)))


def _default_count(wish: Wish, plan: Plan) -> int:
    if wish.wanted.launcher == "slurm" or on_cpu(plan.request):
        return 1
    return max(1, min(MOST_SERVERS, plan.replicas))


def _serving(wish: Wish, plan: Plan) -> Serving:
    wanted = wish.wanted
    return Serving(
        served_name=wanted.model_name or plan.request.preset.key,
        revision=wanted.revision or plan.request.preset.revision,
        thinking=None if wanted.thinking is None else wanted.thinking == "on",
        adapters=adapters(wanted.lora, plan.request.preset),
        deterministic=wanted.deterministic,
        allow_remote_code=wanted.allow_remote_code,
        rope_scaling=wanted.rope_scaling,
        tool_parser=wish.asked.tool_call_parser,
        reasoning_parser=wish.asked.reasoning_parser,
        engine_args=tuple(_engine_arg(one) for one in wanted.engine_arg),
    )


def _engine_arg(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    key = key.strip().lstrip("-")
    if not key:
        raise UsageError(f"--engine-arg: expected KEY=VALUE or KEY, got {text!r}")
    return key, value if equals else None


def _other(wish: Wish, *, forced: bool) -> Launcher:
    if wish.wanted.launcher == "slurm":
        from services.inference.launchers.slurm import SlurmLauncher  # noqa: PLC0415 - only who asks for it

        return SlurmLauncher(wish.slurm, forced=forced)
    from services.inference.launchers.compose import ComposeLauncher  # noqa: PLC0415 - likewise
    from services.inference.launchers.compose_services import ComposeOptions  # noqa: PLC0415

    return ComposeLauncher(ComposeOptions(gpu_ids=wish.gpu_ids, forced=forced))


async def _started(wish: Wish, launch: Launch, *, forced: bool) -> Sequence[Server]:
    """In containers or on SLURM. When we are told to stop meanwhile, the launcher takes back what it began."""
    _cancel_on_signals()
    return await _other(wish, forced=forced).start(launch)


def _run_here(wish: Wish, launch: Launch, here: LocalOptions) -> None:
    launcher = LocalLauncher(here)
    try:
        asyncio.run(_watched(wish, launch, launcher))
    except asyncio.CancelledError:
        raise SystemExit(ExitCode.INTERRUPTED) from None


async def _watched(wish: Wish, launch: Launch, launcher: LocalLauncher) -> None:
    """Start, and unless detached stay until a server ends (raised) or we are told to stop (cancelled)."""
    _cancel_on_signals()
    servers = await launcher.start(launch)
    try:
        _announce(wish, servers)
        if not wish.wanted.detach:
            raise await launcher.first_death()
        launcher.let_go()
    finally:
        await launcher.stop_all()


def _cancel_on_signals() -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    told: list[int] = []

    def stop(number: signal.Signals) -> None:
        # Only once: a second cancellation would interrupt the stopping of the servers.
        if not told and task is not None:
            told.append(number)
            task.cancel()  # first: to say so may fail, where nobody reads any more
            _say(f"{number.name}: stopping the servers")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # What `nohup` or a shell script's `&` had ignored stays ignored.
        if signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop, number)


def _print_commands(wish: Wish, launch: Launch, here: LocalOptions) -> None:
    if wish.wanted.launcher == "slurm":
        from services.inference.launchers.slurm import SlurmLauncher  # noqa: PLC0415 - only who asks for it

        click.echo(SlurmLauncher(wish.slurm, forced=here.forced).script(launch))
        return
    if wish.wanted.launcher == "compose":
        raise UsageError(f"--dry-run: `inference compose {wish.model}` writes the file that would be used")
    commands = LocalLauncher(here).commands(launch)
    if wish.as_json:
        click.echo(json.dumps([{"argv": one.argv, "env": dict(one.env)} for one in commands]))
        return
    for one in commands:
        click.echo(_shell_line(one))


def _shell_line(command: Command) -> str:
    """As one would type it."""
    variables = [f"{name}={shlex.quote(value)}" for name, value in command.env.items()]
    return " ".join([*variables, *map(shlex.quote, command.argv)])


def _announce(wish: Wish, servers: Sequence[Server]) -> None:
    path = wish.wanted.model_config_path
    if path is not None:
        addresses = tuple(Address(ip_addr=one.ip, port=one.port) for one in servers)
        write_model_config(path, ModelConfig(models={servers[0].model: addresses}, config_path=str(path)))
    if wish.as_json:
        click.echo(json.dumps([_as_json(one) for one in servers]))
        return
    width = max(len(one.id) for one in servers)
    for one in servers:
        click.echo(f"{one.id:<{width}}  {one.served_name}  {one.url if one.ip else 'waits for its turn'}")
    for line in _advice(wish, servers):
        click.echo(line)


def _advice(wish: Wish, servers: Sequence[Server]) -> Iterator[str]:
    """What to type next."""
    registry = "" if wish.registry == Path("services.txt") else f" --registry {shlex.quote(str(wish.registry))}"
    if wish.wanted.launcher != "local":
        yield f"wait for them: inference wait --min-healthy {len(servers)}{registry}"
    yield f'use them: eval "$(inference export{registry})"'
    if wish.wanted.launcher == "local" and not wish.wanted.detach:
        yield "stop them: Ctrl-C"
        return
    stop = "cancel" if wish.wanted.launcher == "slurm" else "down"
    yield f"stop them: inference {stop} {' '.join(one.id for one in servers)}{registry}"


def _as_json(server: Server) -> dict[str, object]:
    return {
        "id": server.id,
        "engine": server.engine,
        "model": server.model,
        "served_name": server.served_name,
        "host": server.host,
        "url": server.url if server.ip else None,
        "port": server.port or None,
        "log": str(server.log) if server.log else None,
    }


def _say(text: str) -> None:
    click.echo(f"inference: {text}", err=True)
