"""The suites: each runs a checkout against servers of ours and says what it found. Nothing is written into a checkout."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conformance.assessments import QUIET, Refused, client_document, gateway_document, participant, why_not
from tests.conformance.environments import CannotRunError, python_for_kit, python_for_peers
from tests.conformance.outcomes import Check, SuiteRun, from_junit, from_requirements
from tests.support.processes import service

FIXTURE = ("python", "-m", "tests.conformance.fixture_agent")
GREEN = ("green-agent", "serve", "--eval-config", "offline")
PURPLE = ("purple-agent", "serve", "--baseline", "constant:42")
LIMIT_S = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """One suite: how its checkout is known, and how it is run."""

    name: str
    marks: tuple[str, ...]
    """Files and folders that only its checkout has."""
    run: Callable[[Path], tuple[tuple[Check, ...], str]]

    def on(self, checkout: Path) -> SuiteRun:
        """Run it."""
        checks, printed = self.run(checkout)
        return SuiteRun(suite=self.name, commit=commit_of(checkout), checks=checks, printed=printed)


def commit_of(checkout: Path) -> str:
    """What git calls the checkout: its tag, or a short hash."""
    for asked in (("describe", "--tags", "--exact-match"), ("rev-parse", "--short=12", "HEAD")):
        told = subprocess.run(("git", "-C", str(checkout), *asked), check=False, capture_output=True, text=True)
        if told.returncode == 0:
            return told.stdout.strip()
    return "unknown"


def tck10(checkout: Path) -> tuple[tuple[Check, ...], str]:
    """The 1.0 kit, by JSON-RPC, all levels, against a card that lists 1.0 only."""
    python = python_for_kit(checkout)
    with folder() as out, service((*FIXTURE, "--card-dialect", "1.0")) as server:
        options = (f"--sut-host={server.url.rstrip('/')}", "--transport=jsonrpc")
        report = f"--compatibility-report={out / 'report'}"
        printed = run_pytest(python, checkout, "tests/compatibility", *options, report)
        return from_requirements(out / "report.json"), printed


def tck03(checkout: Path) -> tuple[tuple[Check, ...], str]:
    """The 0.3 kit: what it calls mandatory, by JSON-RPC."""
    python = python_for_kit(checkout)
    with folder() as out, service(FIXTURE) as server:
        options = (f"--sut-url={server.url.rstrip('/')}", "--test-scope=all", "--transports=jsonrpc")
        marks = ("-m", "mandatory_jsonrpc or mandatory_protocol")
        printed = run_pytest(python, checkout, "tests/mandatory", *options, *marks, f"--junitxml={out / 'junit.xml'}")
        return from_junit(out / "junit.xml", "mandatory"), printed


def templates(checkout: Path) -> tuple[tuple[Check, ...], str]:
    """The three tests of the platform's agent template, against green and purple."""
    python, checks, printed = python_for_peers(), [], []
    for name, command in (("green", GREEN), ("purple", PURPLE)):
        with folder() as out, service(command) as server:
            options = (f"--agent-url={server.url.rstrip('/')}", f"--junitxml={out / 'junit.xml'}")
            printed.append(f"{name}: " + run_pytest(python, checkout, "tests", *options))
            checks += [
                Check(id=f"{name} {check.id}", level=check.level, status=check.status, text=check.text)
                for check in from_junit(out / "junit.xml", "test")
            ]
    return tuple(checks), "; ".join(printed)


def gateway(checkout: Path) -> tuple[tuple[Check, ...], str]:
    """An assessment that the platform's gateway asks for; green reaches the participant through its proxy."""
    return assessments(lambda python, green, agent: gateway_document(python, checkout, green, agent))


def client(checkout: Path) -> tuple[tuple[Check, ...], str]:
    """An assessment that the tutorial's client asks for."""
    return assessments(lambda python, green, agent: client_document(python, checkout, green, agent))


def assessments(
    ask: Callable[[Path, str, str], Awaitable[Mapping[str, object]]],
) -> tuple[tuple[Check, ...], str]:
    """One assessment of a 0.3 participant and one of a 1.0 participant."""
    python, checks = python_for_peers(), []

    async def assess(dialect: str, green: str) -> str:
        try:
            async with participant(dialect) as agent, asyncio.timeout(LIMIT_S):
                return why_not(await ask(python, green, agent), dialect)
        except (Refused, TimeoutError) as error:
            return repr(error)

    with service(GREEN) as green:
        for dialect in ("0.3", "1.0"):
            fault = asyncio.run(assess(dialect, green.url.rstrip("/")))
            checks.append(
                Check(id=f"{dialect} participant", level="test", status="failed" if fault else "passed", text=fault)
            )
    return tuple(checks), f"{sum(check.status == 'passed' for check in checks)} of {len(checks)} assessments"


def run_pytest(python: Path, checkout: Path, *arguments: str) -> str:
    """The last line that pytest prints; failures are in its report."""
    command = (str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *arguments)
    environment = {**os.environ, **QUIET}
    done = subprocess.run(
        command, cwd=checkout, env=environment, check=False, capture_output=True, text=True, timeout=LIMIT_S
    )
    if done.returncode not in {0, 1}:
        raise CannotRunError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-2_000:]}")
    return done.stdout.strip().splitlines()[-1]


@contextmanager
def folder() -> Iterator[Path]:
    """A folder for a kit's reports."""
    with tempfile.TemporaryDirectory(prefix="assay-conformance-") as name:
        yield Path(name)


SUITES = (
    Suite(name="tck10", marks=("tests/compatibility", "run_tck.py"), run=tck10),
    Suite(name="tck03", marks=("tests/mandatory", "run_tck.py"), run=tck03),
    Suite(name="templates", marks=("tests/test_agent.py",), run=templates),
    Suite(name="gateway", marks=("src/proxy.py", "src/assessment.py"), run=gateway),
    Suite(name="client", marks=("src/agentbeats/client_cli.py",), run=client),
)
