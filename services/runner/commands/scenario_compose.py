"""`assay scenario compose`: a scenario as a compose file that runs it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.runner.command_line import ending, print_json
from services.runner.commands.scenario_options import (
    env_file_option,
    literal_secrets_option,
    read_asked,
    reading_options,
    resolving_options,
)
from services.runner.failures import EXIT_CODES_HELP

if TYPE_CHECKING:
    from services.runner.scenario import Scenario
    from services.runner.scenario.compose import Client, ComposeProject

RUN = "docker compose up --timestamps --no-color --exit-code-from agentbeats-client --abort-on-container-exit"


@click.command(epilog=EXIT_CODES_HELP)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    metavar="DIR",
    help="For the files.",
)
@click.option(
    "--client",
    type=click.Choice(["agentbeats", "assay"]),
    default="agentbeats",
    show_default=True,
    help="Who asks green: the platform's client, or our runner, which keeps a journal and reports.",
)
@click.option("--isolate", is_flag=True, help="Each participant reaches its model and nothing else.")
@resolving_options
@reading_options
@env_file_option
@literal_secrets_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of lines.")
def command(
    *,
    file: Path,
    output: Path,
    client: Client,
    isolate: bool,
    resolve: Path | None,
    offline: bool,
    any_config: bool,
    allow_image: bool,
    env_file: Path | None,
    allow_literal_secrets: bool,
    as_json: bool,
) -> None:
    """Write docker-compose.yml, a2a-scenario.toml and .env.example of the scenario FILE into DIR.

    Values of variables are never written: `.env` beside the compose file holds them.
    """
    from services.runner.failures import ScenarioError  # noqa: PLC0415
    from services.runner.scenario.compose import ComposeOptions, compose_project  # noqa: PLC0415
    from services.runner.scenario.images import ImageSource, with_images  # noqa: PLC0415

    with ending():
        scenario = read_asked(file, any_config=any_config, allow_image=allow_image)
        source = ImageSource.of(resolve, offline=offline)
        missing = _missing(scenario, env_file)
        scenario = asyncio.run(with_images(scenario, source))
        options = ComposeOptions(client=client, isolate=isolate, allow_literal_secrets=allow_literal_secrets)
        project = compose_project(scenario, options)
        try:
            written = project.write(output)
        except OSError as error:
            raise ScenarioError(f"{output}: cannot be written ({error})") from None
    _print(project, written, missing, as_json=as_json)


def _missing(scenario: Scenario, env_file: Path | None) -> list[str]:
    from services.runner.participants import variables_for  # noqa: PLC0415
    from services.runner.scenario.variables import missing_variables  # noqa: PLC0415

    known = variables_for(scenario, env_file)
    token = scenario.green.token_env
    missing = {variable.name for variable in missing_variables(scenario, known)}
    return sorted(missing if token is None or known.get(token) else {*missing, token})


def _print(project: ComposeProject, written: tuple[Path, ...], missing: list[str], *, as_json: bool) -> None:
    images = {name: service.image for name, service in project.compose.services.items()}
    if as_json:
        print_json(
            {
                "files": [str(path) for path in written],
                "images": images,
                "variables": list(project.variables),
                "missing": missing,
                "notes": list(project.notes),
            }
        )
        return
    for path in written:
        click.echo(path)
    for name, image in images.items():
        click.echo(f"  {name}: {image}")
    if missing:
        click.echo(f"not set here, to be set in {written[0].parent / '.env'}: {', '.join(missing)}")
    for note in project.notes:
        click.echo(f"note: {note}")
    click.echo(f"run it there: {RUN}")
