"""The command `purple-agent`, also `assay purple`: serves the agent under test, or a baseline in its place."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from services.contract.a2a.options import server_options
from services.contract.env_file import SETTLED

if TYPE_CHECKING:
    from services.contract.a2a.settings import ServerSettings
    from services.contract.endpoints import Endpoint
    from services.purple_agent.baselines.twists import Twist
    from services.purple_agent.server import Purple
    from services.purple_agent.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

DOT_ENV: Final = Path(".env")
_ENDPOINT_VARIABLES: Final = {
    "model": "LLM_MODEL",
    "temperature": "PURPLE_LLM_TEMPERATURE",
    "top_p": "PURPLE_TOP_P",
    "top_k": "PURPLE_TOP_K",
    "max_tokens": "PURPLE_MAX_TOKENS",
}
"""Flags that stand for a variable of the endpoint."""
_OF_CHAINS: Final = frozenset({"self_eval_sequential"})
_WITH_TOOLS: Final = frozenset({"direct", "baseline", "self_eval_sequential"})
_ONLY_OF: Final = {
    "iterations": _OF_CHAINS,
    "verify_temperature": _OF_CHAINS,
    "decide_temperature": _OF_CHAINS,
    "refine_temperature": _OF_CHAINS,
    "on_undecided": _OF_CHAINS,
    "max_prompt_tokens": _OF_CHAINS,
    "stop_after_accepts": _OF_CHAINS,
    "max_tool_calls": _WITH_TOOLS,
    "sandbox_url": _WITH_TOOLS,
    "simulation_date": _WITH_TOOLS,
    "emit_tool_calls": _WITH_TOOLS,
}
"""Flags that not every strategy reads, with those that do."""


def _chain_options(command: Callable[P, R]) -> Callable[P, R]:
    """The flags of `self_eval_sequential`; their defaults are those of the settings."""
    options = (
        click.option(
            "--iterations",
            type=int,
            help="Of self_eval_sequential, like the next six: how often it checks.  [default: 8]",
            **_variable("ITERATIONS"),
        ),
        click.option("--verify-temperature", type=float, help="[default: 0.0]", **_variable("VERIFY_TEMPERATURE")),
        click.option("--decide-temperature", type=float, help="[default: 0.0]", **_variable("DECIDE_TEMPERATURE")),
        click.option("--refine-temperature", type=float, help="[default: 0.7]", **_variable("REFINE_TEMPERATURE")),
        click.option(
            "--on-undecided",
            help="keep or refine: what to do without a clear verdict.  [default: keep]",
            **_variable("ON_UNDECIDED"),
        ),
        click.option(
            "--max-prompt-tokens",
            type=int,
            help="Longer steps are left out.  [default: 120000]",
            **_variable("MAX_PROMPT_TOKENS"),
        ),
        click.option(
            "--stop-after-accepts",
            type=int,
            help="In a row; 0 holds all iterations.  [default: 0]",
            **_variable("STOP_AFTER_ACCEPTS"),
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _variable(name: str) -> dict[str, Any]:
    return {"envvar": f"PURPLE_{name}", "show_envvar": True}


@click.group()
@click.option(
    "--env-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Variables; the process environment beats them.  [default: .env here, if there is one]",
)
def main(*, env_file: Path | None) -> None:
    """The agent under test: a model with tools, or a baseline without one, behind A2A."""
    if env_file is not None:
        _read_variables(env_file)
    elif DOT_ENV.is_file() and SETTLED not in os.environ:
        _read_variables(DOT_ENV)


@main.command()
@server_options(port=9010)
@click.option("--baseline", metavar="NAME[:ARG]", help="Answer without a model; see `purple-agent baselines`.")
@click.option("--model", envvar="LLM_MODEL", show_envvar=True, help="Name of the model at the endpoint.")
@click.option(
    "--strategy",
    default="direct",
    show_default=True,
    envvar="PURPLE_STRATEGY",
    show_envvar=True,
    help="direct, also called baseline: one answer per message, with tools. self_eval_sequential: it checks and mends its "
    "answer. completion: a base model goes on after the message.",
)
@click.option("--temperature", envvar="PURPLE_LLM_TEMPERATURE", show_envvar=True, help="[default: 0.0]")
@click.option("--top-p", envvar="PURPLE_TOP_P", show_envvar=True, help="[default: 1.0]")
@click.option("--top-k", envvar="PURPLE_TOP_K", show_envvar=True, help="Engines only.  [default: not sent]")
@click.option("--max-tokens", envvar="PURPLE_MAX_TOKENS", show_envvar=True, help="Of one completion.  [default: 4096]")
@click.option(
    "--max-tool-calls",
    type=int,
    envvar="PURPLE_MAX_TOOL_CALLS",
    show_envvar=True,
    help="For one message; 0 offers no tools.  [default: 25]",
)
@_chain_options
@click.option(
    "--seed", type=int, envvar="PURPLE_SEED", show_envvar=True, help="Base of the sampling seeds.  [default: 0]"
)
@click.option(
    "--reply-timeout",
    "reply_timeout_s",
    type=float,
    metavar="SECONDS",
    help="A net below the evaluator's own deadline.  [default: 21600]",
)
@click.option(
    "--sandbox-url",
    envvar="PURPLE_SANDBOX_URL",
    show_envvar=True,
    help="Sandbox service; without it no execute_python.",
)
@click.option(
    "--simulation-date",
    envvar="SIMULATION_DATE",
    show_envvar=True,
    metavar="YYYY-MM-DD",
    help="The agent's today; dated tools show nothing later.",
)
@click.option("--twist", metavar="NAME[:ARG]", help="Spoil or puff up the model's answers, for testing evaluators.")
@click.option("--emit-tool-calls", is_flag=True, help="Also send the artifact `tool_calls`.")
@click.option(
    "--max-concurrency", type=click.IntRange(1, 4096), default=64, show_default=True, help="Messages at once."
)
@click.option("--verbose", "-v", is_flag=True, help="Log each tool call.")
def serve(*, settings: ServerSettings, baseline: str | None, max_concurrency: int, verbose: bool, **flags: Any) -> None:
    """Serve the agent until SIGTERM.

    The model endpoint comes from LLM_ENDPOINT_FILE, OPENAI_API_BASE or OPENAI_BASE_URL with OPENAI_API_KEY, or from
    ANTHROPIC_API_KEY; LLM_PROVIDER chooses between them. `inference up reference` gives an endpoint without a model.
    """
    from services.contract.telemetry import configure  # noqa: PLC0415 - keeps `--help` fast

    configure("purple-agent", verbose=verbose)
    if baseline is not None:
        _refuse_model_flags([*flags])
        sys.exit(_with_baseline(baseline, settings, max_concurrency).serve())
    emit_tool_calls = flags.pop("emit_tool_calls")
    twist = _twist(flags.pop("twist"))
    of_endpoint = {name: flags.pop(name) for name in _ENDPOINT_VARIABLES}
    agent_settings = _settings(flags)
    _refuse_unread_flags(agent_settings.strategy)
    endpoint = _endpoint(of_endpoint)
    if agent_settings.strategy == "completion" and endpoint.provider != "openai":
        raise click.UsageError(
            "--strategy completion needs an OpenAI-compatible engine; Anthropic serves no base models"
        )
    from services.purple_agent.server import with_model  # noqa: PLC0415 - likewise

    purple = with_model(
        endpoint,
        agent_settings,
        server=settings,
        max_concurrency=max_concurrency,
        emit_tool_calls=emit_tool_calls,
        twist=twist,
    )
    sys.exit(purple.serve())


@main.command()
def baselines() -> None:
    """List the agents without a model and the exploit each stands for."""
    from services.purple_agent.baselines.registry import BASELINES  # noqa: PLC0415 - keeps `--help` fast

    for name, entry in BASELINES.items():
        click.echo(f"{name:18} {entry.exploit}")


def _read_variables(path: Path) -> None:
    """Add the file's variables to those of the process, which stay as they are."""
    from services.contract.env_file import EnvFileError, read_env_file  # noqa: PLC0415 - keeps `--help` fast

    try:
        found = read_env_file(path)
    except EnvFileError as error:
        raise click.UsageError(str(error)) from None
    for name, value in found.items():
        os.environ.setdefault(name, value)


