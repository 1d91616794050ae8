"""A leaderboard as one HTML file that needs nothing else and runs no script. Every text of a file passes jinja2's escaping."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.runner.leaderboard import shown
from services.runner.leaderboard.board import COLUMNS, Board
from services.runner.leaderboard.grid import plain

_TEMPLATES: Final = Path(__file__).with_name("templates")
_REPORT_TEMPLATES: Final = Path(__file__).parents[1] / "report" / "templates"
"""The style is that of reports."""


def render(board: Board) -> str:
    """The page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - keeps --help quick

    environment = Environment(
        loader=FileSystemLoader([_TEMPLATES, _REPORT_TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        points=shown.points,
        span=shown.span,
        percent=shown.share,
        plain=plain,
        digest=shown.digest_of,
        title=shown.title_of,
        remarks=shown.remarks,
        errors=shown.told_errors,
        old_remark=shown.old_remark,
        n=lambda value: f"{value:.3f}".rstrip("0").rstrip("."),
        words=lambda name: str(name).replace("_", " "),
    )
    template = environment.get_template("leaderboard.html.j2")
    return template.render(board=board, columns=COLUMNS, old_foot=shown.OLD_FOOT, foot=shown.OURS_FOOT)
