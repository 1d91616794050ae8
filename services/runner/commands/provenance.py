"""`assay provenance`: the images of a compose file by their digests."""

from __future__ import annotations

from pathlib import Path

import click

from services.runner.command_line import ending, print_json
from services.runner.failures import EXIT_CODES_HELP

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(epilog=EXIT_CODES_HELP)
@click.option("--compose", type=_FILE, required=True, metavar="FILE", help="The compose file that was run.")
@click.option("--output", type=_FILE, required=True, metavar="FILE", help="Where the JSON goes.")
@click.option("--json", "as_json", is_flag=True, help="Print the provenance instead of a sentence.")
def command(*, compose: Path, output: Path, as_json: bool) -> None:
    """Record which images the services of a compose file run, by digest, and write it as leaderboards keep it."""
    from services.runner.image_provenance import ProvenanceError, record  # noqa: PLC0415
    from services.runner.report.results_file import write_json  # noqa: PLC0415

    with ending():
        provenance = record(compose)
        try:
            write_json(output, provenance)
        except OSError as error:
            raise ProvenanceError(f"{output} cannot be written: {error}") from None
    if as_json:
        print_json(provenance)
        return
    digests = provenance["image_digests"]
    click.echo(f"{output}: {len(digests) if isinstance(digests, dict) else 0} images")
