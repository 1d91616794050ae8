"""`assay leaderboard`: folders of results ranked, and the queries that platforms ask of the same files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from services.runner.command_line import ending, print_json
from services.runner.failures import ExitCode, ScenarioError

if TYPE_CHECKING:
    from services.runner.leaderboard.board import Board
    from services.runner.leaderboard.database import Answer
    from services.runner.leaderboard.reading import Found

FORMATS: Final = ("text", "markdown", "csv", "json", "html")
SUFFIXES: Final = {".md": "markdown", ".csv": "csv", ".json": "json", ".html": "html"}
DEFAULT: Final = "rank"


class _RanksByDefault(click.Group):
    """`assay leaderboard DIR` without naming a command; a folder called `queries` is `./queries`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What is no command's name belongs to the ranking."""
        named = args and args[0] in self.commands
        return super().parse_args(ctx, args if named else [DEFAULT, *args])


@click.group(cls=_RanksByDefault, add_help_option=False)
def command() -> None:
    """Rank a folder of results, ours and old ones."""


@command.command(
    DEFAULT,
    epilog="`assay leaderboard queries` prints the queries of a leaderboard.json. Exit code 1: nothing to rank.",
)
@click.argument("places", metavar="DIR...", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by the suffix of --output, else text.")
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
@click.option(
    "--sort-by", metavar="COLUMN", help="Order of the rows, such as Overall, Knowledge or Model. [default: Overall]"
)
@click.option("--top", type=click.IntRange(min=1), help="Only the first N of each table.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead of printing."
)
@click.option("--query", metavar="NAME|FILE", help="Run a query over the files with DuckDB instead of ranking them.")
@click.option(
    "--role", default="purple_agent", show_default=True, help="Participant that a query named by NAME is about."
)
def rank(
    *,
    places: Sequence[Path],
    form: str | None,
    as_json: bool,
    sort_by: str | None,
    top: int | None,
    output: Path | None,
    query: str | None,
    role: str,
) -> None:
    """Rank every result below DIR...

    Complete entries stand by their score, incomplete ones by their lower bound; different plans, and files of older formats, in
    tables of their own. What cannot be read is left out with a warning.
    """
    from services.runner.leaderboard.reading import read_folders  # noqa: PLC0415

    form = form or ("json" if as_json else SUFFIXES.get(output.suffix.lower() if output else "", "text"))
    with ending():
        if query is not None:
            _check_query_options(form, sort_by, top)
        found = read_folders(places)
        text = _ranked(found, form, sort_by or "Overall", top) if query is None else _asked(found, form, query, role)
        _put(text, output)


@command.command()
@click.option("--role", default="purple_agent", show_default=True, help="Name of the participant in the scenario.")
def queries(*, role: str) -> None:
    """Print the queries of a leaderboard.json: those of AgentBusters, and ours."""
    from services.runner.leaderboard.queries import as_objects, shipped  # noqa: PLC0415

    with ending():
        try:
            found = shipped(role)
        except ValueError as error:
            raise ScenarioError(f"--role: {error}") from None
    print_json(as_objects(found))


def _check_query_options(form: str, sort_by: str | None, top: int | None) -> None:
    given = (("--sort-by", sort_by), ("--top", top), ("--format html", form == "html" or None))
    if unfit := [name for name, value in given if value is not None]:
        raise ScenarioError(*(f"{name} does not go with --query: the query says what is shown" for name in unfit))


def _ranked(found: Found, form: str, sort_by: str, top: int | None) -> str:
    from services.runner.leaderboard.board import build_board  # noqa: PLC0415

    board = build_board(found, sort_by=sort_by, top=top)
    from services.runner.leaderboard.shown import FEW, warnings  # noqa: PLC0415

    _warn(warnings(board.skipped))
    _warn(board.notes[:FEW])
    if len(board.notes) > FEW:
        _warn([f"and {len(board.notes) - FEW} more notes like these (--json has all)"])
    if not board.tables and board.old is None:
        _nothing(found)
    return _rendered(board, form)


def _rendered(board: Board, form: str) -> str:
    from services.runner.leaderboard import grid, shown  # noqa: PLC0415

    if form == "html":
        from services.runner.leaderboard.page import render  # noqa: PLC0415

        return render(board)
    if form == "json":
        return _json(shown.board_object(board))
    if form == "csv":
        return grid.as_csv(shown.CSV_COLUMNS, shown.csv_rows(board))
    return (grid.as_markdown if form == "markdown" else grid.as_text)(shown.grids(board)) + "\n"


def _asked(found: Found, form: str, query: str, role: str) -> str:
    from services.runner.leaderboard.database import query_named, results_of  # noqa: PLC0415
    from services.runner.leaderboard.reading import Skipped  # noqa: PLC0415
    from services.runner.leaderboard.shown import warnings  # noqa: PLC0415

    asked = query_named(query, role)
    _warn(warnings(found.skipped))
    unseen = "no query sees it: its form is not {participants, results}"
    _warn(warnings([Skipped(file=name, reason=unseen) for name in found.other_forms]))
    if not found.platform_files:
        _nothing(found)
    with results_of(found.platform_files) as results:
        return _answered(results.ask(asked), form)


def _answered(answer: Answer, form: str) -> str:
    from services.runner.leaderboard import grid  # noqa: PLC0415

    if form == "json":
        return _json([dict(zip(answer.columns, row, strict=True)) for row in answer.rows])
    if form == "csv":
        return grid.as_csv(answer.columns, answer.rows)
    numbers = [all(not isinstance(row[n], str) for row in answer.rows) for n in range(len(answer.columns))]
    shown = grid.Grid(
        columns=tuple(grid.Column(name=name, right=right) for name, right in zip(answer.columns, numbers, strict=True)),
        rows=tuple(tuple("" if cell is None else str(cell) for cell in row) for row in answer.rows),
    )
    return (grid.as_markdown if form == "markdown" else grid.as_text)([shown]) + "\n"


def _json(value: object) -> str:
    import json  # noqa: PLC0415

    return json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _put(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    from services.runner.report.results_file import write_text  # noqa: PLC0415

    write_text(output, text)
    click.echo(f"written {output}", err=True)


def _warn(texts: Iterable[str]) -> None:
    from services.contract.secrets import redact  # noqa: PLC0415
    from services.runner.leaderboard.grid import plain  # noqa: PLC0415

    for text in texts:
        click.echo(f"assay: {plain(redact(text), width=600)}", err=True)


def _nothing(found: Found) -> None:
    others = f"; {len(found.no_results)} other .json files are there" if found.no_results else ""
    click.echo(f"assay: nothing to rank: no result was found{others}", err=True)
    sys.exit(ExitCode.INCOMPLETE)
