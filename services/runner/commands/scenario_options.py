"""Options that the commands about scenario files share; no command itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from services.runner.failures import ScenarioError

if TYPE_CHECKING:
    from services.runner.scenario import Scenario

F = TypeVar("F", bound=Callable[..., Any])
_FILE: Any = click.Path(path_type=Path, dir_okay=False)


def reading_options(command: F) -> F:
    """`--any-config` and `--allow-image`, by the same names for `read_scenario`."""
    any_config = click.option("--any-config", is_flag=True, help="Green is not Assay's: do not check [config].")
    image = click.option("--allow-image", is_flag=True, help="Accept agents named by image in a GitHub workflow.")
    return any_config(image(command))


def resolving_options(command: F) -> F:
    """`--resolve FILE` and `--offline`, for `ImageSource.of`."""
    table = click.option("--resolve", type=_FILE, metavar="FILE", help="JSON or TOML: agentbeats_id -> image.")
    offline = click.option("--offline", is_flag=True, help="Do not ask agentbeats.dev for the images of ids.")
    return table(offline(command))


def env_file_option(command: F) -> F:
    """`--env-file FILE`."""
    return click.option("--env-file", type=_FILE, metavar="FILE", help="Variables; default .env beside the scenario.")(
        command
    )


def literal_secrets_option(command: F) -> F:
    """`--allow-literal-secrets`."""
    return click.option(
        "--allow-literal-secrets", is_flag=True, help="Keep secrets that stand in env as they are written."
    )(command)


def read_asked(path: Path, *, any_config: bool, allow_image: bool) -> Scenario:
    """Read a scenario as the options say. Raises ScenarioError, with `--any-config` as a way out where it is one."""
    from services.runner.scenario import read_scenario  # noqa: PLC0415

    try:
        return read_scenario(path, any_config=any_config, allow_image=allow_image)
    except ScenarioError as error:
        strange = [fault for fault in error.faults if fault.startswith(f"{path}: config.") and "unknown key" in fault]
        hint = "for a green agent that is not Assay's, --any-config passes [config] on as it is"
        raise ScenarioError(*error.faults, *([hint] if strange else [])) from None
