"""`inference export`: the servers as environment variables, for `eval` or `source` in a shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.inference.commands.options import json_option, only_model_option, registry_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.inference.servers.living import Living


@click.command()
@registry_option
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write, such as env_vars.sh."
)
@click.option("--single", is_flag=True, help="One URL in every variable, for programs that take no list.")
@click.option("--timeout", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Seconds for each server.")
@only_model_option
@json_option
def command(
    *, registry: Path, output: Path | None, single: bool, timeout: float, model: str | None, as_json: bool
) -> None:
    """Print the servers that are ready as shell lines: eval "$(inference export)".

    Sets OPENAI_API_BASE, SGLANG_API_BASES, OPENAI_BASE_URL, LLM_MODEL, and OPENAI_API_KEY where it has no value.
    """
    import asyncio  # noqa: PLC0415 - keeps --help fast
    import shlex  # noqa: PLC0415

    from services.contract.endpoint_files import replace_text  # noqa: PLC0415
    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.inference.failures import UsageError  # noqa: PLC0415
    from services.inference.servers.living import living, of_one_model  # noqa: PLC0415

    configure("inference")
    found = asyncio.run(
        living(registry, model=model, healthy=True, timeout_s=timeout, says=lambda words: click.echo(words, err=True))
    )
    for file in dict.fromkeys(server.key_file for server in found if server.key_file):
        click.echo(f'these servers want a key: export OPENAI_API_KEY="$(cat {shlex.quote(file)})"', err=True)
    values = variables(of_one_model(found, where=str(registry)), single=single)
    text = json.dumps(values) if as_json else shell_lines(values)
    if output is None:
        click.echo(text)
        return
    try:
        replace_text(output, f"{text}\n")
    except OSError as error:
        raise UsageError(f"-o {output}: {error.strerror}") from error
    click.echo(f"{output}: {values['OPENAI_API_BASE']}", err=True)


def variables(found: Sequence[Living], *, single: bool) -> dict[str, str]:
    """The variables and their values. Lists name replicas; OPENAI_BASE_URL, which takes no list, the router or the first."""
    replicas = [server.url for server in found if not server.router]
    first = next((server.url for server in found if server.router), replicas[0] if replicas else "")
    listed = first if single or not replicas else ",".join(replicas)
    return {
        "OPENAI_API_BASE": listed,
        "SGLANG_API_BASES": listed,
        "OPENAI_BASE_URL": first,
        "LLM_MODEL": found[0].model,
    }


def shell_lines(values: dict[str, str]) -> str:
    """As a POSIX shell reads them. A key that is set stays, and is never written here."""
    import shlex  # noqa: PLC0415 - keeps --help fast

    lines = [f"export {name}={shlex.quote(value)}" for name, value in values.items()]
    return "\n".join([*lines, ': "${OPENAI_API_KEY:=none}"', "export OPENAI_API_KEY"])
