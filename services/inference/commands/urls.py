"""`inference urls`: where the running servers are."""

from __future__ import annotations

import json
from pathlib import Path

import click

from services.inference.commands.options import json_option, only_model_option, registry_option


@click.command()
@registry_option
@click.option("--healthy", is_flag=True, help="Only servers that are ready just now.")
@click.option("--sep", default="\n", help="What stands between URLs, such as a comma.  [default: a new line]")
@click.option("--timeout", default=5.0, show_default=True, type=click.FloatRange(0.1), help="Seconds, for --healthy.")
@only_model_option
@json_option
def command(*, registry: Path, healthy: bool, sep: str, timeout: float, model: str | None, as_json: bool) -> None:
    """Print the base URLs of running servers, ending in /v1. None is exit code 4, never an empty list."""
    import asyncio  # noqa: PLC0415 - keeps --help fast

    from services.contract.telemetry import configure  # noqa: PLC0415
    from services.inference.servers.living import living  # noqa: PLC0415

    configure("inference")
    found = asyncio.run(
        living(
            registry, model=model, healthy=healthy, timeout_s=timeout, says=lambda words: click.echo(words, err=True)
        )
    )
    urls = [server.url for server in found]
    click.echo(json.dumps({"urls": urls}) if as_json else sep.join(urls))
