"""The flags that every server of ours shares."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from services.contract.a2a.settings import ServerSettings
from services.contract.secrets import register_secret

Command = TypeVar("Command", bound=Callable[..., Any])


def server_options(*, port: int) -> Callable[[Command], Command]:
    """Add the server flags to a command, which receives them as one keyword `settings: ServerSettings`.

    `port` is the default of `--port`. Put it below `@click.command`.
    """

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def with_settings(*args: Any, auth_token_env: str | None, card_dialect: Any, **flags: Any) -> Any:
            own = ("host", "port", "card_url", "rest", "ready_file")
            _check_places(flags["card_url"], flags["ready_file"])
            settings = ServerSettings(
                **{name: flags.pop(name) for name in own},
                card_dialect=card_dialect,
                auth_token=_token(auth_token_env),
            )
            return command(*args, settings=settings, **flags)

        decorated: Any = with_settings
        for option in reversed(_options(port)):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return] # click returns what it was given

    return decorate


def _options(port: int) -> list[Callable[[Any], Any]]:
    return [
        click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
        click.option(
            "--port", type=click.IntRange(0, 65535), default=port, show_default=True, help="0 takes a free port."
        ),
        click.option("--card-url", metavar="URL", help="Address in the agent card.  [default: http://HOST:PORT/]"),
        click.option(
            "--card-dialect",
            type=click.Choice(["both", "1.0"]),
            default="both",
            show_default=True,
            help="A2A dialects that the card lists.",
        ),
        click.option("--rest", is_flag=True, help="Also serve the HTTP+JSON interface."),
        click.option("--auth-token-env", metavar="NAME", help="Variable with the bearer token that peers must send."),
        click.option(
            "--ready-file",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Write the base URL there once the server listens.",
        ),
    ]


def _check_places(card_url: str | None, ready_file: Path | None) -> None:
    """What could only go wrong once the port is open, or, worse, at a peer that reads the card."""
    try:
        parts = urlsplit(card_url or "http://unset/")
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and "@" not in parts.netloc
        usable = usable and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.UsageError(f"--card-url: expected http://HOST[:PORT]/, got {card_url!r}")
    if ready_file is not None and not ready_file.absolute().parent.is_dir():
        raise click.UsageError(f"--ready-file: there is no folder {str(ready_file.parent)!r}")


def _token(variable: str | None) -> str | None:
    if variable is None:
        return None
    token = os.environ.get(variable, "")
    if not token:
        raise click.UsageError(f"--auth-token-env names {variable}, which is not set")
    register_secret(token)
    return token
