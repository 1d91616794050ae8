"""`assay scenario check`: whether a scenario file is right, and what it needs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.runner.command_line import ending, print_json
from services.runner.commands.scenario_options import env_file_option, read_asked, reading_options, resolving_options
from services.runner.failures import ExitCode, ScenarioError

if TYPE_CHECKING:
    from services.runner.scenario import Scenario
    from services.runner.scenario.checking import Check, CheckedAgent, CheckedVariable
    from services.runner.scenario.images import ImageSource


@click.command(epilog="Exit codes: 0 right, and every variable is there; 2 otherwise, with every fault named.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
@env_file_option
@resolving_options
@reading_options
def command(
    *,
    file: Path,
    as_json: bool,
    env_file: Path | None,
    resolve: Path | None,
    offline: bool,
    any_config: bool,
    allow_image: bool,
) -> None:
    """Check FILE: a scenario in TOML, or the scenario.json5 of Amber with the manifests beside it.

    Lists its agents, their images and the variables they need, set or missing, never a value. Asks nobody: the image of an id is
    looked up when the scenario runs, unless --resolve names it.
    """
    with ending():
        from services.runner.environment import variables_beside  # noqa: PLC0415
        from services.runner.scenario.images import ImageSource  # noqa: PLC0415
        from services.runner.scenario.reading import is_amber  # noqa: PLC0415

        images = ImageSource.of(resolve, offline=offline)
        variables = variables_beside(file, env_file)
        if is_amber(file):
            _refuse_idle_options(resolve=resolve is not None, offline=offline, allow_image=allow_image)
            check = _amber(file, variables, any_config=any_config)
        else:
            scenario = read_asked(file, any_config=any_config, allow_image=allow_image)
            check = _toml(scenario, file, variables, images)
        if as_json:
            print_json(check.model_dump(mode="json") | {"ok": check.ok})
            sys.exit(ExitCode.COMPLETE if check.ok else ExitCode.USAGE)
        _print(check)
        if check.faults:
            raise ScenarioError(*(f"{file}: {fault}" for fault in check.faults))


def _toml(scenario: Scenario, file: Path, variables: Mapping[str, str], images: ImageSource) -> Check:
    from services.runner.scenario.checking import check_scenario  # noqa: PLC0415

    return check_scenario(scenario, path=str(file), variables=variables, images=images)


def _amber(file: Path, variables: Mapping[str, str], *, any_config: bool) -> Check:
    from services.runner.scenario.amber import read_amber  # noqa: PLC0415
    from services.runner.scenario.checking import check_amber  # noqa: PLC0415

    return check_amber(read_amber(file, any_config=any_config), variables=variables)


def _refuse_idle_options(**given: bool) -> None:
    """Manifests name their images themselves."""
    if names := [f"--{name.replace('_', '-')}" for name, value in given.items() if value]:
        raise click.UsageError(f"{', '.join(names)} would have no effect on Amber manifests")


def _print(check: Check) -> None:
    rows: list[tuple[str, str, str]] = [(agent.role, agent.kind, _what(agent)) for agent in check.agents]
    rows += [(one.name, _state(one), f"for {', '.join(one.used_by)}" if one.used_by else "") for one in check.variables]
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    for row in rows:
        click.echo(f"{row[0]:<{first}}  {row[1]:<{second}}  {row[2]}".rstrip())
    for warning in check.warnings:
        click.echo(f"warning: {warning}", err=True)
    if check.ok:
        click.echo(f"{check.path}: right")


def _what(agent: CheckedAgent) -> str:
    if agent.kind == "id":
        return f"{agent.agentbeats_id}: {agent.image or 'its image is looked up when the scenario runs'}"
    if agent.kind == "manifest":
        return f"{agent.manifest}: {agent.image or 'elsewhere, not fetched'}"
    return agent.image or agent.endpoint or ""


def _state(variable: CheckedVariable) -> str:
    if variable.is_set:
        return "set"
    return "missing" if variable.needed else "default"
