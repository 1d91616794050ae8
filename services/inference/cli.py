"""`inference`: model servers planned, started, found again, examined and stopped. Commands are loaded when they are called."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

import click

_COMMANDS: Final = {
    "plan": "Will this model run on these GPUs?",
    "up": "Start servers of a model.",
    "down": "Stop servers of the registry.",
    "wait": "Wait until servers are ready.",
    "list": "Show the servers of the registry.",
    "health": "Ask every server whether it is well.",
    "urls": "Print the servers' base URLs.",
    "export": "Print the servers as environment variables.",
    "cancel": "Stop servers, SLURM jobs included.",
    "doctor": "Is this endpoint fit to be measured?",
    "compose": "Write a compose file for servers of a model.",
}


class _Commands(click.Group):
    """The modules of `commands/`; each has a click command of its own name. Nothing of them is imported for `--help`."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        found: click.Command = import_module(f"services.inference.commands.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        from services.inference.failures import InferenceError  # noqa: PLC0415 - keeps --help fast

        try:
            return super().invoke(ctx)
        except InferenceError as error:
            click.echo(f"inference: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="assay")
def main() -> None:
    """Where models come from.

    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 does not fit, 4 not ready in time or unreachable,
    130 interrupted.
    """
