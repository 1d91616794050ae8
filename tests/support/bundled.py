"""Scenario files that come with Assay: what they plan, and a run of one as a user starts it, on free ports."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from services.contract.assessment import Plan, parse_config
from services.green_agent.precedence import settle
from services.green_agent.preparation import prepare
from services.green_agent.suite import bundled_suite, load_suite
from services.runner.scenario import read_scenario
from tests.runner.support.processes import free_ports
from tests.support.processes import BIN

SCENARIOS = Path(__file__).parents[2] / "config" / "scenarios"


def config_of(scenario: str) -> dict[str, Any]:
    """The request's config in a bundled scenario."""
    return dict(read_scenario(SCENARIOS / f"{scenario}.toml").config)


def plan_of_bundled(scenario: str, *, suite: str, **keys: object) -> Plan:
    """What green plans for a bundled scenario, with `keys` in the request."""
    config = parse_config({**config_of(scenario), **keys})
    return prepare(settle(config, load_suite(bundled_suite(suite)), variables={})).plan


def run_bundled(scenario: str, folder: Path, **variables: str) -> dict[str, Any]:
    """Run a bundled scenario in `folder` with `assay run --json` and give its summary; it must end with exit code 0."""
    text = (SCENARIOS / f"{scenario}.toml").read_text()
    for port, free in zip(("9009", "9010"), free_ports(2), strict=True):
        text = text.replace(port, str(free))
    (folder / "scenario.toml").write_text(text)
    done = subprocess.run(
        [str(BIN / "assay"), "run", "scenario.toml", "--json"],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary
