"""A click group whose commands are modules: loaded when they are called, so that `--help` imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """Each module `<package>.<prefix><name>` of `table` has a click command named `command`."""

    def __init__(self, *args: Any, package: str, table: Mapping[str, str], prefix: str = "", **attributes: Any) -> None:
        """`table`: name to what it does, in one line."""
        super().__init__(*args, **attributes)
        self._modules = f"{package}.{prefix}"
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """The names of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Load a command."""
        if cmd_name not in self._table:
            return None
        found: click.Command = import_module(self._modules + cmd_name).command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Names and what they do."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._table.items()))
