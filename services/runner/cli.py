"""The command `assay`: runs scenarios, resumes them, shows results. Other services' commands are found as entry points.

Every command is loaded when it is called, so that `--help` is quick.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

import click

from services.contract.lazy_group import LazyGroup
from services.runner.failures import EXIT_CODES_HELP

COMMANDS_GROUP: Final = "assay.commands"
COMMANDS: Final = {
    "audit": "Play every known exploit against every benchmark.",
    "demo": "Run a small assessment here, with an engine that needs no model.",
    "evaluate": "Measure a served model on code and mathematics.",
    "export": "Write the result of a run in a form other tools read.",
    "leaderboard": "Rank a folder of results, ours and old ones.",
    "merge": "Make one result of the results of shards.",
    "pack": "Write a run as a submission to a leaderboard.",
    "provenance": "Record the images of a compose file by their digests.",
    "report": "Write the report of a run again.",
    "rescore": "Score stored transcripts again, without an agent.",
    "results": "Look at stored runs.",
    "resume": "Run what a run still lacks.",
    "run": "Run a scenario, or compare agents on one plan.",
    "scenario": "Check scenario files and write what other platforms run.",
}
"""The modules of `commands/`; each has a click command of its own, named `command`."""


class Commands(LazyGroup):
    """Our commands, and one group for each other service that is installed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Ours first, then the services'."""
        return [*super().list_commands(ctx), *sorted(_services())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a service's command when it is asked for."""
        services = _services()
        if cmd_name in COMMANDS or cmd_name not in services:
            return super().get_command(ctx, cmd_name)
        return _loaded(services[cmd_name])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A service's commands are its own to tell."""
        super().format_commands(ctx, formatter)
        if services := sorted(_services()):
            with formatter.section("Services"):
                formatter.write_dl([(name, f"Same as the command of the {name} service.") for name in services])


def _services() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=COMMANDS_GROUP)}


def _loaded(entry: EntryPoint) -> click.Command:
    try:
        command = entry.load()
    except ImportError as error:
        raise click.ClickException(
            f"`assay {entry.name}` needs the extra of that service: pip install 'assay[{entry.name}]' ({error})"
        ) from None
    if not isinstance(command, click.Command):
        raise click.ClickException(f"{entry.value} is no command")
    return command


@click.group(
    cls=Commands,
    package="services.runner.commands",
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES_HELP,
)
@click.version_option(package_name="assay", prog_name="assay")
def main() -> None:
    """Weigh AI agents: run assessments over A2A, keep every trial, and say what the numbers mean."""
