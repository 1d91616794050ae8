"""`report.html`: one file that needs nothing else. Every text of an agent passes jinja2's escaping."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from services.runner.report.formats import FILTERS
from services.runner.report.view import ReportView

_TEMPLATES: Final = Path(__file__).with_name("templates")


def render_html(view: ReportView) -> str:
    """The page. Its content security policy admits the one script inside it and no request."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - keeps --help quick
    from markupsafe import Markup  # noqa: PLC0415

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    script = (_TEMPLATES / "script.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("report.html.j2")
    return template.render(view=view, script=Markup(script), script_hash=f"sha256-{digest}")  # noqa: S704 - our own file