def _refuse_model_flags(names: list[str]) -> None:
    """A flag without an effect is a mistake; a variable may be set for other agents."""
    if given := _given_flags(names):
        raise click.UsageError(f"--baseline answers without a model, so {given} would have no effect")


def _refuse_unread_flags(strategy: str) -> None:
    """Likewise among strategies."""
    if given := _given_flags([name for name, readers in _ONLY_OF.items() if strategy not in readers]):
        raise click.UsageError(f"--strategy {strategy} does not read {given}, which would have no effect")


def _given_flags(names: list[str]) -> str:
    """Those of the flags that stand on the command line, as they are written there."""
    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    return ", ".join(f"--{name.removesuffix('_s').replace('_', '-')}" for name in given)


def _with_baseline(spec: str, settings: ServerSettings, max_concurrency: int) -> Purple:
    from services.purple_agent.baselines.registry import BaselineError, baseline  # noqa: PLC0415 - keeps `--help` fast

    try:
        chosen = baseline(spec)
    except BaselineError as error:
        raise click.UsageError(str(error)) from None
    from services.purple_agent.server import with_baseline  # noqa: PLC0415 - likewise

    return with_baseline(chosen, server=settings, max_concurrency=max_concurrency)


def _twist(spec: str | None) -> Twist | None:
    from services.purple_agent.baselines.twists import TwistError, twist  # noqa: PLC0415 - likewise

    try:
        return None if spec is None else twist(spec)
    except TwistError as error:
        raise click.UsageError(f"--twist: {error}") from None


def _endpoint(flags: dict[str, str | None]) -> Endpoint:
    """The endpoint of the environment, with what flags say in the place of their variables."""
    from services.contract.endpoints import EndpointError, endpoint_from_environment  # noqa: PLC0415 - likewise

    given = {_ENDPOINT_VARIABLES[name]: value for name, value in flags.items() if value is not None}
    try:
        return endpoint_from_environment({**os.environ, **given}, role="agent")
    except EndpointError as error:
        raise click.UsageError(str(error)) from None


def _settings(flags: dict[str, Any]) -> Settings:
    """Flags that were given; the model keeps the defaults of the others."""
    from pydantic import ValidationError  # noqa: PLC0415 - likewise

    from services.purple_agent.settings import Settings  # noqa: PLC0415 - likewise

    try:
        return Settings.model_validate({name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        faults = (f"{fault['loc'][0]}: {fault['msg']}, got {fault['input']!r}" for fault in error.errors())
        raise click.UsageError("; ".join(faults)) from None
