"""The three steps of `assay audit`: choose, play, print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from services.contract.assessment import nearest
from services.runner.audit.audit import SUITES, Audit, audit
from services.runner.audit.exploits import Exploit, exploits
from services.runner.audit.table import json_of, markdown_of, text_of
from services.runner.failures import ExitCode, ScenarioError
from services.runner.fitness import Doctor
from services.runner.report.results_file import write_text
from services.runner.run import RunOptions


def chosen(names: Sequence[str]) -> tuple[Exploit, ...]:
    """The exploits of these names, all for none. Raises ScenarioError for a name that is in no row."""
    known = {exploit.name: exploit for exploit in exploits()}
    if unknown := [name for name in names if name not in known]:
        raise ScenarioError(*(f"--only: no exploit {name!r}{nearest(name, known)}" for name in unknown))
    return tuple(known[name] for name in names) or exploits()


async def play(rows: Sequence[Exploit], options: RunOptions, suites: Sequence[str]) -> Audit:
    """Play these exploits against these suites, by default all made for it."""
    # Scores are compared with limits here; the engine is our own in every play.
    alone = replace(options, doctor=Doctor(refused="an audit asks the reference engine only"))
    return await audit(
        rows, alone, suites=suites or tuple(SUITES), config={"timeout_seconds": 60, "max_concurrency": 48}
    )


def conclude(found: Audit, *, as_json: bool, markdown: Path | None) -> ExitCode:
    """Print the table and say by the exit code whether everything held. Raises ReportError."""
    click.echo(json.dumps(json_of(found)) if as_json else text_of(found))
    if markdown is not None:
        write_text(markdown, markdown_of(found))
    return ExitCode.COMPLETE if found.held and found.findings else ExitCode.INCOMPLETE
