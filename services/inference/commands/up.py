"""`inference up MODEL`: servers of a model, here, in containers or on SLURM."""

from __future__ import annotations

import click

from services.inference.commands.reference import reference


class _Up(click.Group):
    """`up reference` has options of its own; any other word is a model."""


@click.group(cls=_Up)
def command() -> None:
    """Start servers of a model."""


command.add_command(reference)
