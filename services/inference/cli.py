"""`inference`: model servers planned, started, found again, examined and stopped. Commands are loaded when they are called."""

from __future__ import annotations

import sys
from typing import Any, Final

import click

from services.contract.lazy_group import LazyGroup

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


class _Commands(LazyGroup):
    """Ends the process with the code of what went wrong."""

    def invoke(self, ctx: click.Context) -> Any:
        from services.inference.failures import InferenceError  # noqa: PLC0415 - keeps --help fast

        try:
            return super().invoke(ctx)
        except InferenceError as error:
            click.echo(f"inference: {error}", err=True)
            sys.exit(error.exit_code)
        except KeyboardInterrupt:
            sys.exit(130)


@click.group(
    cls=_Commands,
    package="services.inference.commands",
    table=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="assay")
def main() -> None:
    """Where models come from.

    Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 does not fit, 4 not ready in time or unreachable,
    130 interrupted.
    """
