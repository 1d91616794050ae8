"""Code without a download: the scenario as it comes, and its golden result."""

from __future__ import annotations

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

SCENARIO = Path(__file__).parents[2] / "config" / "scenarios" / "code_offline.toml"


def planned(**keys: object) -> Counter[str]:
    config = parse_config({**read_scenario(SCENARIO).config, **keys})
    plan = prepare(settle(config, load_suite(bundled_suite("code_offline")), variables={})).plan
    return Counter(trial.benchmark for trial in plan.trials)


def test_the_scenario_plans_all_toy_functions_and_five_tasks_of_humaneval() -> None:
    assert planned() == {"toy_code": 80, "humaneval": 5}


def test_a_request_may_ask_for_another_split() -> None:
    assert planned(split="test") == {"toy_code": 24, "humaneval": 5}
    assert planned(split="train") == {"toy_code": 56, "humaneval": 5}


def test_the_scenario_gives_1_on_toy_code_and_0_on_humaneval(tmp_path: Path) -> None:
    text = SCENARIO.read_text()
    for port, free in zip(("9009", "9010"), free_ports(2), strict=True):
        text = text.replace(port, str(free))
    (tmp_path / "code.toml").write_text(text)

    done = subprocess.run(
        [str(BIN / "assay"), "run", "code.toml", "--json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    (result,) = json.loads((tmp_path / summary["results_json"]).read_text())["results"]
    rows = result["results"]
    assert summary["overall_score"]["coverage"] == 1.0
    assert Counter((row["benchmark"], row["outcome"], row["score"]) for row in rows) == {
        ("toy_code", "scored", 1.0): 80,
        ("humaneval", "scored", 0.0): 5,
    }
    assert {row["metrics"]["extracted"] for row in rows if row["benchmark"] == "humaneval"} == {False}
    assert result["overall_score"]["score"] == pytest.approx(100 * 80 / 85, abs=1e-9)
