"""`assay scenario`: scenario files checked, and written as other platforms run them."""

from __future__ import annotations

from typing import Final

import click

from services.contract.lazy_group import LazyGroup

COMMANDS: Final = {
    "check": "Is this scenario right, and what does it need?",
    "compose": "Write a compose file that runs it.",
    "amber": "Write the Amber manifests of it.",
}


@click.group(cls=LazyGroup, package="services.runner.commands", prefix="scenario_", table=COMMANDS)
def command() -> None:
    """Scenario files: who takes part and what is asked."""
