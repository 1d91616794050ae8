"""`assay merge`: one result of the results of shards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from services.runner.command_line import ending, print_json

if TYPE_CHECKING:
    from services.runner.submissions.merging import Merged

_EXIT_CODES = """\b
Exit codes:
  0    merged; whether every planned trial was scored stands in the file
  1    the files do not belong together, one is broken, or OUT cannot be written
  2    usage wrong
"""


@click.command(epilog=_EXIT_CODES)
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The results file to write."
)
@click.option("--partial", is_flag=True, help="Merge although shards are missing; their trials count as not scored.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a table.")
def command(*, files: tuple[Path, ...], output: Path, partial: bool, as_json: bool) -> None:
    """Make one result of the results of all shards of a plan, with the numbers of the unsharded run.

    A FILE holds one result or several: results files, platform files and bare artifacts of green. Everything is counted again
    from plan and rows. Files that do not belong together end with code 1 and every reason.
    """
    from services.runner.report.results_file import write_json  # noqa: PLC0415
    from services.runner.submissions.merging import merge  # noqa: PLC0415
    from services.runner.submissions.shards import read_shards  # noqa: PLC0415

    if output.resolve() in {file.resolve() for file in files}:
        raise click.BadParameter(f"{output} is one of the files to merge; name another", param_hint="--output")
    with ending():
        merged = merge(read_shards(files), partial=partial)
        write_json(output, merged.document)
    if as_json:
        print_json(_object(merged, output))
    else:
        click.echo(_text(merged, output))


def _object(merged: Merged, output: Path) -> dict[str, object]:
    result = merged.result
    return {
        "output": str(output),
        "status": merged.document["status"],
        "shards": merged.shards,
        "shards_missing": list(merged.missing),
        "complete": result.evaluation_metadata["complete"],
        "overall_score": result.overall_score.model_dump(mode="json"),
        "sections": [section.model_dump(mode="json") for section in result.sections],
        "labels": [banner.title for banner in merged.labels],
    }


def _text(merged: Merged, output: Path) -> str:
    from services.runner.submissions.merging import numbers_of  # noqa: PLC0415
    from services.runner.summary import result_table  # noqa: PLC0415

    labels = [f"! {banner.title}. {banner.text}" for banner in merged.labels]
    if merged.missing:
        labels[:0] = [
            f"! Partial. Without shard {numbers_of(merged.missing)}: what it would hold counts as not scored."
        ]
    if labels:
        labels.append("")
    return "\n".join([*labels, *result_table(merged.result), "", f"shards  {merged.shards}", f"results {output}"])
