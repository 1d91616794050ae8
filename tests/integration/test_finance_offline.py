"""The finance suite without a download: what the scenario plans, and a whole run of it."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from services.contract.assessment import parse_config
from services.green_agent.precedence import settle
from services.green_agent.preparation import prepare
from services.green_agent.suite import bundled_suite, load_suite
from services.runner.scenario import read_scenario
from tests.runner.support.processes import free_ports
from tests.support.processes import BIN

SCENARIO = Path(__file__).parents[2] / "config" / "scenarios" / "finance_offline.toml"


def test_the_scenario_plans_a_hundred_and_two_tasks_that_need_nobody() -> None:
    config = parse_config(read_scenario(SCENARIO).config)

    plan = prepare(settle(config, load_suite(bundled_suite("offline")), variables={})).plan

    assert Counter(trial.benchmark for trial in plan.trials) == {"synthetic": 45, "options": 45, "crypto": 12}
    assert plan.shortfalls == ()
    assert {found.judge_need for found in plan.benchmarks} == {"never"}


@pytest.mark.slow
def test_the_scenario_runs_with_the_reference_engine_and_counts_every_trial(tmp_path: Path) -> None:
    text = SCENARIO.read_text()
    for port, free in zip(("9009", "9010"), free_ports(2), strict=True):
        text = text.replace(port, str(free))
    (tmp_path / "finance.toml").write_text(text)

    done = subprocess.run(
        [str(BIN / "assay"), "run", "finance.toml", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["overall_score"]["coverage"] == 1.0
    assert {section["section"]: section["planned"] for section in summary["sections"]} == {
        "analytical_reasoning": 45,
        "options_trading": 45,
        "crypto_trading": 12,
    }
