"""`scripts/conformance`: foreign conformance suites against our servers, compared with the failures we know of."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from tests.conformance.environments import CannotRunError
from tests.conformance.outcomes import SuiteRun, compare, read_expected
from tests.conformance.suites import SUITES, Suite

EXPECTED = Path(__file__).parent / "expected.json"
REPORT = Path("reports") / "conformance.json"
CHECKOUT = click.Path(exists=True, file_okay=False, path_type=Path, resolve_path=True)
BY_NAME = {suite.name: suite for suite in SUITES}


def suite_of(checkout: Path) -> Suite:
    """The suite that a checkout is of."""
    for suite in SUITES:
        if all((checkout / mark).exists() for mark in suite.marks):
            return suite
    raise click.UsageError(f"{checkout}: not a checkout of any of {', '.join(BY_NAME)}")


def options() -> list[click.Option]:
    """One for each suite."""
    return [click.Option([f"--{name}"], type=CHECKOUT, help=f"Checkout for the suite {name}.") for name in BY_NAME]


@click.command(params=[*options(), click.Argument(["checkouts"], nargs=-1, type=CHECKOUT)])
def main(checkouts: tuple[Path, ...], **named: Path | None) -> None:
    """Run suites from CHECKOUTS, whose kind is found by what is in them, or is named by an option.

    Exit codes: 0 as expected, 1 a new failure, an expected failure that passes, or a suite that cannot be run,
    2 wrong usage.
    """
    asked = [(BY_NAME[name], path) for name, path in named.items() if path is not None]
    asked += [(suite_of(path), path) for path in checkouts]
    if not asked:
        raise click.UsageError("name at least one checkout; docs/conformance.md says where they come from")
    runs, not_run = [], {}
    for suite, path in asked:
        try:
            runs.append(suite.on(path))
        except CannotRunError as error:
            not_run[suite.name] = str(error)
    sys.exit(report(runs, not_run))


def report(runs: list[SuiteRun], not_run: dict[str, str]) -> int:
    """Write and print what was found; the exit code."""
    expected = read_expected(EXPECTED)
    verdict = compare(runs, expected)
    document = {
        "suites": [
            {
                "suite": run.suite,
                "commit": run.commit,
                "counts": run.counts(),
                "printed": run.printed,
                "failed": [
                    {
                        "id": check.id,
                        "level": check.level,
                        "text": check.text,
                        "reason": expected.get((run.suite, check.id)),
                    }
                    for check in run.checks
                    if check.status == "failed"
                ],
            }
            for run in runs
        ],
        "not_run": not_run,
        "unexpected": verdict.unexpected,
        "healed": verdict.healed,
    }
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(document, indent=2) + "\n")
    for run in runs:
        for level, counts in run.counts().items():
            numbers = ", ".join(f"{number} {status}" for status, number in counts.items())
            click.echo(f"{run.suite} {run.commit} {level}: {numbers}")
    for label, lines in (("new failure", verdict.unexpected), ("expected to fail, and did not", verdict.healed)):
        for line in lines:
            click.echo(f"{label}: {line}", err=True)
    for name, reason in not_run.items():
        click.echo(f"not run: {name}: {reason}", err=True)
    click.echo(f"report: {REPORT}", err=True)
    return 1 if verdict.unexpected or verdict.healed or not_run else 0


if __name__ == "__main__":
    main(prog_name="scripts/conformance")
