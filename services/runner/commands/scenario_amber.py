"""`assay scenario amber`: a scenario as the manifests that Amber compiles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.runner.command_line import call, ending, print_json
from services.runner.commands.scenario_options import literal_secrets_option, reading_options, resolving_options
from services.runner.failures import RunnerError

if TYPE_CHECKING:
    from services.runner.scenario.amber.names import SecretNames


class UnwrittenError(RunnerError):
    """The manifests could not be written."""


def _by_role(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if wrong := [role for role, equals, command in pairs if not (role and equals and command.strip())]:
        raise click.BadParameter(f"expected ROLE=COMMAND, got {wrong[0]!r}")
    if len({role for role, _, _ in pairs}) < len(pairs):
        raise click.BadParameter("a role is given twice")
    return {role: command for role, _, command in pairs}


@click.command("amber")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o", "--output", "folder", type=click.Path(path_type=Path, file_okay=False), required=True, metavar="DIR"
)
@click.option(
    "--secret-names",
    type=click.Choice(["flat", "per-role"]),
    default="flat",
    show_default=True,
    help="flat: openai_api_key for all; per-role: green_openai_api_key and so on, as Quick Submit names them.",
)
@click.option(
    "--entrypoint",
    "entrypoints",
    multiple=True,
    callback=_by_role,
    metavar="ROLE=COMMAND",
    help="Command of an image that is not Assay's; Amber replaces the image's own. Can be repeated.",
)
@resolving_options
@literal_secrets_option
@reading_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    *,
    file: Path,
    folder: Path,
    secret_names: SecretNames,
    entrypoints: dict[str, str],
    resolve: Path | None,
    offline: bool,
    allow_literal_secrets: bool,
    any_config: bool,
    allow_image: bool,
    as_json: bool,
) -> None:
    """Write FILE as Amber manifests: scenario.json5, green.json5 and one for each participant.

    Files of these names in DIR are replaced. Secrets are never written, but named.
    """
    from services.runner.scenario import read_scenario  # noqa: PLC0415
    from services.runner.scenario.amber import AmberFiles, amber_files  # noqa: PLC0415
    from services.runner.scenario.images import ImageSource, with_images  # noqa: PLC0415

    async def write() -> AmberFiles:
        source = ImageSource.of(resolve, offline=offline)
        scenario = await with_images(read_scenario(file, any_config=any_config, allow_image=allow_image), source)
        return amber_files(
            scenario,
            secret_names=secret_names,
            entrypoints=entrypoints,
            allow_literal_secrets=allow_literal_secrets,
        )

    written = call(write)
    with ending():
        _write(folder, written.texts)
    paths = [str(folder / name) for name in written.texts]
    if as_json:
        print_json({"files": paths, "notes": list(written.notes)})
        return
    for note in written.notes:
        click.echo(f"assay: {note}", err=True)
    for path in paths:
        click.echo(path)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnwrittenError(f"{folder}: the manifests cannot be written ({error}); choose another folder") from None
